"""The common part of all Zarr stores: open, resume, read, finish."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.units import WHOLE, Layer, Units
from storage.artifacts import layout
from storage.artifacts.artifact import Artifact
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root


@dataclass(frozen=True)
class ArtifactStore:
    """A store of the catalogue that is laid out; its `written` says which parts are complete."""

    artifact: ClassVar[Artifact]
    rebuilt: ClassVar[bool] = False
    """Whether a store that was made from something else is rebuilt without asking."""
    group: zarr.Group

    @classmethod
    def path(cls, *names: str) -> str:
        """Where the store lies under the root, given the model or models that it is of."""
        return cls.artifact.path(*names)

    @classmethod
    def open(cls, root: Root, fingerprint: Fingerprint, *names: str) -> Self | None:
        """The store to resume; None where there is none, or one to rebuild.

        Parameters
        ----------
        names
            The model or models that it is of.

        Raises
        ------
        UserError
            It was made from something else.
        """
        path = cls.path(*names)
        group = layout.open_existing(root, path)
        if group is None or (cls.rebuilt and group.attrs["fingerprint"] != fingerprint.digest):
            return None
        fingerprint.require_match(path, layout.attributes_of(group))
        return cls(group)

    @classmethod
    def read(cls, root: Root, *names: str) -> Self:
        """A finished store.

        Raises
        ------
        FileNotFoundError
            There is none, or it is not finished.
        """
        return cls(layout.open_complete(root, cls.path(*names)))

    @property
    def complete(self) -> bool:
        """Whether the store is finished."""
        return bool(self.group.attrs.get("complete"))

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What its root says of it, as it was when this was first asked for."""
        return layout.attributes_of(self.group)

    @property
    def digest(self) -> str:
        """The store's fingerprint."""
        return str(self.group.attrs["fingerprint"])

    def written(self) -> npt.NDArray[np.bool_]:
        """(block,), (layer,) or (panel_a, panel_b): which parts are complete."""
        return layout.markers(self.group)

    def mark(self, entry: int | tuple[int, ...]) -> None:
        """Mark a part as complete."""
        self._markers[entry] = True

    @cached_property
    def _markers(self) -> zarr.Array:
        return layout.written_of(self.group)

    def finish(self) -> None:
        """Mark the store as finished."""
        layout.complete(self.group)

    @property
    def block(self) -> int:
        """Images in a chunk, of a store that is cut into blocks of images."""
        return int(self.attributes["block"])

    def _array(self, *names: str) -> zarr.Array:
        return layout.array_of(self.group, *names)


def layer_rows(units: Units) -> list[list[Any]]:
    """The layers of a model as its stores state them: name, channels, grid."""
    return [[layer.name, layer.channels, *layer.grid] for layer in units.layers]


UNIT_LABELS = "layer unit"
"""What :func:`create_unit_labels` creates beside indexes, for `coordinates` of an array over channels."""


def create_unit_labels(group: zarr.Group, layer: Layer, span: slice) -> None:
    """Label a layer's group: `channel`, `unit`, `layer`, and `y` and `x` of its grid.

    Parameters
    ----------
    span
        The layer's units in its model.
    """
    layout.create_index(group, "channel", layer.channels, "index of the unit in its layer")
    units = np.arange(span.start, span.stop, dtype=np.int32)
    layout.create_labels(group, "unit", units, "channel", "index of the unit in its model")
    layout.create_array(group, "layer", str, {}, "layer", description="module path", fill="")[...] = layer.name
    layout.create_centres(group, layer.grid)


@dataclass(frozen=True)
class ModelStore(ArtifactStore):
    """A store of one model, with a group for each of its layers."""

    @property
    def images(self) -> int:
        """Images of the run."""
        return int(self.attributes["images"])

    @property
    def units(self) -> Units:
        """The model's units."""
        # Stores from before maps were cropped to the image state no frames.
        rows, frames = self.attributes["layers"], self.attributes.get("frames", {})
        return Units(
            tuple(
                Layer(name, channels, (height, width), tuple(frames.get(name, WHOLE)))
                for name, channels, height, width in rows
            )
        )

    def of_layer(self, layer: str, name: str) -> npt.NDArray[Any]:
        """One array of a layer, whole."""
        return np.asarray(self._array(layer, name)[...])

    def of_units(self, name: str) -> npt.NDArray[Any]:
        """(unit, …) an array that has one row a unit in every layer, and the same further shape."""
        return np.concatenate([self.of_layer(layer.name, name) for layer in self.units.layers])
