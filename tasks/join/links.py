"""Which unit of a pivot links the units of each pair, and how likely so strong a link is by chance."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.factors import PANEL
from rosetta.mining.join.chance import chance_strengths, link_p_values
from tasks.join.inputs import Float32, JoinPlan

Index = npt.NDArray[np.integer]

_AT_ONCE = 256
"""Pairs whose correlations with all units of a pivot are held at once, beside those of two panels."""


@dataclass(frozen=True)
class Links:
    """Links of some pairs through one pivot."""

    unit: npt.NDArray[np.int32]
    """(pair,) the pivot's unit, ties to the lower one; −1 where nothing links the pair."""
    pearson: tuple[Float32, Float32]
    """(pair,) its correlations with the unit of the first generator, and with that of the other."""
    strength: Float32
    """(pair,) the lower of them."""
    p_value: npt.NDArray[np.float64]
    """(pair,)"""
    chance: npt.NDArray[np.float64]
    """(pair,) the strength that exchanging the pivot's units reaches half of the time."""
    exact: npt.NDArray[np.bool_]
    """(pair,) whether no correlation that was not kept can change the strength.

    Correlations that were not kept of a unit are at most its least that was, and so are links through them.
    """


def links(
    plan: JoinPlan, other: int, pivot: int, unit_a: Index, unit_b: Index, order: npt.NDArray[np.intp] | None = None
) -> Links:
    """The links of some pairs of units of two generators.

    Parameters
    ----------
    unit_a, unit_b
        (pair,)
    order
        (pivot unit,) the unit that stands in the place of each on the side of the second generator, of its own layer.
    """
    count = len(unit_a)
    unit, p_value, chance = np.full(count, -1, np.int32), np.ones(count), np.zeros(count)
    pearson = np.full((2, count), np.nan, np.float32)
    units = plan.pivots[pivot].units
    for pairs, a, b in _correlations(plan, other, pivot, unit_a, unit_b):
        if order is not None:
            b = b[:, order]
        weaker = np.minimum(a, b)
        best = weaker.argmax(axis=1)
        rows = np.arange(len(pairs))
        strength = weaker[rows, best]
        linked = ~np.isneginf(strength)
        unit[pairs] = np.where(linked, best, -1)
        pearson[:, pairs] = np.where(linked, (a[rows, best], b[rows, best]), np.nan)
        p_value[pairs] = link_p_values(a, b, np.where(linked, strength, np.nan), units)
        chance[pairs] = chance_strengths(a, b, units)
    strength = pearson.min(axis=0)
    least = [plan.correlated(run, pivot).least_kept()[chosen] for run, chosen in ((0, unit_a), (other, unit_b))]
    exact = np.where(np.isnan(strength), -np.inf, strength) >= np.maximum(*least)
    return Links(unit, (pearson[0], pearson[1]), strength, p_value, chance, exact)


def _correlations(
    plan: JoinPlan, other: int, pivot: int, unit_a: Index, unit_b: Index
) -> Iterator[tuple[Index, Float32, Float32]]:
    """Some pairs, and the (pair, pivot unit) correlations of either side; each tile that has pairs is read once."""
    sides = plan.correlated(0, pivot), plan.correlated(other, pivot)
    whole = slice(0, len(plan.pivots[pivot].units))
    tiles = np.stack([unit_a // PANEL, unit_b // PANEL])
    for row, column in np.unique(tiles, axis=1).T:
        inside = np.flatnonzero((tiles[0] == row) & (tiles[1] == column))
        spans = [
            slice(int(place) * PANEL, min((int(place) + 1) * PANEL, len(plan.units(run))))
            for place, run in ((row, 0), (column, other))
        ]
        a, b = (side.part(span, whole) for side, span in zip(sides, spans, strict=True))
        for start in range(0, len(inside), _AT_ONCE):
            pairs = inside[start : start + _AT_ONCE]
            yield pairs, a[unit_a[pairs] - spans[0].start], b[unit_b[pairs] - spans[1].start]
