"""How much of a dictionary stays in another run of the same models, and how much of that chance would keep.

Everything is counted within strata, usually the layers: chance puts as many members in each stratum as the runs did,
and draws which. So a layer that both runs favour is not taken for agreement about its units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Stratum = TypeVar("Stratum")


@dataclass(frozen=True)
class Overlap:
    """Two sets, and what two random sets of the same sizes in each stratum would share."""

    first: int
    second: int
    both: int
    both_chance: float
    """Its exact mean by chance."""
    jaccard: float
    """Members of both over members of either; NaN where both sets are empty."""
    jaccard_chance: float
    """Its exact mean by chance; NaN where both sets are empty."""
    p_value: float
    """Chance that random sets share as many, or more."""


@dataclass(frozen=True)
class Matched:
    """Concepts of two runs matched one to one, so that the overlaps sum to the most; `P` pairs that share a unit."""

    first: Index
    """(P,) concept of the first run, rising."""
    second: Index
    """(P,) its partner."""
    overlap: Float64
    """(P,) Jaccard overlap of their anchor units, above 0."""


@dataclass(frozen=True)
class Agreement:
    """Correlation of two columns of numbers for the same things."""

    count: int
    pearson: float
    """NaN with fewer than two, or where a column is constant."""
    deviation_chance: float
    """Standard deviation of the correlation when one column is permuted, whose mean is 0; NaN with fewer than two."""


def overlap(
    first: Mapping[Stratum, set[int]], second: Mapping[Stratum, set[int]], population: Mapping[Stratum, int]
) -> Overlap:
    """Compare two sets.

    Parameters
    ----------
    first, second
        By stratum: its members; strata without any may be left out. For Rosetta neurons by anchor unit, a stratum is
        a layer. For full membership it is a layer of every model, and its members stand for tuples of units.
    population
        By stratum: how many members there could be, for example the channels of the layer.

    Raises
    ------
    ValueError
        A stratum has more members than its population.
    """
    a, b, both = 0, 0, 0
    shared = np.ones(1)  # (members of both + 1,) probabilities over the strata so far
    for stratum in [*first, *(other for other in second if other not in first)]:
        mine, theirs = first.get(stratum, set()), second.get(stratum, set())
        a, b, both = a + len(mine), b + len(theirs), both + len(mine & theirs)
        shared = np.convolve(shared, shared_by_chance(len(mine), len(theirs), population[stratum]))
    if not a + b:
        return Overlap(0, 0, 0, 0.0, np.nan, np.nan, 1.0)
    counts = np.arange(len(shared))
    of_jaccard = float(shared @ (counts / (a + b - counts)))
    p_value = min(1.0, float(shared[both:].sum()))
    return Overlap(a, b, both, float(shared @ counts), both / (a + b - both), of_jaccard, p_value)


def shared_by_chance(first: int, second: int, population: int) -> Float64:
    """Probability of how many members two random sets share: the hypergeometric distribution.

    Neighbouring probabilities have the ratio ``(a − x)(b − x) / ((x + 1)(N − a − b + x + 1))``. They are summed as
    logarithms, so that a population of tuples may be larger than factorials allow.

    Returns
    -------
    (min(first, second) + 1,) probability of 0, 1, … shared members

    Raises
    ------
    ValueError
        A set is larger than the population.
    """
    if max(first, second) > population:
        raise ValueError(f"{max(first, second)} members of {population}")
    least, most = max(0, first + second - population), min(first, second)
    x = np.arange(least, most, dtype=np.float64)
    ratio = np.log(first - x) + np.log(second - x) - np.log(x + 1) - np.log(float(population - first - second) + x + 1)
    logarithm = np.concatenate([[0.0], np.cumsum(ratio)])
    weight = np.exp(logarithm - logarithm.max())
    return np.concatenate([np.zeros(least), weight / weight.sum()])


def match_concepts(first: Index, second: Index) -> Matched:
    """Match the concepts of two runs one to one by an exact assignment.

    Parameters
    ----------
    first, second
        (unit,) the concept of each anchor unit, from 0; −1 where it is in none.
    """
    from scipy.optimize import linear_sum_assignment

    table = _jaccard(first, second)
    rows, columns = linear_sum_assignment(table, maximize=True)
    found = table[rows, columns] > 0
    return Matched(rows[found], columns[found], table[rows, columns][found])


def matched_by_chance(first: Index, second: Index, layer: Index, draws: int, seed: int) -> list[Matched]:
    """Match concepts again with the units of the second run exchanged within layers.

    Parameters
    ----------
    first, second
        (unit,) as for `match_concepts`.
    layer
        (unit,) the layer of each unit.
    draws
        How many exchanges.
    """
    generator = np.random.default_rng(seed)
    by_layer = np.argsort(layer, kind="stable")
    matched = []
    for _ in repeat(None, draws):
        exchanged = np.empty_like(second)
        exchanged[by_layer] = second[np.lexsort((generator.random(len(layer)), layer))]
        matched.append(match_concepts(first, exchanged))
    return matched


def _jaccard(first: Index, second: Index) -> Float64:
    """(concept of the first, concept of the second)"""
    shape = (int(first.max(initial=-1)) + 1, int(second.max(initial=-1)) + 1)
    shared = np.zeros(shape)
    inside = (first >= 0) & (second >= 0)
    np.add.at(shared, (first[inside], second[inside]), 1)
    sizes = (np.bincount(of[of >= 0], minlength=size) for of, size in zip((first, second), shape, strict=True))
    either = np.add.outer(*sizes) - shared
    return np.divide(shared, either, out=np.zeros(shape), where=either > 0)


def agreement(first: Float64, second: Float64) -> Agreement:
    """Correlate strengths that two runs give to the same pairs of units.

    Under permutation the mean is 0 and the variance ``1 / (n − 1)``, whatever the numbers (Pitman, *Supplement to the
    Journal of the Royal Statistical Society* 1937).

    Parameters
    ----------
    first, second
        (pair,) finite.
    """
    count = len(first)
    if count < 2:
        return Agreement(count, np.nan, np.nan)
    deviation = float(1 / np.sqrt(count - 1))
    # A mean of equal numbers may be off by a rounding, so constants are told from the numbers themselves.
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return Agreement(count, np.nan, deviation)
    return Agreement(count, float(np.corrcoef(first, second)[0, 1]), deviation)
