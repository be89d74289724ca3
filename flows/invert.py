"""The flows `invert` and `table`: latents of images, guided by the matches of a run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import torch
from prefect import flow

from flows.locking import holding
from flows.reporting.links import link_guided
from rosetta.errors import UserError
from rosetta.guidance.latent import require_space, space_of
from rosetta.guidance.matches import Matches
from rosetta.guidance.optimise import Descent, frame_steps
from rosetta.guidance.perceptual import Lpips
from rosetta.guidance.settings import Editing, Inversion, Table
from rosetta.guidance.starts import mined_count
from rosetta.guidance.weights import weighed
from storage.artifacts import tables
from storage.artifacts.catalogue import EDITS, INVERSIONS, ROSETTA
from storage.artifacts.fingerprint import Fingerprint, fingerprint, format_of
from storage.artifacts.guided import GuidedStore, break_seals, read_table, require_free
from storage.artifacts.layout import stored_attributes
from storage.filesystem.lock import lock_of
from storage.filesystem.root import Root
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal_guided
from tasks.guided.features import Judges, outside_judge
from tasks.guided.inputs import (
    TUNING,
    Classes,
    Inputs,
    class_of,
    class_tensor,
    new_images,
    read_inputs,
    require_class,
    require_files,
)
from tasks.guided.invert import TERMS, Inverting, guiding_matches, guiding_models
from tasks.guided.inverting import invert_here, invert_on_workers, write_metrics
from tasks.guided.matches import GuidedRun
from tasks.guided.metrics import summarised
from tasks.guided.nearest import require_mined
from tasks.guided.page import Story, write_page
from tasks.guided.table import choose_coefficients, chosen_searches, table_rows
from tasks.stage.stage import StageResult

_NAMED = {"name", "file_class"}
"""Settings that a search does not depend on: its name, and the class of files, as it depends on all classes."""
_LATER = {"weights", "schedule", "fade", "judge", "starts", "start_count", "start_steps"}
"""Settings that came later: where they are left as they were, a search is the one of earlier versions."""


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
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """A search with all that it needs, known before anything is written."""

    run: GuidedRun
    images: Inputs | None
    """None where no image is behind it."""
    classes: Classes | None
    """(image,) of a conditional generator, else None; one class where no image is behind it."""
    where: str
    fingerprint: Fingerprint

    @property
    def root(self) -> Root:
        """Of the run."""
        return self.run.data.root

    @property
    def at(self) -> tuple[Root, Fingerprint, str]:
        """Where it is written and what it depends on, as the stages take it."""
        return self.root, self.fingerprint, self.where

    @contextmanager
    def claimed(self, replace: bool) -> Iterator[None]:
        """Hold the name while the search is written, and seal what it wrote.

        Others may search under the same root at the same time. With `replace` the name is taken from what another
        search left there.
        """
        with holding(self.root, lock_of(self.where)):
            self.root.require_writable()
            if replace:
                stored = stored_attributes(self.root, GuidedStore.path(self.where))
                if stored is not None and stored["fingerprint"] != self.fingerprint.digest:
                    break_seals(self.root, self.where)
                    self.root.remove(self.where)
            yield
            seal_guided(self.root, self.where)


def plan_inversion(root: str, settings: Inversion, replace: bool = False) -> Plan:
    """Check all that an inversion names; nothing is written.

    Raises
    ------
    UserError
        Something that is named does not exist or does not fit.
    """
    run = GuidedRun.open(Root(root))
    run.require_targets(settings.models or ())
    for cluster in settings.clusters or ():
        run.data.require_concept(cluster)
    _require_reconstruction(run, settings)
    if settings.beta > 0:
        _require_guiding(guiding_matches(run, settings))
    require_space(run.generator, settings.space)
    require_mined(run.data, mined_count(settings.starts, settings.candidates))
    if settings.high is None:
        if not settings.images:
            raise UserError("no image is named; give an index of the run, new:N, a path or a glob")
        images = _read_images(run, settings)
        return plan_of(run, "invert", settings, replace, images, images.classes)
    require_class(run.generator, settings.file_class)
    index = class_of(run.generator, f"high {settings.high!r}", settings.file_class)
    return plan_of(run, "invert", settings, replace, None, None if index is None else np.array([index], np.int64))


def plan_table(root: str, settings: Table, replace: bool = False) -> Plan:
    """As :func:`plan_inversion`, for Table 1."""
    run = GuidedRun.open(Root(root))
    if settings.lpips is not None:
        Lpips(settings.lpips)
    if settings.judge is not None:
        outside_judge(run, settings.judge)
    _require_guiding(weighed(run.matches, settings.weights))
    images = _read_images(run, settings)
    return plan_of(run, "table", settings, replace, images, images.classes)


@flow(name="invert", flow_run_name="invert {wanted.name}")
def invert(root: str, wanted: Inversion, replace: bool = False) -> Guided:
    """Find the latents of images, guided by matches.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: The images, and how their latents are searched.
        replace: Replace another result of the same name. Otherwise the run fails.

    Raises:
        UserError: The settings do not fit the run. Nothing has been written then.
    """
    plan = plan_inversion(root, wanted, replace)
    run, targets = plan.run, plan.run.data.targets
    models = guiding_models(run, wanted)
    guided = wanted.high is not None or (wanted.beta > 0 and bool(models))
    guidance = "none" if not guided else "all" if set(models) == set(targets) else "+".join(models)
    settings = wanted
    if wanted.high is not None:
        # With nothing but the agreement to go by, its weight is only a matter of scale against α.
        settings = wanted.model_copy(update={"beta": wanted.beta or 1.0, "rec": "none"})
    lede = _lede(guidance, wanted, len(guiding_matches(run, wanted)))
    story = Story(lede, _shown_settings(wanted), models, wanted.clusters)
    with plan.claimed(replace):
        stages = _search(plan, {guidance: settings}, wanted.batch)
        took_part = {*(models if guided else ()), wanted.rec}
        stages.append(write_metrics(*plan.at, wanted.lpips, Judges({guidance: took_part}, wanted.judge)))
        stages.append(write_page(*plan.at, story))
    return guided_of(plan, stages)


@flow(name="table", flow_run_name="table {wanted.name}")
def table(root: str, wanted: Table, replace: bool = False) -> Guided:
    """Make Table 1 of the paper on the models of a run.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: The images, and the coefficients to choose from.
        replace: Replace another result of the same name. Otherwise the run fails.

    Raises:
        UserError: As :func:`invert`.
    """
    plan = plan_table(root, wanted, replace)
    assert plan.images is not None
    run = plan.run
    tuning = new_images(run.generator, wanted.tuning, run.data.recipe.images.seed + TUNING)
    with plan.claimed(replace):
        stages = [choose_coefficients(*plan.at, tuning, wanted)]
        searches = chosen_searches(*plan.at, run, wanted)
        stages += _search(plan, searches, wanted.batch)
        stages.append(write_metrics(*plan.at, wanted.lpips, Judges(table_rows(run, wanted), wanted.judge)))
        lede = (
            f"Reconstruction alone against reconstruction with the matches of each model: {len(plan.images)} images, "
            f"the same starts and {wanted.steps} steps for every row; coefficients chosen on {wanted.tuning} other "
            "images."
        )
        chosen = [
            (guidance, f"rate {settings.rate:g}, α {settings.alpha:g}, β {settings.beta:g}")
            for guidance, settings in searches.items()
        ]
        story = Story(lede, [*_shown_settings(wanted), *chosen], run.data.targets)
        stages.append(write_page(*plan.at, story))
    return guided_of(plan, stages)


def plan_of(
    run: GuidedRun,
    kind: Literal["invert", "table", "edit"],
    settings: Inversion | Table | Editing,
    replace: bool,
    images: Inputs | None,
    classes: Classes | None,
    **depends: Any,
) -> Plan:
    """A plan whose name is free.

    Parameters
    ----------
    depends
        What its fingerprint holds beside the dictionary, pixels, classes and settings.

    Raises
    ------
    UserError
        The name is in use by another search, and `replace` is not given; or an upgrade of the run was cut short.
    """
    require_no_upgrade(run.data.root)
    root, where = run.data.root, (EDITS if kind == "edit" else INVERSIONS).path(settings.name)
    if classes is not None:
        depends["classes"] = classes.tolist()
    dictionary = tables.attributes(root, ROSETTA.path())
    own = fingerprint(
        kind,
        dictionary=dictionary.get("fingerprint"),
        pixels_sha256="" if images is None else sha256(np.ascontiguousarray(images.pixels).tobytes()).hexdigest(),
        settings=settings.model_dump(mode="json", exclude=_NAMED | _unasked(settings)),
        **depends,
    ).in_format(format_of(dictionary))
    if not replace:
        require_free(root, where, own)
    return Plan(run, images, classes, where, own)


def guided_of(plan: Plan, stages: list[StageResult]) -> Guided:
    """A finished search: means, spreads and paired differences of its metrics; links to it are left."""
    metrics = read_table(plan.root, plan.where, "metrics", plan.fingerprint)
    assert metrics is not None
    summary = summarised(metrics)
    link_guided(plan.root, plan.where, plan.run.data.name, summary)
    return Guided(plan.root.shown, plan.where, tuple(stages), summary)


def laid_out(
    plan: Plan, guidance: Sequence[str], latent: Mapping[str, int], steps: int, terms: Sequence[str], batch: int
) -> GuidedStore:
    """The store of a search, new or to resume."""
    store = GuidedStore.open(plan.root, plan.fingerprint, plan.where)
    if store is not None:
        return store
    size = plan.run.generator.image_size
    assert size is not None
    return GuidedStore.create(
        plan.root,
        plan.where,
        plan.fingerprint,
        model=plan.run.data.anchor,
        guidance=guidance,
        sources=("asked",) if plan.images is None else plan.images.sources,
        targets=None if plan.images is None else plan.images.pixels,
        classes=plan.classes,
        size=size,
        latent=latent,
        frame_steps=frame_steps(Descent(steps)),
        steps=steps,
        terms=terms,
        batch=batch,
    )


def _search(plan: Plan, searches: Mapping[str, Inversion], batch: int) -> list[StageResult]:
    """Lay the store out and fill it, batch by batch, under each kind of guidance."""
    generator, settings = plan.run.generator, next(iter(searches.values()))
    space = space_of(generator, settings.space, class_tensor(None if plan.classes is None else plan.classes[:1]))
    shape = space.start(torch.zeros(1, generator.latent or 0)).shape[1:]
    axes = dict(zip({"z": ("z",), "w": ("w",), "w+": ("style", "w")}[settings.space], shape, strict=True))
    store = laid_out(plan, list(searches), axes, settings.steps, TERMS, batch)
    inverting = Inverting(plan.fingerprint, plan.where, searches)
    if plan.run.data.recipe.compute.cluster != "threads":
        return [invert_on_workers(plan.root, inverting)]
    return [
        invert_here(plan.root, inverting, guidance, first)
        for guidance in searches
        for first in range(0, len(store.sources), store.block)
    ]


def _read_images(run: GuidedRun, settings: Inversion | Table) -> Inputs:
    """The images that are named."""
    require_class(run.generator, settings.file_class)
    images = read_inputs(run.data, run.generator, settings.images, settings.file_class)
    require_files([images], settings.file_class)
    return images


def _require_guiding(matches: Matches) -> None:
    """
    Raises
    ------
    UserError
        None is left.
    """
    if not len(matches):
        raise UserError(
            "no buddies are left to guide; lower --above, leave --weights out, name other concepts or models, or set "
            "--beta 0"
        )


def _require_reconstruction(run: GuidedRun, settings: Inversion) -> None:
    """
    Raises
    ------
    UserError
        `rec` names nothing that images could be compared in, or LPIPS cannot be had.
    """
    if settings.lpips is not None:
        Lpips(settings.lpips)
    if settings.judge is not None:
        outside_judge(run, settings.judge)
    known = ("pixels", "none", "lpips", *run.data.models[1:])
    if settings.rec not in known:
        raise UserError(f"--rec {settings.rec!r} is none of {', '.join(known)}")


def _lede(guidance: str, settings: Inversion, pairs: int) -> str:
    concepts = "" if settings.clusters is None else f" of concept {', '.join(map(str, settings.clusters))}"
    if settings.high is not None:
        return f"The only aim: units{concepts} high inside {settings.high}."
    if guidance == "none":
        return "Reconstruction alone, without guidance by matches."
    return f"Guided by {pairs:,} pairs of buddies{concepts} with {guidance if guidance != 'all' else 'all models'}."


def _shown_settings(settings: Inversion | Table) -> list[tuple[str, str]]:
    values = settings.model_dump(mode="json", by_alias=True, exclude=_unasked(settings))
    return [(name, _shown(value)) for name, value in values.items() if value not in (None, [], ())]


def _unasked(settings: Inversion | Table | Editing) -> set[str]:
    """Settings that came later and are left as they were."""
    fields = type(settings).model_fields
    return {name for name in _LATER & fields.keys() if getattr(settings, name) == fields[name].default}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
