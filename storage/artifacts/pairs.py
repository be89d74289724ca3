"""`correlations/<a>~<b>.zarr`: what all stores of a pair of models have in common."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.factors import PANEL
from rosetta.units import Units
from storage.artifacts import layout as zarrs
from storage.artifacts.blocks import block_count
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root

Panel = tuple[int, int]
"""Row and column of a panel: units of A and of B, :data:`PANEL` a side."""


@dataclass(frozen=True)
class PairStore:
    """A pair of models, written panel by panel; `written` (panel_a, panel_b) says which are in."""

    keep: ClassVar[str]
    """What the recipe calls it."""
    group: zarr.Group

    @classmethod
    def create(cls, root: Root, a: str, b: str, wanted: Fingerprint, units_a: Units, units_b: Units, k: int) -> Self:
        """Lay the store out.

        Parameters
        ----------
        k
            Neighbours of each unit, where only these are kept.
        """
        group = zarrs.create_store(root, CORRELATIONS.path(a, b))
        for side, units in (("a", units_a), ("b", units_b)):
            zarrs.create_labels(group, f"layer_{side}", units.layer_names(), f"unit_{side}")
            zarrs.create_labels(group, f"channel_{side}", units.channels(), f"unit_{side}")
        panels = block_count(len(units_a), PANEL), block_count(len(units_b), PANEL)
        zarrs.create_array(
            group,
            "written",
            shape=panels,
            chunks=(1, 1),
            dtype="bool",
            dimensions=("panel_a", "panel_b"),
            fill=False,
        )
        cls._lay_out(group, len(units_a), len(units_b), k)
        attributes = {"model_a": a, "model_b": b, "keep": cls.keep, "units_a": len(units_a), "units_b": len(units_b)}
        zarrs.seal_layout(group, wanted, attributes)
        return cls(group)

    @staticmethod
    def _lay_out(group: zarr.Group, units_a: int, units_b: int, k: int) -> None:
        """Lay out the arrays of one kind of store."""
        raise TypeError("a pair's store is a matrix or neighbours")

    @classmethod
    def open(cls, root: Root, a: str, b: str, fingerprint: Fingerprint) -> Self | None:
        """The store to go on with, or None.

        Raises
        ------
        UserError
            It was made from something else.
        """
        group = zarrs.open_existing(root, CORRELATIONS.path(a, b))
        if group is None:
            return None
        fingerprint.require_match(CORRELATIONS.path(a, b), group.attrs)
        return cls(group)

    @property
    def complete(self) -> bool:
        """Whether everything is in."""
        return bool(self.group.attrs.get("complete"))

    @property
    def same(self) -> bool:
        """Whether both sides are the same model."""
        return self.group.attrs["model_a"] == self.group.attrs["model_b"]

    @property
    def units(self) -> tuple[int, int]:
        """How many units each side has."""
        return int(str(self.group.attrs["units_a"])), int(str(self.group.attrs["units_b"]))

    def missing(self) -> npt.NDArray[np.bool_]:
        """(panel_a, panel_b) which panels are not in yet."""
        return ~zarrs.markers(self.group)

    def _mark(self, panel: Panel) -> None:
        self._array("written")[panel] = True

    def finish(self) -> None:
        """Say that everything is in."""
        zarrs.complete(self.group)

    def _array(self, *names: str) -> zarr.Array:
        return zarrs.array_of(self.group, *names)


def panel_slice(panel: int, units: int) -> slice:
    """The units of a panel."""
    return slice(panel * PANEL, min((panel + 1) * PANEL, units))
