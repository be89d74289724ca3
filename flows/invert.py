"""The flows `invert` and `table`: images into latents, guided by the matches of a run."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prefect import flow

from flows.locking import holding
from flows.reporting.links import link_guided
from rosetta.errors import UserError
from rosetta.guidance.edit_text import box_of
from rosetta.guidance.latent import require_space, space_of
from rosetta.guidance.matches import Matches
from rosetta.guidance.optimise import Descent, frame_steps
from rosetta.guidance.perceptual import Lpips
from rosetta.guidance.settings import Inversion, Table
from rosetta.zoo.device import resolve_device
from rosetta.zoo.model import Model
from storage.artifacts import tables
from storage.artifacts.catalogue import ROSETTA
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.guided import GuidedStore, break_seals, read_table, require_free
from storage.artifacts.layout import stored_attributes
from storage.filesystem.root import Root
from storage.upkeep.sealing import seal_guided
from tasks.guided.classes import Classes, class_of, require_class, told
from tasks.guided.inputs import TUNING, Subjects, new_images, require_files, subjects
from tasks.guided.invert import TERMS, Row, Search, choose_coefficients, chosen_rows, invert_batch, write_metrics
from tasks.guided.matches import Steering, loaded, read_steering, require_clusters, require_models
from tasks.guided.metrics import summarised
from tasks.guided.page import Story, write_page
from tasks.stage.stage import StageResult

NAMED = {"name", "file_class"}
"""What a search does not depend on: its name, and how a class was told, as it depends on the classes themselves."""


@dataclass(frozen=True)
class Guided:
    """What an inversion or an edit left."""

    root: str
    where: str
    """`inversions/<name>` or `edits/<name>`."""
    stages: tuple[StageResult, ...]
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


@dataclass(frozen=True)
class Plan:
    """A search with all that it needs, found out before anything is written."""

    root: Root
    steering: Steering
    device: str
    generator: Model
    images: Subjects | None
    """None where no image is behind it."""
    classes: Classes | None
    """(image,) of a conditional generator, else None; one class where no image is behind it."""
    where: str
    mark: Fingerprint

    @property
    def lock(self) -> str:
        """Who writes it holds this; others may search under the same root at the same time."""
        return f"{self.where}.lock"


def plan_inversion(root: str, wanted: Inversion, replace: bool = False) -> Plan:
    """Check all that an inversion names; nothing is written.

    Raises
    ------
    UserError
        Something that was asked for is not to be had.
    """
    place, steering, device, generator = opened(root)
    require_models(steering, wanted.models or ())
    require_clusters(steering, wanted.clusters or ())
    _require_reconstruction(steering, wanted)
    if wanted.beta > 0 and not len(_pairs(steering, wanted)):
        raise UserError("no buddies are left to guide; lower --above, name other clusters or models, or set --beta 0")
    require_space(generator, wanted.space)
    require_class(generator, wanted.file_class)
    images, classes = None, None
    if wanted.high is None:
        if not wanted.images:
            raise UserError("no image is named; give an index of the run, new:N, a path or a glob")
        images = _images(place, steering, generator, wanted)
        classes = images.classes
    elif (index := class_of(generator, f"high {wanted.high!r}", wanted.file_class)) is not None:
        classes = np.array([index], np.int64)
    where = f"inversions/{wanted.name}"
    settings = wanted.model_dump(mode="json", exclude=NAMED)
    return plan_of(place, steering, device, generator, images, classes, where, replace, "invert", settings=settings)


def plan_table(root: str, wanted: Table, replace: bool = False) -> Plan:
    """As :func:`plan_inversion`, for Table 1."""
    place, steering, device, generator = opened(root)
    if wanted.lpips is not None:
        Lpips(wanted.lpips)
    require_class(generator, wanted.file_class)
    images = _images(place, steering, generator, wanted)
    where = f"inversions/{wanted.name}"
    settings = wanted.model_dump(mode="json", exclude=NAMED)
    return plan_of(
        place, steering, device, generator, images, images.classes, where, replace, "table", settings=settings
    )


@flow(name="invert", flow_run_name="invert {wanted.name}")
def invert(root: str, wanted: Inversion, replace: bool = False) -> Guided:
    """Find the latents of images, guided by matches.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Which images, and how their latents are searched.
        replace: Take the name from another search, instead of refusing.

    Raises:
        UserError: Something that was asked for is not to be had; nothing has been written then.
    """
    plan = plan_inversion(root, wanted, replace)
    models = wanted.models if wanted.models is not None else plan.steering.models
    guided = wanted.high is not None or (wanted.beta > 0 and bool(models))
    label = "none" if not guided else "all" if set(models) == set(plan.steering.models) else "+".join(models)
    # With nothing but the agreement to go by, its weight is only a matter of scale against α.
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
    with holding(plan.root, plan.lock):
        claim(plan, replace)
        stages = _search(plan, (row,), search, wanted.batch)
        stages.append(write_metrics(plan.root, plan.mark, plan.where, wanted.lpips))
        lede = _lede(label, wanted, len(_pairs(plan.steering, wanted)))
        story = Story(
            "inversion", plan.steering.recipe.name, lede, _settings(wanted.model_dump(mode="json", by_alias=True))
        )
        stages.append(
            write_page(plan.root, plan.mark, plan.where, story, models, wanted.clusters, None, {}, plan.device)
        )
        seal_guided(plan.root, plan.where)
    return guided_of(plan, stages)


@flow(name="table", flow_run_name="table {wanted.name}")
def table(root: str, wanted: Table, replace: bool = False) -> Guided:
    """Table 1 of the paper on the models of a run.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Which images, and among which coefficients the best are chosen.
        replace: Take the name from another search, instead of refusing.

    Raises:
        UserError: As :func:`invert`.
    """
    plan = plan_table(root, wanted, replace)
    assert plan.images is not None
    steering, place, where = plan.steering, plan.root, plan.where
    tuning = new_images(plan.generator, wanted.tuning, steering.recipe.images.seed + TUNING)
    with holding(plan.root, plan.lock):
        claim(plan, replace)
        search = Search(steps=wanted.steps, seed=wanted.seed)
        grid = {"rates": wanted.rates, "alphas": wanted.alphas, "betas": wanted.betas}
        stages = [choose_coefficients(place, plan.mark, where, tuning, grid, search, plan.device)]
        rows = chosen_rows(place, plan.mark, where, steering)
        stages += _search(plan, rows, search, wanted.batch)
        stages.append(write_metrics(place, plan.mark, where, wanted.lpips))
        lede = (
            f"Reconstruction alone against reconstruction with the matches of each model: {len(plan.images)} images, "
            f"the same starts and {wanted.steps} steps for every row; coefficients chosen on {wanted.tuning} other "
            "images."
        )
        chosen = [(row.guidance, f"rate {row.rate:g}, α {row.alpha:g}, β {row.beta:g}") for row in rows]
        settings = (*_settings(wanted.model_dump(mode="json", by_alias=True)), *chosen)
        story = Story("inversion", steering.recipe.name, lede, settings)
        stages.append(write_page(place, plan.mark, where, story, steering.models, None, None, {}, plan.device))
        seal_guided(place, where)
    return guided_of(plan, stages)


def opened(root: str) -> tuple[Root, Steering, str, Model]:
    """A run, its device and its generator."""
    place = Root(root)
    steering = read_steering(place)
    device = resolve_device(steering.recipe.compute.device)
    return place, steering, device, loaded(steering.generator, device)


def plan_of(
    root: Root,
    steering: Steering,
    device: str,
    generator: Model,
    images: Subjects | None,
    classes: Classes | None,
    where: str,
    replace: bool,
    kind: str,
    **depends: Any,
) -> Plan:
    """A plan whose name is free; `depends` is what its fingerprint holds beside the dictionary, pixels and classes.

    Raises
    ------
    UserError
        The name is in use by another search, and `replace` is not given.
    """
    pixels = "" if images is None else hashlib.sha256(np.ascontiguousarray(images.pixels).tobytes()).hexdigest()
    dictionary = tables.attributes(root, ROSETTA.path()).get("fingerprint")
    if classes is not None:
        depends["classes"] = classes.tolist()
    mark = fingerprint(kind, dictionary=dictionary, pixels_sha256=pixels, **depends)
    if not replace:
        require_free(root, where, mark)
    return Plan(root, steering, device, generator, images, classes, where, mark)


def claim(plan: Plan, replace: bool) -> None:
    """Take a name; with `replace`, away from what another search left there."""
    plan.root.require_writable()
    if replace:
        found = stored_attributes(plan.root, f"{plan.where}/result.zarr")
        if found is not None and found["fingerprint"] != plan.mark.digest:
            break_seals(plan.root, plan.where)
            plan.root.remove(plan.where)


def guided_of(plan: Plan, stages: list[StageResult]) -> Guided:
    """What there is to tell of a search: means, spreads and paired differences of its metrics; links to it are left."""
    metrics = read_table(plan.root, plan.where, "metrics", plan.mark)
    assert metrics is not None
    summary = summarised(metrics)
    link_guided(plan.root, plan.where, plan.steering.recipe.name, summary)
    return Guided(plan.root.shown, plan.where, tuple(stages), summary)


def laid_out(
    plan: Plan,
    guidance: Sequence[str],
    latent: Mapping[str, int],
    steps: int,
    terms: Sequence[str],
    batch: int,
) -> GuidedStore:
    """The store of a search, to begin or to go on with."""
    store = GuidedStore.open(plan.root, plan.where, plan.mark)
    if store is not None:
        return store
    assert plan.generator.image_size is not None
    return GuidedStore.create(
        plan.root,
        plan.where,
        plan.mark,
        guidance=guidance,
        sources=("asked",) if plan.images is None else plan.images.sources,
        targets=None if plan.images is None else plan.images.pixels,
        classes=plan.classes,
        size=plan.generator.image_size,
        latent=latent,
        frame_steps=frame_steps(Descent(steps)),
        steps=steps,
        terms=terms,
        batch=batch,
    )


def _search(plan: Plan, rows: tuple[Row, ...], search: Search, batch: int) -> list[StageResult]:
    """Lay the store out and fill it, batch by batch."""
    space = space_of(plan.generator, search.space, told(None if plan.classes is None else plan.classes[:1]))
    shape = space.start(torch.zeros(1, plan.generator.latent or 0)).shape[1:]
    axes = dict(zip({"z": ("z",), "w": ("w",), "w+": ("style", "w")}[search.space], shape, strict=True))
    store = laid_out(plan, [row.guidance for row in rows], axes, search.steps, TERMS, batch)
    return [
        invert_batch(plan.root, plan.mark, plan.where, row, first, search, plan.device)
        for row in rows
        for first in range(0, len(store.sources), store.batch)
    ]


def _images(root: Root, steering: Steering, generator: Model, wanted: Inversion | Table) -> Subjects:
    """The images that are named."""
    found = subjects(root, generator, steering.recipe.images.seed, wanted.images, wanted.file_class)
    require_files([found], wanted.file_class)
    return found


def _pairs(steering: Steering, wanted: Inversion) -> Matches:
    """The matches that guide."""
    models = wanted.models if wanted.models is not None else steering.models
    return steering.matches.only(models=models, clusters=wanted.clusters, above=wanted.above)


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


def _lede(label: str, wanted: Inversion, pairs: int) -> str:
    concepts = "" if wanted.clusters is None else f" of concept {', '.join(map(str, wanted.clusters))}"
    if wanted.high is not None:
        return f"Asked for nothing but the units{concepts} high inside {wanted.high}."
    if label == "none":
        return "Found by reconstruction alone, with no matches to guide."
    return f"Guided by {pairs:,} pairs of buddies{concepts} with {label if label != 'all' else 'all models'}."


def _settings(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _shown(value)) for name, value in values.items() if value not in (None, [], ()))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
