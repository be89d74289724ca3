"""Units of two models matched one to one: each to at most one, so that the sum of correlations is largest.

Mutual neighbours let a unit be the buddy of many. Here it is taken once, as in the soft matching of Khosla and Williams
(*Soft Matching Distance*, PMLR 2024) with two differences: a unit may stay unmatched, which is worth a correlation of
0, and where one model is wider, units of it are left over in place of shared.

Only pairs of which one is among the nearest of the other are looked at. Their optimum is exact: a bipartite matching
by the sparse Jonker-Volgenant algorithm, in which each unit of the smaller model has a slack vertex of its own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours

Index = npt.NDArray[np.int32]
Units = npt.NDArray[np.int64]

NEAREST = 32
"""Neighbours of each unit that it may be matched to, and those it is among the nearest of."""


@dataclass(frozen=True)
class Assignment:
    """The units that are matched, by unit of A; one entry a pair."""

    unit_a: Index
    unit_b: Index
    pearson: npt.NDArray[np.float32]
    """Above 0."""
    rank_ab: Index
    """Rank of b among the neighbours of a, 1 is the nearest; 0 where it is not among those looked at."""
    rank_ba: Index
    """Rank of a among the neighbours of b, the same way."""

    def __len__(self) -> int:
        return len(self.unit_a)


def assign(of_a: Neighbours, of_b: Neighbours) -> Assignment:
    """Match the units of two different models one to one.

    Parameters
    ----------
    of_a
        The nearest neighbours in B of every unit of A.
    of_b
        The nearest neighbours in A of every unit of B.
    """
    unit_a, unit_b, pearson = _candidates(of_a, of_b)
    chosen = _heaviest(unit_a, unit_b, pearson, (len(of_a.unit), len(of_b.unit)))
    unit_a, unit_b, pearson = unit_a[chosen], unit_b[chosen], pearson[chosen]
    return Assignment(
        unit_a.astype(np.int32),
        unit_b.astype(np.int32),
        pearson,
        _ranks(of_a.unit[unit_a], unit_b),
        _ranks(of_b.unit[unit_b], unit_a),
    )


def matching_distance(matched: npt.NDArray[np.float32], units: tuple[int, int]) -> float:
    """How far two models are from each other: 1 minus the mean correlation of the smaller one's units with the units
    that they are matched to, unmatched ones counting 0.

    From 0, every unit of the smaller model having a perfect copy, to 1.

    Parameters
    ----------
    matched
        (pair,) correlations of the units that are matched.
    units
        Of either model.
    """
    return float(1.0 - matched.astype(np.float64).sum() / min(units))


def _candidates(of_a: Neighbours, of_b: Neighbours) -> tuple[Units, Units, npt.NDArray[np.float32]]:
    """Units of A and B with a correlation above 0, of which either is among the nearest of the other; by A, then B."""
    forth, back = (np.nonzero((near.unit >= 0) & (near.pearson > 0)) for near in (of_a, of_b))
    unit_a = np.concatenate([forth[0], of_b.unit[back]]).astype(np.int64)
    unit_b = np.concatenate([of_a.unit[forth], back[0]]).astype(np.int64)
    pearson = np.concatenate([of_a.pearson[forth], of_b.pearson[back]])
    _, once = np.unique(unit_a * len(of_b.unit) + unit_b, return_index=True)
    return unit_a[once], unit_b[once], pearson[once]


def _heaviest(
    unit_a: Units, unit_b: Units, pearson: npt.NDArray[np.float32], units: tuple[int, int]
) -> npt.NDArray[np.intp]:
    """(pair,) which of some pairs make the matching with the largest sum of correlations, in order."""
    if not len(pearson):
        return np.zeros(0, dtype=np.intp)
    # The rest of a run needs nothing of scipy, which is slow to import.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    (rows, count), (columns, others) = sorted([(unit_a, units[0]), (unit_b, units[1])], key=lambda side: side[1])
    slack = np.arange(count)
    # Costs from 1 to 2: an entry of 0 would be none at all. Staying unmatched costs as much as a correlation of 0.
    costs = np.concatenate([2.0 - pearson.astype(np.float64), np.full(count, 2.0)])
    ends = np.concatenate([rows, slack]), np.concatenate([columns, others + slack])
    row, column = min_weight_full_bipartite_matching(csr_array((costs, ends), shape=(count, others + count)))
    partner = np.full(count, -1, dtype=np.int64)
    partner[row] = column
    return np.flatnonzero(partner[rows] == columns)


def _ranks(near: Index, unit: Units) -> Index:
    """(pair,) where a unit stands among (pair, neighbour) others, from 1; 0 where it does not."""
    same = near == unit[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0).astype(np.int32)
