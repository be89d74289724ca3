"""`correlations/<a>~<b>.zarr`: the common part of all stores of a pair of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import zarr

from rosetta.mining.factors import PANEL
from rosetta.units import Units
from storage.artifacts import layout
from storage.artifacts.blocks import block_count
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

Panel = tuple[int, int]
"""Row and column of a panel: units of A and of B, :data:`PANEL` a side."""


def label_sides(group: zarr.Group, sides: Mapping[str, tuple[str, Units]]) -> None:
    """Label the units of both sides of a pair: `unit_a`, `layer_a`, `channel_a`, and the same of b.

    Parameters
    ----------
    sides
        By `a` and `b`: the model's name, and its units.
    """
    for side, (model, units) in sides.items():
        dimension = f"unit_{side}"
        layout.create_index(group, dimension, len(units), f"unit of {model}", description="index in its model")
        layout.create_labels(
            group, f"layer_{side}", units.layer_names(), dimension, f"layer of {model}", description="module path"
        )
        layout.create_labels(
            group,
            f"channel_{side}",
            units.channels(),
            dimension,
            f"channel of {model}",
            description="index in its layer",
        )


@dataclass(frozen=True)
class PairStore(ArtifactStore):
    """A pair of models, written panel by panel; `written` (panel_a, panel_b) says which are complete."""

    artifact = CORRELATIONS
    keep: ClassVar[str]
    """Its name in the recipe."""

    @classmethod
    def create(
        cls,
        root: Root,
        a: str,
        b: str,
        fingerprint: Fingerprint,
        units_a: Units,
        units_b: Units,
        k: int,
        halves: bool = False,
    ) -> Self:
        """Lay the store out.

        Parameters
        ----------
        k
            Neighbours of each unit, where only these are kept.
        halves
            Whether the first half of the images is kept beside all of them, where the matrix is.
        """
        group = layout.create_store(root, CORRELATIONS.path(a, b))
        label_sides(group, {"a": (a, units_a), "b": (b, units_b)})
        layout.create_written(group, panel_a=block_count(len(units_a), PANEL), panel_b=block_count(len(units_b), PANEL))
        cls._lay_out(group, (a, b), (len(units_a), len(units_b)), k, halves)
        attributes = {"model_a": a, "model_b": b, "keep": cls.keep, "units_a": len(units_a), "units_b": len(units_b)}
        layout.seal_layout(group, fingerprint, attributes)
        return cls(group)

    @staticmethod
    def _lay_out(group: zarr.Group, models: tuple[str, str], units: tuple[int, int], k: int, halves: bool) -> None:
        """Lay out the arrays of one kind of store, given the names of both sides and their units."""
        raise TypeError("a pair's store is a matrix or neighbours")

    @property
    def same(self) -> bool:
        """Whether both sides are the same model."""
        return bool(self.attributes["model_a"] == self.attributes["model_b"])

    @property
    def units(self) -> tuple[int, int]:
        """How many units each side has."""
        return int(self.attributes["units_a"]), int(self.attributes["units_b"])
