"""A pair's store with the nearest neighbours of every unit, for matrices too big to keep.

Each panel of the matrix writes the nearest neighbours of either side that it holds as *candidates*, in a chunk of its
own, so that panels may come in any order and from any worker. When all are written, the nearest candidates are kept
and the rest are removed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.buddies import Neighbours, merge_neighbours
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.pairs import PairStore, Panel

_CANDIDATES = "candidates"
_SIDES = (("ab", "a", "b"), ("ba", "b", "a"))
"""By direction: its name in names of arrays, whose neighbours, and where they are."""


@dataclass(frozen=True)
class NeighbourStore(PairStore):
    """`neighbours_ab` and `pearson_ab` (unit_a, neighbour), `neighbours_ba` and `pearson_ba` (unit_b, neighbour)."""

    keep = "neighbours"

    @staticmethod
    def _lay_out(group: zarr.Group, models: tuple[str, str], units: tuple[int, int], k: int, halves: bool) -> None:
        layout.create_index(group, "neighbour", k, "rank of the neighbour", first=1, description="1 is the nearest")
        candidates = layout.bookkeeping(group).create_group(_CANDIDATES)
        for (side, own, other), count, others, model in zip(_SIDES, units, units[::-1], models[::-1], strict=True):
            nearest: layout.Axes = {f"unit_{own}": (count, min(PANEL, count)), "neighbour": k}
            panels: layout.Axes = {f"panel_{other}": (block_count(others, PANEL), 1), **nearest}
            labels = f"layer_{own} channel_{own}"
            for name, dtype, fill, long_name, description in (
                ("neighbours", "int32", -1, f"nearest units of {model}", "index in its model; -1 where there is none"),
                ("pearson", "float32", float("nan"), "Pearson correlation", "with the neighbour"),
            ):
                layout.create_array(
                    group,
                    f"{name}_{side}",
                    dtype,
                    nearest,
                    long_name,
                    description=description,
                    fill=fill,
                    coordinates=labels,
                )
                layout.create_array(candidates, f"{name}_{side}", dtype, panels, "candidates of a panel", fill=fill)

    @property
    def k(self) -> int:
        """How many neighbours are kept of each unit."""
        return int(self._array("neighbours_ab").shape[1])

    def neighbours(self, k: int) -> tuple[Neighbours, Neighbours]:
        """The k nearest in B of every unit of A, and the k nearest in A of every unit of B."""
        of_a, of_b = (
            Neighbours(
                np.asarray(self._array(f"neighbours_{side}")[:, :k]), np.asarray(self._array(f"pearson_{side}")[:, :k])
            )
            for side, _, _ in _SIDES
        )
        # A model with itself has one list of neighbours; the two halves of its matrix may differ in the last bit.
        return of_a, of_a if self.same else of_b

    def part(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """(row, column) float32 of some units of either model; NaN where neither has the other among its nearest."""
        values = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
        for (side, _, _), own, other, turned in zip(
            _SIDES, (rows, columns), (columns, rows), (values, values.T), strict=True
        ):
            unit = np.asarray(self._array(f"neighbours_{side}")[own])
            row, place = np.nonzero((unit >= other.start) & (unit < other.stop))
            turned[row, unit[row, place] - other.start] = np.asarray(self._array(f"pearson_{side}")[own])[row, place]
        return values

    def least_kept(self) -> npt.NDArray[np.float32]:
        """(unit_a,) no correlation that is not kept is higher; −inf where all of a unit's are kept."""
        if self.k >= self.units[1]:
            return np.full(self.units[0], -np.inf, np.float32)
        least = np.asarray(self._array("pearson_ab")[:, -1])
        return np.where(np.isnan(least), -np.inf, least)

    def write(self, panel: Panel, of_a: Neighbours, of_b: Neighbours) -> None:
        """Write the candidates that one panel holds of either side, then its marker."""
        for (side, _, _), found, own, other, units in zip(
            _SIDES, (of_a, of_b), panel, reversed(panel), self.units, strict=True
        ):
            span = block_slice(own, PANEL, units)
            self._candidates(f"neighbours_{side}")[other, span] = found.unit
            self._candidates(f"pearson_{side}")[other, span] = found.pearson
        self.mark(panel)

    def finish(self) -> None:
        """Keep the nearest of all candidates, and mark the store as finished."""
        kept = layout.bookkeeping(self.group)
        if _CANDIDATES in kept:  # removed already if an earlier run was cut off after this
            for (side, _, _), units in zip(_SIDES, self.units, strict=True):
                for span, found in self._nearest(side, units):
                    self._array(f"neighbours_{side}")[span] = found.unit
                    self._array(f"pearson_{side}")[span] = found.pearson
            del kept[_CANDIDATES]
        super().finish()

    def _nearest(self, side: str, units: int) -> Iterator[tuple[slice, Neighbours]]:
        for span in ranges(units, PANEL):
            unit = np.asarray(self._candidates(f"neighbours_{side}")[:, span])
            pearson = np.asarray(self._candidates(f"pearson_{side}")[:, span])
            yield span, merge_neighbours([Neighbours(*part) for part in zip(unit, pearson, strict=True)], self.k)

    def _candidates(self, name: str) -> zarr.Array:
        return layout.array_of(layout.bookkeeping(self.group), _CANDIDATES, name)
