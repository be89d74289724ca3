"""Stage `stability`: the dictionary with other numbers of neighbours."""

from dataclasses import asdict

import numpy as np

from rosetta.mining.buddies import best_buddies
from rosetta.mining.shape.stability import DictionaryWith, numbers_of_neighbours, stability
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS, STABILITY, TRUST
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import neighbours as nearest
from tasks.plan import Plan, Stage
from tasks.shape.frames import typed
from tasks.stage.progress import log


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of dictionaries with other K."""
    return fingerprint(
        "stability",
        correlations={name: plan.digest(CORRELATIONS, plan.anchor, name) for name in (plan.anchor, *plan.targets)},
        trust=plan.digest(TRUST),
        neighbours=plan.recipe.matching.neighbours,
    )


def write_stability(plan: Plan) -> None:
    """`tables/stability.parquet`, and a warning where one concept swallows the others."""
    root, anchor, chosen = plan.root, plan.anchor, plan.recipe.matching.neighbours
    most = max(numbers_of_neighbours(chosen))
    buddies = {name: best_buddies(*nearest(root, anchor, name, most)) for name in (anchor, *plan.targets)}
    own = buddies.pop(anchor)
    trust = tables.read(root, TRUST.path())
    matches = trust[(trust["model_a"] == anchor) & trust["trusted"]]
    trusted = {
        name: matches.loc[matches["model_b"] == name, ["unit_a", "unit_b"]].to_numpy(np.int64) for name in plan.targets
    }
    found = stability(buddies, own, len(ActivationStore.read(root, anchor).units), chosen, trusted)
    notes = [warning(one) for one in found if one.neighbours == chosen and one.percolates]
    for note in notes:
        log.warning("%s", note)
    frame = typed([asdict(one) for one in found], STABILITY.columns)
    tables.write(root, STABILITY.path(), frame, plan.fingerprint(STABILITY), notes=notes)


WRITE_STABILITY = Stage(
    "stability",
    (STABILITY,),
    fingerprint_of,
    write_stability,
    when=lambda plan: "stability" not in plan.recipe.trust.leave_out,
)


def warning(found: DictionaryWith) -> str:
    """What a reader must know where the concepts of a run percolate."""
    return (
        f"with K = {found.neighbours} the largest concept holds {found.largest} of {found.neurons} Rosetta neurons,"
        " more than a fifth: concepts run together; a smaller matching.neighbours keeps them apart"
    )
