"""Stage `trust`: one table of every pair of models, with what controls reach and what is trusted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.groups import Pair
from rosetta.mining.halves import LEAST_IMAGES
from rosetta.mining.trust.tests import asked, passing
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Measurement
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ASSIGNED, CAUSES, EXAMINED, EXCESS, TRUST, TRUST_OF_PAIR
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import neighbours as nearest
from tasks.plan import Plan, Stage

Float64 = npt.NDArray[np.float64]


def reason_not_to(images: int, distinct: int, correlation: str) -> str:
    """Why the matches of a run cannot be judged; empty where they can."""
    if correlation != "pearson":
        return f"trust judges Pearson correlations, and these are {correlation.capitalize()}'s"
    if images < LEAST_IMAGES:
        return f"{images} images are too few to judge matches by; give at least {LEAST_IMAGES}"
    if distinct < LEAST_IMAGES:
        return f"only {distinct} of {images} images differ, too few to judge matches by; give at least {LEAST_IMAGES}"
    return ""


def reservations(images: int, distinct: int, controls: Sequence[str]) -> list[str]:
    """What a reader must know of how the matches of a run were judged."""
    notes = []
    if not controls:
        notes.append(
            "no model of the recipe is a control, so nothing can be trusted; "
            'add one, for example model = "pixels/64" with control = true'
        )
    if distinct < images:
        notes.append(
            f"{images - distinct} of {images} images repeat others: chance is underrated, and the halves share images"
        )
    return notes


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of trust."""
    # Of a run without causes it stays what it was before there were any.
    causes: dict[str, Any] = {} if plan.facts.causes is None else {"causes": plan.facts.causes}
    return fingerprint(
        "trust",
        parts=plan.digests(TRUST_OF_PAIR),
        measured={
            what: {
                "~".join(pair): plan.digest(artifact, *pair) for pair in plan.pairs if _is_made(plan, artifact, pair)
            }
            for artifact, what in _MEASURED.items()
        },
        controls=list(plan.controls),
        knobs=plan.recipe.trust.model_dump(),
        **causes,
    )


def join_trust(plan: Plan) -> None:
    """`tables/trust.parquet`: all pairs, with what controls reach and what is trusted."""
    root, pairs, controls, features = plan.root, plan.pairs, plan.controls, FeatureStore.read(plan.root)
    images, distinct = features.shape[0], features.distinct
    reason = reason_not_to(images, distinct, plan.recipe.matching.correlation)
    notes = [reason] if reason else reservations(images, distinct, controls)
    frames = []
    for a, b in pairs:
        frame = tables.read(root, TRUST_OF_PAIR.path(a, b))
        units = frame["unit_a"].to_numpy()
        best, spread = (of_all[units] for of_all in _controls_reach(plan, a, b))
        lift = frame["pearson"].to_numpy(np.float64) - best
        frame = with_measured(plan, frame, (a, b)).assign(control_best=best, control_spread=spread, lift=lift)
        frames.append(frame.assign(trusted=passing(frame, plan.recipe.trust)["trusted"]))
    joined = pd.concat(frames, ignore_index=True)[[column.name for column in TRUST.columns]]
    categories = tables.categories_of({name: ActivationStore.read(root, name).units for name in plan.names})
    notes = [*notes, *_dead_halves(joined), *unmeasured(plan)]
    tables.write(root, TRUST.path(), joined, plan.fingerprint(TRUST), categories, notes=notes)


JOIN_TRUST = Stage("trust", (TRUST,), fingerprint_of, join_trust)


_MEASURED: dict[Artifact, Measurement] = {EXCESS: "rotation", EXAMINED: "maps", ASSIGNED: "one_to_one"}
"""Tables of a pair that say more of its matches, and the measurement that makes each."""
_CAUSAL = ("causal_effect", "causal_p", "causal_q")
"""Columns that `rosetta ablate` measures."""


