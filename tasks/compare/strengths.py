"""How the strengths correlate that two runs give to the same Rosetta neurons and buddies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rosetta.mining.compare import agreement
from storage.artifacts.catalogue import COMPARISON_STRENGTHS
from storage.run.data import RunData
from tasks.compare.dictionary import Dictionary, Float64, numbers
from tasks.compare.inputs import ComparePlan

ALL = "all"
NEURONS, BUDDIES = "neurons", "buddies"


def strength_frame(plan: ComparePlan, first: Dictionary, second: Dictionary) -> pd.DataFrame:
    """A row for the neurons with the same anchor unit, and one a model for the buddies in both runs."""
    places = np.intersect1d(first.anchor_unit, second.anchor_unit, return_indices=True)[1:]
    rows = [(NEURONS, ALL, *_agreement(first.strength[places[0]], second.strength[places[1]]))]
    for model in plan.models:
        sides = [_buddies(run, plan, model) for run in plan.runs]
        both = sides[0].index.intersection(sides[1].index).sort_values()
        rows.append((BUDDIES, model, *_agreement(*(side[both].to_numpy(np.float64) for side in sides))))
    return pd.DataFrame(rows, columns=[column.name for column in COMPARISON_STRENGTHS.columns])


def _buddies(run: RunData, plan: ComparePlan, model: str) -> "pd.Series[float]":
    """Correlations of the buddies of the anchor in a model, by both units within the layers that both runs have."""
    pairs = run.with_anchor(run.buddies, model)
    codes = [numbers(plan.units[of], pairs[f"layer_{side}"], pairs[f"channel_{side}"])
             for of, side in ((plan.anchor, "a"), (model, "b"))]  # fmt: skip
    known = (codes[0] >= 0) & (codes[1] >= 0)
    number = codes[0] * len(plan.units[model]) + codes[1]
    return pd.Series(pairs["pearson"].to_numpy()[known], number[known])


def _agreement(first: Float64, second: Float64) -> Iterator[Any]:
    found = agreement(first, second)
    means = (side.mean() if len(side) else np.nan for side in (first, second))
    return iter((found.count, *means, found.pearson, found.deviation_chance))
