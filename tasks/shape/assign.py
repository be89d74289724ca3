"""Stage `assign`: the units of two models matched one to one, how far the models are apart, and their hubs."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours
from rosetta.mining.groups import Pair
from rosetta.mining.shape.assignment import NEAREST, assign, matching_distance
from rosetta.mining.shape.hubs import hubs
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ASSIGNED, CORRELATIONS, DISTANCES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.nearest import neighbours as nearest
from tasks.match.buddies import buddy_frame
from tasks.plan import Plan, Stage
from tasks.shape.frames import typed
from tasks.stage.progress import track


def fingerprint_of(plan: Plan, *pair: str) -> Fingerprint:
    """Of the units of a pair that are matched; without a pair, of the distances of all."""
    if pair:
        return fingerprint("assigned", correlations=plan.digest(CORRELATIONS, *pair), looked_at=NEAREST)
    return fingerprint("distances", assigned=plan.digests(ASSIGNED), neighbours=plan.recipe.matching.neighbours)


def assign_units(plan: Plan) -> None:
    """`tables/assigned/<a>~<b>.parquet` of every pair of different models, and `tables/distances.parquet`."""
    units = {model: ActivationStore.read(plan.root, model).units for model in plan.names}
    pairs = plan.instances(ASSIGNED.per)
    rows = []
    with track("assign", len(pairs)) as advance:
        for a, b in pairs:
            near = nearest(plan.root, a, b, max(NEAREST, plan.recipe.matching.neighbours))
            matched = _matched(plan, (a, b), units, near)
            rows.append(_distance_row(plan, (a, b), matched, near))
            advance(1)
    frame = typed(rows, DISTANCES.columns)
    tables.write(plan.root, DISTANCES.path(), frame, plan.fingerprint(DISTANCES), tables.categories_of(units))


ASSIGN = Stage(
    "assign",
    (ASSIGNED, DISTANCES),
    fingerprint_of,
    assign_units,
    per="run",
    when=lambda plan: "one_to_one" not in plan.recipe.trust.leave_out,
)


def _matched(
    plan: Plan, pair: Pair, units: dict[str, Units], near: tuple[Neighbours, Neighbours]
) -> npt.NDArray[np.float32]:
    """(pair,) correlations of the units that are matched, whose table is written unless it is there."""
    root, path = plan.root, ASSIGNED.path(*pair)
    if not is_finished(plan.place(path), ASSIGNED, plan.digest(ASSIGNED, *pair)):
        of_a, of_b = (Neighbours(side.unit[:, :NEAREST], side.pearson[:, :NEAREST]) for side in near)
        frame = buddy_frame(*pair, units, assign(of_a, of_b))
        categories = tables.categories_of({model: units[model] for model in pair})
        tables.write(root, path, frame, plan.fingerprint(ASSIGNED, *pair), categories)
    return tables.read(root, path)["pearson"].to_numpy(np.float32)


def _distance_row(
    plan: Plan, pair: Pair, matched: npt.NDArray[np.float32], near: tuple[Neighbours, Neighbours]
) -> dict[str, Any]:
    of_a, of_b = near
    counts = len(of_a.unit), len(of_b.unit)
    row: dict[str, Any] = {
        "model_a": pair[0],
        "model_b": pair[1],
        "distance": matching_distance(matched, counts),
        "assigned": len(matched),
        "unmatched_a": counts[0] - len(matched),
        "unmatched_b": counts[1] - len(matched),
    }
    for side, own, other in (("a", of_a, of_b), ("b", of_b, of_a)):
        # A unit that varies has a neighbour wherever the other model has a unit that does.
        found = hubs(other, own.unit[:, 0] >= 0, plan.recipe.matching.neighbours)
        row |= {
            f"hubness_{side}": found.skewness,
            f"hub_{side}": found.unit,
            f"hub_occurrences_{side}": found.occurrences,
        }
    return row
