"""`strengths/<a>~<b>.zarr`: how alike units of two generators are, through each model that saw both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from rosetta.units import Units
from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import STRENGTHS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.nearest import Band
from storage.artifacts.pairs import Panel, label_sides
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StrengthStore(ArtifactStore):
    """`strength` (pivot, unit_a, unit_b), one panel of one pivot a chunk; `control` (pivot) says which are controls.

    The strength of a join is the mean over the pivots that are no controls. It is NaN where it is NaN through any of
    them: where a unit correlates with no unit of a pivot, or where no correlation of both units with the same one was
    kept.
    """

    artifact = STRENGTHS

    @classmethod
    def create(
        cls,
        root: Root,
        sides: Sequence[tuple[str, Units]],
        pivots: Sequence[str],
        controls: Sequence[bool],
        fingerprint: Fingerprint,
    ) -> Self:
        """Lay the store out.

        Parameters
        ----------
        sides
            Name and units of both generators.
        pivots, controls
            Name of each pivot, and whether it is a control.
        """
        (a, units_a), (b, units_b) = sides
        group = layout.create_store(root, STRENGTHS.path(a, b))
        label_sides(group, dict(zip("ab", sides, strict=True)))
        layout.create_labels(group, "pivot", list(pivots), "pivot", "discriminative model", description="its name")
        layout.create_labels(group, "control", np.asarray(controls), "pivot", "whether the pivot is a control")
        panels = {f"panel_{side}": block_count(len(units), PANEL) for side, (_, units) in zip("ab", sides, strict=True)}
        layout.create_written(group, pivot=len(pivots), **panels)
        axes: layout.Axes = {
            "pivot": (len(pivots), 1),
            "unit_a": (len(units_a), min(PANEL, len(units_a))),
            "unit_b": (len(units_b), min(PANEL, len(units_b))),
        }
        layout.create_array(
            group, "strength", "float32", axes, "strength through the pivot",
            description="the highest, over its units, of the lower of both correlations",
            fill=float("nan"), coordinates="layer_a channel_a layer_b channel_b control",
        )  # fmt: skip
        attributes = {"model_a": a, "model_b": b, "units_a": len(units_a), "units_b": len(units_b)}
        layout.seal_layout(group, fingerprint, attributes)
        return cls(group)

    @property
    def units(self) -> tuple[int, int]:
        """How many units each side has."""
        return int(self.attributes["units_a"]), int(self.attributes["units_b"])

    def write(self, pivot: int, panel: Panel, strength: Float32) -> None:
        """Write one panel of one pivot, (unit_a, unit_b), then its marker."""
        rows, columns = (block_slice(own, PANEL, units) for own, units in zip(panel, self.units, strict=True))
        self._array("strength")[pivot, rows, columns] = strength
        self.mark((pivot, *panel))

    def of_pairs(self, pivot: int, unit_a: npt.NDArray[np.integer], unit_b: npt.NDArray[np.integer]) -> Float32:
        """(pair,) the strengths of some pairs through one pivot."""
        found = np.full(len(unit_a), np.nan, np.float32)
        for rows, values in self.bands([pivot]):
            inside = np.flatnonzero((unit_a >= rows.start) & (unit_a < rows.stop))
            found[inside] = values[unit_a[inside] - rows.start, unit_b[inside]]
        return found

    def bands(self, pivots: Sequence[int]) -> Iterator[Band]:
        """Whole rows, a panel high: which units of A, and their (unit_a, unit_b) mean strengths over some pivots."""
        array = self._array("strength")
        for span in ranges(self.units[0], PANEL):
            yield span, mean_strength([np.asarray(array[pivot, span]) for pivot in pivots])


def mean_strength(through: Sequence[Float32]) -> Float32:
    """(row, column) the mean over pivots, summed in float64; NaN where any of them is."""
    if len(through) == 1:
        return through[0]
    total = np.zeros(through[0].shape)
    for one in through:
        total += one
    return (total / len(through)).astype(np.float32)
