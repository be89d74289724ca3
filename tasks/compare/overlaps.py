"""How many Rosetta neurons of two runs are the same, for all layers and for each."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from rosetta.mining.compare import overlap
from rosetta.units import Units
from storage.artifacts.catalogue import COMPARISON_OVERLAPS
from tasks.compare.dictionary import Dictionary, Index
from tasks.compare.inputs import ComparePlan

ALL = "all"
"""All layers together, and all neurons."""
TRUSTED, ANCHOR, MEMBERS = "trusted", "anchor", "members"

Stratum = tuple[int, ...]
"""A layer of each model, by its place."""


def overlap_frame(plan: ComparePlan, first: Dictionary, second: Dictionary) -> pd.DataFrame:
    """A row for each layer and for all, of all neurons and of trusted ones, by the anchor and by all members."""
    sides = {ALL: (first, second), TRUSTED: tuple(one.only(one.trusted) for one in (first, second))}
    models = {ANCHOR: 1, MEMBERS: len(plan.units)}
    rows = [
        row
        for of, by in product(sides, models)
        for row in _rows(plan, of, by, *(one.unit[:, : models[by]] for one in sides[of]))
    ]
    return pd.DataFrame(rows, columns=[column.name for column in COMPARISON_OVERLAPS.columns])


def _rows(plan: ComparePlan, of: str, by: str, first: Index, second: Index) -> Iterator[tuple[Any, ...]]:
    units = list(plan.units.values())[: first.shape[1]]
    sides = [_strata(units, chosen) for chosen in (first, second)]
    population = {stratum: _population(units, stratum) for side in sides for stratum in side}
    layers = [(ALL, None), *((layer.name, place) for place, layer in enumerate(units[0].layers))]
    for name, place in layers:
        mine, theirs = ({at: own for at, own in side.items() if place in (None, at[0])} for side in sides)
        found = overlap(mine, theirs, population)
        yield (
            of, by, name, found.first, found.second, found.both, found.both_chance, found.jaccard,
            found.jaccard_chance, found.p_value,
        )  # fmt: skip


def _strata(units: Sequence[Units], chosen: Index) -> dict[Stratum, set[int]]:
    """Neurons by the layers that their units lie in, each as one number of its channels there.

    Parameters
    ----------
    chosen
        (neuron, model) units. Neurons with a unit in a layer of one run alone are left out.
    """
    chosen = chosen[(chosen >= 0).all(axis=1)]
    columns = list(zip(units, chosen.T, strict=True))
    layers = np.column_stack([of_model.layer_index()[own] for of_model, own in columns])
    channels = np.column_stack([of_model.channels()[own] for of_model, own in columns])
    found: dict[Stratum, set[int]] = {}
    for stratum, neuron in zip(map(tuple, layers.tolist()), channels.tolist(), strict=True):
        number = 0  # of as many digits as there are models, each to the base of a layer's channels
        for of_model, place, channel in zip(units, stratum, neuron, strict=True):
            number = number * of_model.layers[place].channels + channel
        found.setdefault(stratum, set()).add(number)
    return found


def _population(units: Sequence[Units], stratum: Stratum) -> int:
    return prod(of_model.layers[place].channels for of_model, place in zip(units, stratum, strict=True))
