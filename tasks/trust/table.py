"""Stage `trust`: one table of every pair of models, with what controls reach and what is trusted."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.groups import Pair
from rosetta.mining.halves import LEAST_IMAGES
from rosetta.mining.trust.tests import passing
from rosetta.recipe import Measurement
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ASSIGNED, EXAMINED, EXCESS, TRUST, TRUST_OF_PAIR, Artifact
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import neighbours as nearest
from storage.filesystem.root import Root
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
            'add one, model = "pixels/64" with control = true say'
        )
    if distinct < images:
        notes.append(
            f"{images - distinct} of {images} images repeat others: chance is underrated, and the halves share images"
        )
    return notes


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of trust."""
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
        reached = _control_best(root, a, b, pairs, controls)
        best = reached[frame["unit_a"].to_numpy()]
        lift = frame["pearson"].to_numpy(np.float64) - best
        frame = with_measured(plan, frame, (a, b)).assign(control_best=best, control_spread=np.nan, lift=lift)
        frames.append(frame.assign(trusted=passing(frame, plan.recipe.trust)["trusted"]))
    joined = pd.concat(frames, ignore_index=True)
    categories = tables.categories_of({name: ActivationStore.read(root, name).units for name in plan.names})
    notes = [*notes, *_dead_halves(joined)]
    tables.write(root, TRUST.path(), joined, plan.fingerprint(TRUST), categories, notes=notes)


JOIN_TRUST = Stage("trust", (TRUST,), fingerprint_of, join_trust)


_MEASURED: dict[Artifact, Measurement] = {EXCESS: "rotation", EXAMINED: "maps", ASSIGNED: "one_to_one"}
"""Tables of a pair that say more of its matches, and the measurement that makes each."""


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
    if not _is_made(plan, ASSIGNED, pair):
        return frame.assign(assigned=np.nan)
    assigned = tables.read(plan.root, ASSIGNED.path(*pair))[["unit_a", "unit_b"]].assign(assigned=1.0)
    frame = frame.merge(assigned, on=["unit_a", "unit_b"], how="left")
    return frame.assign(assigned=frame["assigned"].fillna(0.0))


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


def _control_best(root: Root, a: str, b: str, pairs: Sequence[tuple[str, str]], controls: Sequence[str]) -> Float64:
    """(unit_a,) the best correlation that any unit of a control reaches with each unit of A; NaN without a control.

    A control is measured by the other controls.
    """
    best = np.full(len(ActivationStore.read(root, a).units), np.nan)
    for control in controls:
        if control in (a, b):
            continue
        for pair, side in (((a, control), 0), ((control, a), 1)):
            if pair in pairs:
                best = np.fmax(best, nearest(root, *pair, 1)[side].pearson[:, 0].astype(np.float64))
    return best
