"""The flows `ablate` and `silence`: what units cause, in the generator and in the models that look."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from prefect import flow

from flows.locking import holding
from flows.report import rewrite
from rosetta.errors import UserError
from rosetta.guidance.cause_settings import Ablation, Silencing
from rosetta.guidance.causes import with_random
from storage.artifacts import seals
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ABLATIONS, CAUSES, SILENCED, SILENCINGS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.layout import stored_attributes
from storage.filesystem.lock import lock_of
from storage.filesystem.root import Root
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal
from tasks.causes import ablate as ablating
from tasks.causes import silence as silencing
from tasks.causes.ablate_worker import Ablating
from tasks.causes.run import CausesRun
from tasks.causes.summary import causes_lines, notes, of_causes, of_silenced, silenced_lines
from tasks.stage.stage import StageResult

CONCEPTS = 10
"""Concepts that are silenced where none are named: the largest."""
_ELSEWHERE = {"batch", "models", "trusted"}
"""Settings that no number depends on, or that say who takes part, which fingerprints name by itself."""


@dataclass(frozen=True)
class Caused:
    """What `rosetta ablate` left."""

    root: str
    table: str
    """Path of the table under the root."""
    stages: tuple[StageResult, ...]
    summary: list[dict[str, Any]]
    """One entry for each model, or for each concept and model."""
    lines: list[str]
    """The same for people."""
    notes: list[str]
    page: str
    """A line about the run's page, which shows it; empty where it has none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = asdict(self)
        del fields["lines"]
        return fields


def plan_ablation(root: str, settings: Ablation, replace: bool = False) -> Ablating:
    """Check all that an ablation names; nothing is written.

    Raises
    ------
    UserError
        Something that is named does not exist or does not fit.
    """
    run = _opened(root)
    data = run.data
    if data.generator is None:
        raise UserError(
            f"run {data.root.shown} has no generator whose units could be ablated; --silence silences concepts in its"
            " other models"
        )
    models, images = run.chosen(settings.models), run.images(settings.images)
    neurons = data.neurons[["rosetta", "cluster", "anchor_unit", "layer", "trusted"]]
    if settings.ranges is not None:
        asked = np.unique(np.concatenate([np.array(one) for one in settings.ranges]))
        unknown = np.setdiff1d(asked, neurons["rosetta"])
        if len(unknown):
            raise UserError(
                f"--neurons: there is no neuron {unknown[0]} in {data.root.shown}; its neurons are 0 to"
                f" {len(neurons) - 1}"
            )
        neurons = neurons[neurons["rosetta"].isin(asked)]
    if settings.trusted:
        neurons = neurons[neurons["trusted"]]
    if not len(neurons):
        raise UserError(f"none of the neurons that are asked for in {data.root.shown} is trusted; leave --trusted out")
    neurons = neurons.sort_values("rosetta").reset_index(drop=True)
    _require_writable(run, data.anchor, dict.fromkeys(neurons["layer"]), "name others with --neurons")
    for name in models:  # what is wrong with one of them is known before anything is written
        run.model(name)
    taken = data.neurons["anchor_unit"].to_numpy(np.intp)
    own = neurons["anchor_unit"].to_numpy(np.intp)
    ablated = with_random(run.scale(data.anchor), own, taken, settings.random, settings.seed)
    among = (data.anchor, *models)
    rows = data.rosetta[data.rosetta["rosetta"].isin(neurons["rosetta"]) & data.rosetta["model"].isin(among)]
    asked_for = settings.model_dump(mode="json", by_alias=True, exclude=_ELSEWHERE)
    units = {"neurons": neurons["rosetta"].tolist(), "random_units": ablated.units[ablated.neurons :].tolist()}
    made = run.fingerprint("causes", rows, among, images, {**asked_for, **units})
    _require_free(data.root, ABLATIONS, made, replace)
    batch = run.batch(settings.batch)
    return Ablating(settings.intervention, ablated, neurons, models, images, batch, made)


