"""Nearest neighbours of a pair of models, from whichever kind of store there is, and its buddies from their table."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import Buddies, Neighbours, merge_neighbours, nearest_neighbours
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.layout import open_complete
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root

Band = tuple[slice, npt.NDArray[np.float32]]
"""Some rows of a matrix: which, and their (row, column) values."""
STORES = {kind.keep: kind for kind in (CorrelationStore, NeighbourStore)}
"""The kind of store, by the recipe's `keep`."""


def pair_store(root: Root, a: str, b: str) -> CorrelationStore | NeighbourStore:
    """The finished store of a pair, of whichever kind.

    Raises
    ------
    FileNotFoundError
        The pair is not finished.
    """
    group = open_complete(root, CORRELATIONS.path(a, b))
    return STORES[str(group.attrs["keep"])](group)


def neighbours(root: Root, a: str, b: str, k: int) -> tuple[Neighbours, Neighbours]:
    """The k nearest in B of every unit of A, and the k nearest in A of every unit of B.

    A matrix is read band by band; it need not fit in memory.

    Raises
    ------
    FileNotFoundError
        The pair is not finished.
    """
    store = pair_store(root, a, b)
    if isinstance(store, NeighbourStore):
        return store.neighbours(k)
    return neighbours_in(store.bands(), k, store.same)


def neighbours_in(bands: Iterable[Band], k: int, same: bool = False) -> tuple[Neighbours, Neighbours]:
    """The k nearest of every row of a matrix among its columns, and of every column among its rows.

    Parameters
    ----------
    bands
        Which rows, by rising index, and their (row, column) values; NaN is nobody's neighbour.
    same
        Both sides are the same model: a unit is never its own neighbour.
    """
    of_a, of_b = [], None
    for rows, values in bands:
        of_a.append(nearest_neighbours(values, k, first_row=rows.start, same=same))
        part = nearest_neighbours(np.ascontiguousarray(values.T), k, first_column=rows.start, same=same)
        of_b = part if of_b is None else merge_neighbours([of_b, part], k)
    assert of_b is not None
    joined = Neighbours(np.concatenate([part.unit for part in of_a]), np.concatenate([part.pearson for part in of_a]))
    # A model with itself has one list of neighbours: the two halves of its matrix may differ in the last bit.
    return joined, joined if same else of_b


def buddies_of(frame: pd.DataFrame, a: str, b: str) -> Buddies:
    """One pair's rows of the buddies table, as arrays."""
    rows = frame[(frame["model_a"] == a) & (frame["model_b"] == b)]
    return Buddies(
        rows["unit_a"].to_numpy(np.int32),
        rows["unit_b"].to_numpy(np.int32),
        rows["pearson"].to_numpy(np.float32),
        rows["rank_ab"].to_numpy(np.int32),
        rows["rank_ba"].to_numpy(np.int32),
    )
