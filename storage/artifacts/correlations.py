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

_HALF = "pearson_half_1"


@dataclass(frozen=True)
class CorrelationStore(PairStore):
    """`pearson` (unit_a, unit_b), one panel a chunk; `pearson_half_1` the same over the first half of the images.

    Judging asks whether what holds in one half of the images holds in the other (:mod:`rosetta.mining.halves`).
    Correlations of few images, of ranks, and those of earlier versions have no halves.
    """

    keep = "matrix"

    @staticmethod
    def _lay_out(group: zarr.Group, models: tuple[str, str], units: tuple[int, int], k: int, halves: bool) -> None:
        sides = zip(("unit_a", "unit_b"), units, strict=True)
        axes: layout.Axes = {side: (count, min(PANEL, count)) for side, count in sides}
        arrays = {"pearson": ("Pearson correlation", "all images")}
        if halves:
            arrays[_HALF] = ("Pearson correlation in the first half", "the images of the first half")
        for name, (long_name, images) in arrays.items():
            layout.create_array(
                group,
                name,
                "float32",
                axes,
                long_name,
                description=f"over {images} and all positions of the units' common grid; NaN where one is constant",
                fill=float("nan"),
                coordinates="layer_a channel_a layer_b channel_b",
            )

    @property
    def has_halves(self) -> bool:
        """Whether it has correlations over the first half of the images."""
        return _HALF in self.group

    def pearson(self) -> npt.NDArray[np.float32]:
        """(unit_a, unit_b) float32, all of it."""
        return np.asarray(self._array("pearson")[:])

    def part(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """(row, column) float32 of some units of either model."""
        return np.asarray(self._array("pearson")[rows, columns])

    def half_part(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """(row, column) float32 the same over the first half of the images, of a store that has it."""
        return np.asarray(self._array(_HALF)[rows, columns])

    def bands(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Whole rows, a panel high: which units of A, and their (unit_a, unit_b) correlations."""
        for span in ranges(self.units[0], PANEL):
            yield span, np.asarray(self._array("pearson")[span])

    def write(
        self, panel: Panel, pearson: npt.NDArray[np.float32], half: npt.NDArray[np.float32] | None = None
    ) -> None:
        """Write one panel, then its marker; `half` is over the first half of the images, where the store has it."""
        rows, columns = (block_slice(own, PANEL, units) for own, units in zip(panel, self.units, strict=True))
        self._array("pearson")[rows, columns] = pearson
        if half is not None:
            self._array(_HALF)[rows, columns] = half
        self.mark(panel)
