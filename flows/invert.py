"""The flows `invert` and `table`: latents of images, guided by the matches of a run."""

from collections.abc import Mapping

import numpy as np
import torch
from prefect import flow

from flows.guided import Guided, Plan, guided_of, laid_out, plan_of, shown_settings
from rosetta.errors import UserError
from rosetta.guidance.latent import require_space, space_of
from rosetta.guidance.matches import Matches
from rosetta.guidance.perceptual import Lpips
from rosetta.guidance.settings import Inversion, Table
from rosetta.guidance.starts import mined_count
from rosetta.guidance.weights import weighed
from storage.filesystem.root import Root
from tasks.guided.features import Judges, outside_judge
from tasks.guided.inputs import (
    TUNING,
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
from tasks.guided.nearest import require_mined
from tasks.guided.page import Story, write_page
from tasks.guided.table import choose_coefficients, chosen_searches, table_rows
from tasks.stage.stage import StageResult


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
    if settings.first_beta > 0:
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
    guided = wanted.high is not None or (wanted.first_beta > 0 and bool(models))
    guidance = "none" if not guided else "all" if set(models) == set(targets) else "+".join(models)
    settings = wanted
    if wanted.high is not None:
        # With nothing but the agreement to go by, its weight is only a matter of scale against α.
        settings = wanted.model_copy(update={"beta": wanted.first_beta or 1.0, "rec": "none"})
    lede = _lede(guidance, wanted, len(guiding_matches(run, wanted)))
    story = Story(lede, shown_settings(wanted), models, wanted.clusters)
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
            (guidance, f"rate {settings.rate:g}, α {settings.alpha:g}, β {settings.first_beta:g}")
            for guidance, settings in searches.items()
        ]
        story = Story(lede, [*shown_settings(wanted), *chosen], run.data.targets)
        stages.append(write_page(*plan.at, story))
    return guided_of(plan, stages)


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
