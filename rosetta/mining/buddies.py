"""Nearest neighbours and best buddies between two sets of units.

Dravid et al., ICCV 2023, section 3: `KNN(a, B; K)` are the K units of B that correlate most with a; `BB(A, B; K)`
are the pairs that are in each other's KNN.

A matrix need not be whole to find neighbours: each part gives its own, and the nearest of all are among them
(:func:`merge_neighbours`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

_ROWS = 4096
"""Rows worked on at once: bounds the temporaries to a few times this many rows."""


@dataclass(frozen=True)
class Neighbours:
    """The K nearest neighbours of some units, nearest first."""

    unit: Index
    """(unit, k) by falling correlation, ties to the lower index; −1 where there is no further neighbour."""
    pearson: Float32
    """(unit, k) their correlations; NaN where there is no further neighbour."""


def nearest_neighbours(
    pearson: Float32, k: int, *, first_row: int = 0, first_column: int = 0, same: bool = False
) -> Neighbours:
    """The K nearest neighbours of every row of a matrix, or of a part of one.

    Parameters
    ----------
    pearson : (unit_a, unit_b) float32
        NaN marks a unit without correlation; it is nobody's neighbour.
    k
        How many; fewer where there are no more units.
    first_row, first_column
        Which units of A and B the part begins with.
    same
        Both sides are the same model: a unit is never its own neighbour.
    """
    rows, columns = pearson.shape
    unit = np.full((rows, k), -1, dtype=np.int32)
    value = np.full((rows, k), np.nan, dtype=np.float32)
    width = min(k, columns)
    for start in range(0, rows, _ROWS):
        block = np.where(np.isnan(pearson[start : start + _ROWS]), -np.inf, pearson[start : start + _ROWS])
        if same:
            row = np.arange(len(block))
            own = row + start + first_row - first_column
            inside = (own >= 0) & (own < columns)
            block[row[inside], own[inside]] = -np.inf
        index = _largest(block, width)
        found = index >= 0
        unit[start : start + len(block), :width] = np.where(found, index + first_column, -1)
        value[start : start + len(block), :width] = np.where(
            found, np.take_along_axis(block, np.maximum(index, 0), axis=1), np.nan
        )
    return Neighbours(unit, value)


def merge_neighbours(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """The K nearest neighbours of the same units over several parts.

    Parameters
    ----------
    parts
        Each part's neighbours, at least k of them where it has so many; parts by rising index of their columns.
    """
    unit = np.concatenate([part.unit for part in parts], axis=1)
    value = np.concatenate([part.pearson for part in parts], axis=1)
    # Nearest first within a part and parts by rising index: a stable order breaks ties towards the lower unit.
    order = np.argsort(np.where(unit < 0, np.inf, -value), axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(unit, order, axis=1), np.take_along_axis(value, order, axis=1))


def _largest(values: Float32, k: int) -> Index:
    """(row, k) columns of the k largest values by falling value, ties to the lower column, −1 for −inf."""
    columns = values.shape[1]
    threshold = np.partition(values, columns - k, axis=1)[:, columns - k, None]
    chosen = values >= threshold
    tied = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k)
    if len(tied):
        # Of the values equal to the k-th largest only the first few belong, and argpartition alone would pick any.
        above, level = values[tied] > threshold[tied], values[tied] == threshold[tied]
        room = k - above.sum(axis=1, keepdims=True)
        chosen[tied] = above | (level & (np.cumsum(level, axis=1) <= room))
    index = np.nonzero(chosen)[1].reshape(len(values), k)
    picked = np.take_along_axis(values, index, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    index = np.take_along_axis(index, order, axis=1)
    valid = np.take_along_axis(picked, order, axis=1) > -np.inf
    return np.where(valid, index, -1).astype(np.int32)


@dataclass(frozen=True)
class Buddies:
    """Best buddies of two models, by unit of A, then by rank; one entry a pair."""

    unit_a: Index
    unit_b: Index
    pearson: Float32
    rank_ab: Index
    """Place of b among the neighbours of a; 1 is the nearest."""
    rank_ba: Index
    """Place of a among the neighbours of b."""

    def __len__(self) -> int:
        return len(self.unit_a)


def best_buddies(of_a: Neighbours, of_b: Neighbours) -> Buddies:
    """Mutual K-nearest neighbours.

    Parameters
    ----------
    of_a
        The K nearest neighbours in B of every unit of A.
    of_b
        The K nearest neighbours in A of every unit of B; `of_a` itself where both are the same model, and then each
        pair stands in both directions.
    """
    unit_a, place = np.nonzero(of_a.unit >= 0)
    unit_b = of_a.unit[unit_a, place]
    mutual = of_b.unit[unit_b] == unit_a[:, None]
    kept = mutual.any(axis=1)
    unit_a, unit_b, place = unit_a[kept], unit_b[kept], place[kept]
    return Buddies(
        unit_a.astype(np.int32),
        unit_b,
        of_a.pearson[unit_a, place],
        (place + 1).astype(np.int32),
        (mutual[kept].argmax(axis=1) + 1).astype(np.int32),
    )
