"""Stage `match`: correlations into the table of buddies."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rosetta.mining.buddies import Buddies, best_buddies
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CORRELATIONS
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import neighbours as nearest
from tasks.plan import Plan, Stage


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of buddies."""
    neighbours = plan.recipe.matching.neighbours
    return fingerprint("buddies", correlations=plan.digests(CORRELATIONS), neighbours=neighbours)


def write_buddies(plan: Plan) -> None:
    """`tables/buddies.parquet`: the best buddies of every pair of models."""
    root, neighbours = plan.root, plan.recipe.matching.neighbours
    units = {model: ActivationStore.read(root, model).units for model in plan.names}
    frames = [buddy_frame(a, b, units, best_buddies(*nearest(root, a, b, neighbours))) for a, b in plan.pairs]
    buddies = pd.concat(frames, ignore_index=True)
    tables.write(root, BUDDIES.path(), buddies, plan.fingerprint(BUDDIES), tables.categories_of(units))


MATCH = Stage("match", (BUDDIES,), fingerprint_of, write_buddies)


def buddy_frame(a: str, b: str, units: Mapping[str, Units], buddies: Buddies) -> pd.DataFrame:
    """The rows of one pair of models."""
    columns: dict[str, Any] = {}
    for side, model, unit in (("a", a, buddies.unit_a), ("b", b, buddies.unit_b)):
        columns |= {
            f"model_{side}": pd.Series([model] * len(buddies), dtype="str"),
            f"unit_{side}": unit,
            f"layer_{side}": units[model].layer_names()[unit],
            f"channel_{side}": units[model].channels()[unit],
        }
    columns |= {"pearson": buddies.pearson, "rank_ab": buddies.rank_ab, "rank_ba": buddies.rank_ba}
    return pd.DataFrame(columns).astype({"layer_a": "str", "layer_b": "str"})
