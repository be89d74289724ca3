"""The flows `invert` and `table`: images into latents, guided by the matches of a run."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prefect import flow

from flows.survey import resolve_device
from rosetta.errors import UserError
from rosetta.guidance.edit_text import box_of
from rosetta.guidance.latent import space_of
from rosetta.guidance.optimise import Descent, frame_steps
from rosetta.guidance.perceptual import Lpips
from rosetta.guidance.settings import Inversion, Table
from rosetta.zoo.model import Model
from storage import tables
from storage.fingerprint import Fingerprint, fingerprint
from storage.guided import GuidedStore, read_table, require_free
from storage.location import Root
from storage.zarrs import stored_attributes
from tasks.guided_page import Story, write_page
from tasks.invert import TERMS, Row, Search, choose_coefficients, chosen_rows, invert_batch, write_metrics
from tasks.outcome import summarised
from tasks.stage import Stage
from tasks.steering import Steering, loaded, read_steering, require_clusters, require_models
from tasks.subjects import TUNING, Subjects, new_images, subjects


@dataclass(frozen=True)
class Guided:
    """What an inversion or an edit left."""

    root: str
    where: str
    """`inversions/<name>` or `edits/<name>`."""
    stages: tuple[Stage, ...]
    summary: list[dict[str, Any]]
    """One entry for each kind of guidance, or for each model that judged."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "root": self.root,
            "where": self.where,
            "stages": [stage.as_dict() for stage in self.stages],
            "summary": self.summary,
        }


@flow(name="invert", flow_run_name="invert {wanted.name}", validate_parameters=False)
def invert(root: str, wanted: Inversion, replace: bool = False) -> Guided:
    """Find the latents of images, guided by matches.

    Raises
    ------
    UserError
        Something that was asked for is not to be had; nothing has been written then.
    """
    place, steering, device, generator = opened(root)
    models = tuple(wanted.models) if wanted.models is not None else steering.models
    require_models(steering, models)
    require_clusters(steering, wanted.clusters or ())
    _require_reconstruction(steering, wanted)
    images = None
    if wanted.high is None:
        if not wanted.images:
            raise UserError("no image is named; give an index of the run, new:N, a path or a glob")
        images = subjects(place, generator, steering.recipe.images.seed, wanted.images)
    chosen = steering.matches.only(models=models, clusters=wanted.clusters, above=wanted.above)
    if wanted.beta > 0 and not len(chosen):
        raise UserError("no buddies are left to guide; lower --above, name other clusters or models, or set --beta 0")
    guided = wanted.beta > 0 and bool(models)
    label = "none" if not guided else "all" if set(models) == set(steering.models) else "+".join(models)
    beta, rec = (wanted.beta, wanted.rec) if wanted.high is None else (wanted.beta or 1.0, "none")
    row = Row(label, models, wanted.alpha, beta, wanted.rate)
    search = Search(
        rec=rec,
        space=wanted.space,
        clusters=wanted.clusters,
        above=wanted.above,
        high=box_of(wanted.high) if wanted.high is not None else None,
        restarts=wanted.restarts,
        steps=wanted.steps,
        seed=wanted.seed,
        lpips=wanted.lpips,
    )
    where = f"inversions/{wanted.name}"
    mark = fingerprint("invert", settings=wanted.model_dump(mode="json", exclude={"name"}), **upstream(place, images))
    claim(place, where, mark, replace)
    stages = _rows(place, where, mark, (row,), search, images, generator, wanted.batch, device)
    stages.append(write_metrics(place, mark, where, wanted.lpips))
    story = Story(
        "inversion", steering.recipe.name, _lede(label, len(chosen)), _settings(wanted.model_dump(mode="json"))
    )
    stages.append(write_page(place, mark, where, story, models, wanted.clusters, None, {}, device))
    return Guided(place.shown, where, tuple(stages), summary_of(place, where, mark))


