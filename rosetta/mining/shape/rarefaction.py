"""Rarefaction: how many buddies equally many units of two models have, so that wide and narrow models compare.

A model with more units has more buddies, and each of them a harder choice. Ecology draws the same number of
individuals from each site before it counts species (Hurlbert, *Ecology* 1971). Here `m` units are drawn from either
model, and only they are matched with one another.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import Neighbours, best_buddies, merge_neighbours, nearest_neighbours

Units = npt.NDArray[np.int64]

DRAWS = 20
LEAST, MOST = 32, 4096
"""Units that are drawn of each model, as powers of two."""


def sizes(units: tuple[int, int]) -> list[int]:
    """How many units are drawn of each of two models: powers of two from 32 to 4,096, as far as both have so many."""
    smaller = min(*units, MOST)
    return [1 << power for power in range(LEAST.bit_length() - 1, smaller.bit_length()) if 1 << power <= smaller]


@dataclass(frozen=True)
class _Draw:
    """Some units of either model, in order, and what is known of their neighbours so far."""

    units: tuple[Units, Units]
    of_a: list[Neighbours]
    of_b: list[Neighbours]

    def add(self, rows: slice, pearson: npt.NDArray[np.float32], k: int) -> None:
        first, stop = np.searchsorted(self.units[0], (rows.start, rows.stop))
        if first == stop:
            return
        part = pearson[np.ix_(self.units[0][first:stop] - rows.start, self.units[1])]
        self.of_a.append(nearest_neighbours(part, k))
        self.of_b.append(nearest_neighbours(np.ascontiguousarray(part.T), k, first_column=int(first)))
        if len(self.of_b) > 1:
            self.of_b[:] = [merge_neighbours(self.of_b, k)]

    def count(self) -> int:
        of_a = Neighbours(*(np.concatenate([getattr(one, name) for one in self.of_a]) for name in ("unit", "pearson")))
        return len(best_buddies(of_a, self.of_b[0]))


class Rarefaction:
    """Draws of units of two models, whose correlations come in bands of rows.

    The draws of a number are parts of those of the next larger one: a draw is the beginning of a random order.
    """

    def __init__(self, units: tuple[int, int], k: int, random: np.random.Generator, draws: int = DRAWS) -> None:
        """
        Parameters
        ----------
        units
            Of either model.
        k
            K of the mutual K-nearest neighbours.
        """
        self._k = k
        self._draws: dict[tuple[int, int], _Draw] = {}
        for draw in range(draws):
            orders = [random.permutation(count) for count in units]
            for size in sizes(units):
                a, b = (np.sort(order[:size]) for order in orders)
                self._draws[size, draw] = _Draw((a, b), [], [])

    def add(self, rows: slice, pearson: npt.NDArray[np.float32]) -> None:
        """Take the next rows.

        Parameters
        ----------
        pearson
            (row, unit_b) whole rows, by rising unit of A.
        """
        for draw in self._draws.values():
            draw.add(rows, pearson, self._k)

    def counts(self) -> pd.DataFrame:
        """`units`, `draw` and `buddies`, once all rows are in."""
        rows = [(size, draw, one.count()) for (size, draw), one in sorted(self._draws.items())]
        return pd.DataFrame(rows, columns=["units", "draw", "buddies"], dtype=np.int32)


def rarefied(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the draws.

    Parameters
    ----------
    frame
        `tables/rarefaction.parquet`.

    Returns
    -------
    DataFrame
        `model_b`, `units`, `mean`, `std` (of the sample); models in the order of the table, units rising.
    """
    grouped = frame.groupby(["model_b", "units"], sort=False, observed=True)["buddies"]
    return grouped.agg(["mean", "std"]).reset_index()