def with_measured(plan: Plan, frame: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The matches of a pair with what was measured for the sake of trust alone, NaN where it was not.

    Parameters
    ----------
    frame
        As in `tables/trust/<a>~<b>.parquet`.
    """
    carried = {column.name for column in TRUST.columns}
    for artifact, key in ((EXCESS, ["unit_a"]), (EXAMINED, ["unit_a", "unit_b"])):
        names = [column.name for column in artifact.columns if column.name in carried and column.name not in frame]
        if _is_made(plan, artifact, pair):
            frame = frame.merge(tables.read(plan.root, artifact.path(*pair))[[*key, *names]], on=key, how="left")
        else:
            frame = frame.assign(**dict.fromkeys(names, np.nan))
    frame = with_causes(plan, frame, pair)
    if not _is_made(plan, ASSIGNED, pair):
        return frame.assign(assigned=np.nan)
    assigned = tables.read(plan.root, ASSIGNED.path(*pair))[["unit_a", "unit_b"]].assign(assigned=1.0)
    frame = frame.merge(assigned, on=["unit_a", "unit_b"], how="left")
    return frame.assign(assigned=frame["assigned"].fillna(0.0))


def with_causes(plan: Plan, frame: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The matches of a pair with what the generator's units cause in the other model, NaN where that is not known."""
    if plan.facts.causes is None or pair[0] != plan.anchor:
        return frame.assign(**dict.fromkeys(_CAUSAL, np.nan))
    causes = tables.read(plan.root, CAUSES.path())
    causes = causes.loc[causes["model"] == pair[1], ["anchor_unit", "unit", *_CAUSAL]]
    return frame.merge(causes.rename(columns={"anchor_unit": "unit_a", "unit": "unit_b"}), "left", ["unit_a", "unit_b"])


def unmeasured(plan: Plan) -> list[str]:
    """Say which command measures what a test asks that the recipe names."""
    return [
        f"trust.tests asks for {test.name!r}, which is not measured, so nothing is trusted; run {test.command}"
        f" {plan.root.shown} and then rosetta trust {plan.root.shown}"
        for test in asked(plan.recipe.trust)
        if test.column in _CAUSAL and plan.facts.causes is None
    ]


def _is_made(plan: Plan, artifact: Artifact, pair: Pair) -> bool:
    """Whether the run has measured that of a pair: of a model with itself there is nothing to rotate or to assign."""
    return (
        artifact.pattern in plan.fingerprints
        and _MEASURED[artifact] not in plan.recipe.trust.leave_out
        and (pair[0] != pair[1] or artifact is EXAMINED)
    )


def _dead_halves(frame: pd.DataFrame) -> list[str]:
    """Say how many buddies have a unit that is dead in a half of the images."""
    judged = frame["p_value"].notna()
    dead = int((judged & (frame["pearson_half_1"].isna() | frame["pearson_half_2"].isna())).sum())
    if not dead:
        return []
    return [f"{dead} of {len(frame)} matches have a unit that never varies in one half of the images"]


def _controls_reach(plan: Plan, a: str, b: str) -> tuple[Float64, Float64]:
    """What the controls of a pair reach with each unit of A. A control is measured by the other controls.

    Returns
    -------
    best, spread
        (unit_a,) the best correlation with any unit of any control, NaN without a control; and, where that control is
        one of several draws of random weights of one network, the standard deviation (n − 1) of what the draws reach,
        else NaN.
    """
    count = len(ActivationStore.read(plan.root, a).units)
    best, spread = np.full(count, np.nan), np.full(count, np.nan)
    others = [spec for spec in plan.recipe.models if spec.name in plan.controls and spec.name not in (a, b)]
    for draws in _networks(others):
        found = [[one for name in names if (one := _reached(plan, a, name)) is not None] for names in draws]
        of_draws = np.array([np.fmax.reduce(of_seed) for of_seed in found if of_seed])
        if not len(of_draws):
            continue
        highest = np.fmax.reduce(of_draws)
        here = ~(highest <= best) & ~np.isnan(highest)
        best[here] = highest[here]
        spread[here] = _deviation(of_draws[:, here])
    return best, spread


def _networks(controls: Sequence[ModelSpec]) -> list[list[list[str]]]:
    """Controls that differ in nothing but the seed of their random weights together: the names of each seed."""
    found: dict[str, dict[str, list[str]]] = {}
    for spec in controls:
        is_drawn = spec.weights.startswith("random:")
        key = spec.model_dump_json(exclude={"name", "weights"}) if is_drawn else spec.name
        found.setdefault(key, {}).setdefault(spec.weights, []).append(spec.name)
    return [list(draws.values()) for draws in found.values()]


def _reached(plan: Plan, a: str, control: str) -> Float64 | None:
    """(unit_a,) the best correlation with any unit of a control; None where the two were not correlated."""
    for pair, side in (((a, control), 0), ((control, a), 1)):
        if pair in plan.pairs:
            return nearest(plan.root, *pair, 1)[side].pearson[:, 0].astype(np.float64)
    return None


def _deviation(values: Float64) -> Float64:
    """(unit,) standard deviation over (draw, unit); NaN where fewer than two draws have a value."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, values - mean, 0.0) ** 2
    return np.where(count > 1, np.sqrt(squares.sum(axis=0) / np.maximum(count - 1, 1)), np.nan)