@flow(name="table", flow_run_name="table {wanted.name}", validate_parameters=False)
def table(root: str, wanted: Table, replace: bool = False) -> Guided:
    """Table 1 of the paper on the models of a run.

    Raises
    ------
    UserError
        As :func:`invert`.
    """
    place, steering, device, generator = opened(root)
    seed = steering.recipe.images.seed
    if wanted.lpips is not None:
        Lpips(wanted.lpips)
    images = subjects(place, generator, seed, wanted.images)
    tuning = new_images(generator, wanted.tuning, seed + TUNING)
    where = f"inversions/{wanted.name}"
    mark = fingerprint("table", settings=wanted.model_dump(mode="json", exclude={"name"}), **upstream(place, images))
    claim(place, where, mark, replace)
    search = Search(steps=wanted.steps, seed=wanted.seed)
    grid = {"rates": wanted.rates, "alphas": wanted.alphas, "betas": wanted.betas}
    stages = [choose_coefficients(place, mark, where, tuning.pixels, grid, search, device)]
    rows = chosen_rows(place, mark, where, steering)
    stages += _rows(place, where, mark, rows, search, images, generator, wanted.batch, device)
    stages.append(write_metrics(place, mark, where, wanted.lpips))
    lede = (
        f"Reconstruction alone against reconstruction with the matches of each model: {len(images)} images, the same "
        f"starts and {wanted.steps} steps for every row; coefficients chosen on {wanted.tuning} other images."
    )
    chosen = [(row.guidance, f"rate {row.rate:g}, α {row.alpha:g}, β {row.beta:g}") for row in rows]
    story = Story("inversion", steering.recipe.name, lede, (*_settings(wanted.model_dump(mode="json")), *chosen))
    stages.append(write_page(place, mark, where, story, steering.models, None, None, {}, device))
    return Guided(place.shown, where, tuple(stages), summary_of(place, where, mark))


def opened(root: str) -> tuple[Root, Steering, str, Model]:
    """A run, its device and its generator."""
    place = Root(root)
    steering = read_steering(place)
    device = resolve_device(steering.recipe.compute.device)
    return place, steering, device, loaded(steering.generator, device)


def upstream(root: Root, images: Subjects | None) -> dict[str, Any]:
    """What a search depends on besides its settings."""
    pixels = "" if images is None else hashlib.sha256(np.ascontiguousarray(images.pixels).tobytes()).hexdigest()
    return {"dictionary": tables.attributes(root, "rosetta").get("fingerprint"), "pixels_sha256": pixels}


def claim(root: Root, where: str, mark: Fingerprint, replace: bool) -> None:
    """Take a name; with `replace`, away from what another search left there.

    Raises
    ------
    UserError
        It is in use.
    """
    if replace:
        found = stored_attributes(root, f"{where}/result.zarr")
        if found is not None and found["fingerprint"] != mark.digest:
            root.remove(where)
    require_free(root, where, mark)
    root.require_writable()


def summary_of(root: Root, where: str, mark: Fingerprint) -> list[dict[str, Any]]:
    """Means, spreads and paired differences of a search's metrics."""
    metrics = read_table(root, where, "metrics", mark)
    assert metrics is not None
    return summarised(metrics)


def _rows(
    root: Root,
    where: str,
    mark: Fingerprint,
    rows: tuple[Row, ...],
    search: Search,
    images: Subjects | None,
    generator: Model,
    batch: int,
    device: str,
) -> list[Stage]:
    """Lay the store out and fill it, batch by batch."""
    count = 1 if images is None else len(images)
    store = GuidedStore.open(root, where, mark)
    if store is None:
        space = space_of(generator, search.space)
        shape = space.start(torch.zeros(1, generator.latent or 0)).shape[1:]
        axes = dict(zip({"z": ("z",), "w": ("w",), "w+": ("style", "w")}[search.space], shape, strict=True))
        assert generator.image_size is not None
        store = GuidedStore.create(
            root,
            where,
            mark,
            guidance=[row.guidance for row in rows],
            sources=("asked",) if images is None else images.sources,
            targets=None if images is None else images.pixels,
            size=generator.image_size,
            latent=axes,
            frame_steps=frame_steps(Descent(search.steps)),
            steps=search.steps,
            terms=TERMS,
            batch=batch,
        )
    return [
        invert_batch(root, mark, where, row, first, search, device)
        for row in rows
        for first in range(0, count, store.batch)
    ]


def _require_reconstruction(steering: Steering, wanted: Inversion) -> None:
    """
    Raises
    ------
    UserError
        `rec` names nothing that images could be compared in, or LPIPS cannot be had.
    """
    if wanted.lpips is not None:
        Lpips(wanted.lpips)
    known = [spec.name for spec in steering.recipe.models if spec.name != steering.generator.name]
    if wanted.rec not in ("pixels", "none", "lpips", *known):
        raise UserError(f"--rec {wanted.rec!r} is none of pixels, none, lpips, {', '.join(known)}")


def _lede(label: str, pairs: int) -> str:
    if label == "none":
        return "Found by reconstruction alone, with no matches to guide."
    return f"Guided by {pairs:,} pairs of buddies with {label if label != 'all' else 'all models'}."


def _settings(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _shown(value)) for name, value in values.items() if value not in (None, [], ()))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
