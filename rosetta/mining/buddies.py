"""Nearest neighbours and best buddies between two sets of units.

Dravid et al., ICCV 2023, section 3: `KNN(a, B; K)` are the K units of B that correlate most with a; `BB(A, B; K)`
are the pairs that are in each other's KNN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int32]

_ROWS = 4096
"""Rows worked on at once: bounds the temporaries to a few times this many rows."""


def nearest_neighbours(pearson: npt.NDArray[np.float32], k: int, *, same: bool = False) -> Index:
    """The K nearest neighbours of every row.

    Parameters
    ----------
    pearson : (unit_a, unit_b) float32
        NaN marks a unit without correlation; it is nobody's neighbour.
    k
        How many; fewer where there are no more units.
    same
        Both sides are the same model: a unit is never its own neighbour.

    Returns
    -------
    (unit_a, k) int32
        Unit indices of B by falling correlation, ties to the lower index; −1 where there is no further neighbour.
    """
    rows, columns = pearson.shape
    result = np.full((rows, k), -1, dtype=np.int32)
    for start in range(0, rows, _ROWS):
        block = np.where(np.isnan(pearson[start : start + _ROWS]), -np.inf, pearson[start : start + _ROWS])
        if same:
            own = np.arange(len(block))
            block[own, start + own] = -np.inf
        result[start : start + len(block), : min(k, columns)] = _largest(block, min(k, columns))
    return result


def _largest(values: npt.NDArray[np.float32], k: int) -> Index:
    """(row, k) columns of the k largest values by falling value, ties to the lower column, −1 for −inf."""
    columns = values.shape[1]
    threshold = np.partition(values, columns - k, axis=1)[:, columns - k, None]
    above = values > threshold
    # Of the values equal to the k-th largest only the first few belong, and argpartition alone would pick any.
    level = values == threshold
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1) <= room))
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
    pearson: npt.NDArray[np.float32]
    rank_ab: Index
    """Place of b among the neighbours of a; 1 is the nearest."""
    rank_ba: Index
    """Place of a among the neighbours of b."""

    def __len__(self) -> int:
        return len(self.unit_a)


def best_buddies(pearson: npt.NDArray[np.float32], k: int, *, same: bool = False) -> Buddies:
    """Mutual K-nearest neighbours.

    Parameters
    ----------
    pearson : (unit_a, unit_b) float32
    k
        Neighbours on either side.
    same
        Both sides are the same model: no unit is its own buddy; each pair stands in both directions.
    """
    of_a = nearest_neighbours(pearson, k, same=same)
    of_b = of_a if same else nearest_neighbours(np.ascontiguousarray(pearson.T), k)
    unit_a, place = np.nonzero(of_a >= 0)
    unit_b = of_a[unit_a, place]
    mutual = of_b[unit_b] == unit_a[:, None]
    kept = mutual.any(axis=1)
    unit_a, unit_b, place = unit_a[kept], unit_b[kept], place[kept]
    return Buddies(
        unit_a.astype(np.int32),
        unit_b,
        pearson[unit_a, unit_b],
        (place + 1).astype(np.int32),
        (mutual[kept].argmax(axis=1) + 1).astype(np.int32),
    )
