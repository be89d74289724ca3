"""A pair's store with the correlation of every unit of one model with every unit of another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from storage.artifacts import layout
from storage.artifacts.blocks import block_slice
from storage.artifacts.pairs import PairStore, Panel


@dataclass(frozen=True)
class CorrelationStore(PairStore):
    """`pearson` (unit_a, unit_b), one panel a chunk."""

    keep = "matrix"

    @staticmethod
    def _lay_out(group: zarr.Group, models: tuple[str, str], units: tuple[int, int], k: int) -> None:
        sides = zip(("unit_a", "unit_b"), units, strict=True)
        layout.create_array(
            group,
            "pearson",
            "float32",
            {side: (count, min(PANEL, count)) for side, count in sides},
            "Pearson correlation",
            description="over all images and positions of the units' common grid; NaN where one is constant",
            fill=float("nan"),
            coordinates="layer_a channel_a layer_b channel_b",
        )

    def pearson(self) -> npt.NDArray[np.float32]:
        """(unit_a, unit_b) float32, all of it."""
        return np.asarray(self._array("pearson")[:])

    def part(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """(row, column) float32 of some units of either model."""
        return np.asarray(self._array("pearson")[rows, columns])

    def bands(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Whole rows, a panel high: which units of A, and their (unit_a, unit_b) correlations."""
        for span in ranges(self.units[0], PANEL):
            yield span, np.asarray(self._array("pearson")[span])

    def write(self, panel: Panel, pearson: npt.NDArray[np.float32]) -> None:
        """Write one panel, then its marker."""
        rows, columns = (block_slice(own, PANEL, units) for own, units in zip(panel, self.units, strict=True))
        self._array("pearson")[rows, columns] = pearson
        self.mark(panel)
