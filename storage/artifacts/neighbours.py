"""A pair's store with the nearest neighbours of every unit, for matrices too big to keep.

Each panel of the matrix writes the nearest neighbours of either side that it holds as *candidates*, in a chunk of its
own, so that panels may come in any order and from any worker. When all are written, the nearest candidates are kept
and the rest are removed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import zarr

from rosetta.mining.buddies import Neighbours, merge_neighbours
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.pairs import PairStore, Panel

_CANDIDATES = "candidates"
_SIDES = (("ab", "unit_a"), ("ba", "unit_b"))


@dataclass(frozen=True)
class NeighbourStore(PairStore):
    """`neighbours_ab` and `pearson_ab` (unit_a, neighbour), `neighbours_ba` and `pearson_ba` (unit_b, neighbour)."""

    keep = "neighbours"

    @staticmethod
    def _lay_out(group: zarr.Group, units_a: int, units_b: int, k: int) -> None:
        candidates = group.create_group(_CANDIDATES)
        for (side, dimension), units, others in zip(_SIDES, (units_a, units_b), (units_b, units_a), strict=True):
            label = dimension.replace("unit", "layer") + " " + dimension.replace("unit", "channel")
            for name, dtype, fill in (("neighbours", "int32", -1), ("pearson", "float32", float("nan"))):
                nearest: layout.Axes = {dimension: (units, min(PANEL, units)), "neighbour": k}
                layout.create_array(group, f"{name}_{side}", dtype, nearest, fill=fill, coordinates=label)
                panels: layout.Axes = {"panel": (block_count(others, PANEL), 1), **nearest}
                layout.create_array(candidates, f"{name}_{side}", dtype, panels, fill=fill)

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
            for side, _ in _SIDES
        )
        # A model with itself has one list of neighbours; the two halves of its matrix may differ in the last bit.
        return of_a, of_a if self.same else of_b

    def write(self, panel: Panel, of_a: Neighbours, of_b: Neighbours) -> None:
        """Write the candidates that one panel holds of either side, then its marker."""
        for (side, _), found, own, other, units in zip(
            _SIDES, (of_a, of_b), panel, reversed(panel), self.units, strict=True
        ):
            span = block_slice(own, PANEL, units)
            self._array(_CANDIDATES, f"neighbours_{side}")[other, span] = found.unit
            self._array(_CANDIDATES, f"pearson_{side}")[other, span] = found.pearson
        self.mark(panel)

    def finish(self) -> None:
        """Keep the nearest of all candidates, and mark the store as finished."""
        if _CANDIDATES in self.group:  # removed already if an earlier run was cut off after this
            for (side, _), units in zip(_SIDES, self.units, strict=True):
                for span, found in self._nearest(side, units):
                    self._array(f"neighbours_{side}")[span] = found.unit
                    self._array(f"pearson_{side}")[span] = found.pearson
            del self.group[_CANDIDATES]
        super().finish()

    def _nearest(self, side: str, units: int) -> Iterator[tuple[slice, Neighbours]]:
        for span in ranges(units, PANEL):
            unit = np.asarray(self._array(_CANDIDATES, f"neighbours_{side}")[:, span])
            pearson = np.asarray(self._array(_CANDIDATES, f"pearson_{side}")[:, span])
            yield span, merge_neighbours([Neighbours(*part) for part in zip(unit, pearson, strict=True)], self.k)