def plan_silencing(root: str, settings: Silencing, replace: bool = False) -> silencing.Silencing:
    """As :func:`plan_ablation`, for concepts in discriminative models."""
    run = _opened(root)
    data = run.data
    models, images = run.chosen(settings.models), run.images(settings.images)
    for concept in settings.concepts or ():
        data.require_concept(concept)
    largest = data.clusters.sort_values(["size", "cluster"], ascending=[False, True])["cluster"][:CONCEPTS]
    concepts = sorted({*(settings.concepts or largest.tolist())})
    if not concepts:
        raise UserError(f"the dictionary of {data.root.shown} has no concept that could be silenced")
    rows = data.rosetta[data.rosetta["cluster"].isin(concepts)]
    for name in models:
        layers = dict.fromkeys(rows.loc[rows["model"] == name, "layer"])
        _require_writable(run, name, layers, "leave the model out with --models, or name other --concepts")
    units = {
        concept: {
            name: np.unique(rows.loc[(rows["cluster"] == concept) & (rows["model"] == name), "unit"]).astype(np.intp)
            for name in models
        }
        for concept in concepts
    }
    rows = rows[rows["model"].isin(models)]
    asked_for = settings.model_dump(mode="json", exclude=_ELSEWHERE)
    made = run.fingerprint("silenced", rows, models, images, {**asked_for, "concepts": concepts})
    _require_free(data.root, SILENCINGS, made, replace)
    return silencing.Silencing(units, models, images, settings.sets, settings.seed, run.batch(settings.batch), made)


@flow(name="ablate", flow_run_name="ablate {root}")
def ablate(root: str, wanted: Ablation, replace: bool = False) -> Caused:
    """Ablate or raise units of the generator, and see whether their buddies follow.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Which neurons, on which images, and what is done to them.
        replace: Replace the result of other settings. Otherwise the run fails.

    Raises:
        UserError: The settings do not fit the run. Nothing has been written then.
    """
    plan, place = plan_ablation(root, wanted, replace), Root(root)
    with _claimed(place, (ABLATIONS, CAUSES), plan.fingerprint):
        stages = (ablating.ablate(place, plan), ablating.write_causes(place, plan))
    q = CausesRun.open(place).data.recipe.trust.q
    summary = of_causes(place, q)
    lines = causes_lines(summary, q)
    return Caused(place.shown, CAUSES.path(), stages, summary, lines, notes(place, CAUSES.path()), rewrite(place))


@flow(name="silence", flow_run_name="silence {root}")
def silence(root: str, wanted: Silencing, replace: bool = False) -> Caused:
    """Silence the units of concepts in the discriminative models, and see what these put out.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Which concepts, on which images.
        replace: Replace the result of other settings. Otherwise the run fails.

    Raises:
        UserError: As :func:`ablate`.
    """
    plan, place = plan_silencing(root, wanted, replace), Root(root)
    with _claimed(place, (SILENCINGS, SILENCED), plan.fingerprint):
        stages = (silencing.silence_concepts(place, plan), silencing.write_silenced(place, plan))
    summary = of_silenced(place)
    lines = silenced_lines(summary)
    return Caused(place.shown, SILENCED.path(), stages, summary, lines, notes(place, SILENCED.path()), rewrite(place))


def _opened(root: str) -> CausesRun:
    run = CausesRun.open(Root(root))
    require_no_upgrade(run.data.root)
    return run


def _require_writable(run: CausesRun, name: str, layers: Iterable[str], remedy: str) -> None:
    """
    Raises
    ------
    UserError
        Channels of one of the layers of a model cannot be set.
    """
    model = run.model(name)
    try:
        model.capture.require_writable(layers)
    except UserError as error:
        raise UserError(f"{name}: {error}; {remedy}") from None


def _require_free(root: Root, artifact: Artifact, made: Fingerprint, replace: bool) -> None:
    """
    Raises
    ------
    UserError
        The store holds the result of something else, which is not to be replaced.
    """
    stored = stored_attributes(root, artifact.path())
    if stored is not None and not replace:
        made.require_match(artifact.path(), stored)


@contextmanager
def _claimed(root: Root, artifacts: tuple[Artifact, Artifact], made: Fingerprint) -> Iterator[None]:
    """Hold a store and its table while they are written, free of what was made from something else; seal them."""
    with holding(root, lock_of(artifacts[0].path())):
        root.require_writable()
        stored = stored_attributes(root, artifacts[0].path())
        if stored is not None and stored["fingerprint"] != made.digest:
            for artifact in reversed(artifacts):
                seals.discard(root, artifact.path())
        yield
        for artifact in artifacts:
            seal(root, artifact.path())
