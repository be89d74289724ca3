"""Stage `rarefy`: buddies among equally many units of the anchor and of each other model."""

import pandas as pd

from rosetta.mining.shape.rarefaction import DRAWS, Rarefaction
from rosetta.mining.shape.seeded import seeded
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS, RAREFACTION
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import pair_store
from tasks.plan import Plan, Stage
from tasks.shape.frames import typed
from tasks.stage.progress import track

_NO_MATRIX = "units can be drawn from whole matrices only; matching.keep = 'matrix' stores them"


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of draws."""
    return fingerprint(
        "rarefaction",
        correlations={name: plan.digest(CORRELATIONS, plan.anchor, name) for name in _others(plan)},
        neighbours=plan.recipe.matching.neighbours,
        draws=DRAWS,
        seed=plan.recipe.images.seed,
    )


def rarefy(plan: Plan) -> None:
    """`tables/rarefaction.parquet`; without rows where the nearest neighbours of all units are kept only."""
    root, anchor, others = plan.root, plan.anchor, _others(plan)
    frames = [typed([], RAREFACTION.columns)]
    with track("rarefy", len(others)) as advance:
        for name in others:
            store = pair_store(root, anchor, name)
            if isinstance(store, CorrelationStore):
                found = _counts(plan, store, name).assign(model_a=anchor, model_b=name)
                frames.append(typed(found, RAREFACTION.columns))
            advance(1)
    frame = pd.concat(frames, ignore_index=True)
    categories = tables.categories_of({name: ActivationStore.read(root, name).units for name in plan.names})
    notes = [] if plan.recipe.matching.keep == CorrelationStore.keep else [_NO_MATRIX]
    tables.write(root, RAREFACTION.path(), frame, plan.fingerprint(RAREFACTION), categories, notes=notes)


RAREFY = Stage(
    "rarefy",
    (RAREFACTION,),
    fingerprint_of,
    rarefy,
    when=lambda plan: "rarefaction" not in plan.recipe.trust.leave_out,
)


def _others(plan: Plan) -> list[str]:
    return [name for name in plan.names if name != plan.anchor]


def _counts(plan: Plan, store: CorrelationStore, name: str) -> pd.DataFrame:
    random = seeded(plan.recipe.images.seed, "rarefaction", plan.anchor, name)
    draws = Rarefaction(store.units, plan.recipe.matching.neighbours, random)
    for rows, pearson in store.bands():
        draws.add(rows, pearson)
    return draws.counts()
