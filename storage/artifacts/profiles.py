"""`profiles/<model>.zarr`: what trust needs to know of a model's units, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.trust.pixels import FeatureMoments
from rosetta.mining.trust.profile import LayerProfile
from rosetta.units import Grid, Layer, Units
from storage.artifacts import layout as zarrs
from storage.artifacts.catalogue import PROFILES
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root

_DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "kurtosis": ("channel",),
    "half_share": ("channel",),
    "mean_map": ("channel", "y", "x"),
    "covariance": ("channel", "entry"),
    "shape": ("channel", "shape_image", "position"),
    "mean_on": ("channel", "common"),
    "std_on": ("channel", "common"),
    "halves_on": ("channel", "common", "half_moment"),
    "pixels": ("channel", "common", "feature"),
}
"""Arrays of a layer's group; whole layers a chunk, as one task writes a layer."""


@dataclass(frozen=True)
class ProfileStore:
    """The profile of one model; `written` (layer) says which layers are in."""

    group: zarr.Group

    @classmethod
    def create(
        cls,
        root: Root,
        model: str,
        wanted: Fingerprint,
        units: Units,
        images: int,
        features: Mapping[Grid, FeatureMoments],
    ) -> "ProfileStore":
        """Lay the store out.

        Parameters
        ----------
        features
            Moments of the pixel features on every common grid of the model's units with their partners.
        """
        group = zarrs.create_store(root, PROFILES.path(model))
        layers = len(units.layers)
        zarrs.create_array(
            group, "written", shape=(layers,), chunks=(1,), dtype="bool", dimensions=("layer",), fill=False
        )
        moments = list(features.values())
        for name, values, dimensions in (
            ("feature_mean", np.array([one.mean for one in moments]), ("common", "feature")),
            ("feature_covariance", np.array([one.covariance for one in moments]), ("common", "feature", "feature_too")),
        ):
            cls._write(group, name, values, dimensions)
        rows = [[layer.name, layer.channels, *layer.grid] for layer in units.layers]
        zarrs.seal_layout(
            group,
            wanted,
            {"model": model, "layers": rows, "images": images, "commons": [list(grid) for grid in features]},
        )
        return cls(group)

    @classmethod
    def open(cls, root: Root, model: str, wanted: Fingerprint) -> "ProfileStore | None":
        """The store to go on with; None where there is none, or one that was made from something else."""
        group = zarrs.open_existing(root, PROFILES.path(model))
        return cls(group) if group is not None and group.attrs["fingerprint"] == wanted.digest else None

    @classmethod
    def read(cls, root: Root, model: str) -> "ProfileStore":
        """A finished store.

        Raises
        ------
        FileNotFoundError
            There is none, or it is not finished.
        """
        return cls(zarrs.open_complete(root, PROFILES.path(model)))

    @classmethod
    def read_begun(cls, root: Root, model: str) -> "ProfileStore":
        """A store that is laid out, to write a layer of."""
        group = zarrs.open_existing(root, PROFILES.path(model))
        assert group is not None, "the store is laid out before any task starts"
        return cls(group)

    @property
    def complete(self) -> bool:
        """Whether everything is in."""
        return bool(self.group.attrs.get("complete"))

    @property
    def digest(self) -> str:
        """The store's fingerprint."""
        return str(self.group.attrs["fingerprint"])

    @property
    def images(self) -> int:
        """Images of the run."""
        return int(str(self.group.attrs["images"]))

    @property
    def units(self) -> Units:
        """The model's units."""
        rows: Any = self.group.attrs["layers"]
        return Units(tuple(Layer(name, channels, (height, width)) for name, channels, height, width in rows))

    def written(self) -> npt.NDArray[np.bool_]:
        """(layer,) which layers are in."""
        return zarrs.markers(self.group)

    def write(
        self,
        layer: int,
        profile: LayerProfile,
        commons: Sequence[Grid],
        dead: npt.NDArray[np.bool_],
    ) -> None:
        """Write one layer, then its marker.

        Parameters
        ----------
        commons
            The common grids that the profile is about.
        dead
            (channel, half) whether a unit holds one single value in a half of the images.
        """
        group = self.group.require_group(self.units.layers[layer].name)
        group.attrs["commons"] = [list(common) for common in commons]
        arrays = {field.name: getattr(profile, field.name) for field in fields(profile)}
        for name, values in arrays.items():
            self._write(group, name, values, _DIMENSIONS[name])
        self._write(group, "dead", dead, ("channel", "half"))
        zarrs.array_of(self.group, "written")[layer] = True

    @staticmethod
    def _write(group: zarr.Group, name: str, values: npt.NDArray[Any], dimensions: tuple[str, ...]) -> None:
        if name in group:  # of a run that was cut off
            del group[name]
        zarrs.create_array(
            group, name, shape=values.shape, chunks=values.shape, dtype=values.dtype, dimensions=dimensions
        )[...] = values

    def finish(self) -> None:
        """Say that everything is in."""
        zarrs.complete(self.group)

    def commons(self, layer: str) -> tuple[Grid, ...]:
        """The common grids of a layer's units with their partners."""
        rows: Any = self.group[layer].attrs["commons"]
        return tuple((int(height), int(width)) for height, width in rows)

    def features_on(self, common: Grid) -> FeatureMoments:
        """Mean and covariance of the pixel features on a common grid."""
        rows: Any = self.group.attrs["commons"]
        place = [tuple(row) for row in rows].index(common)
        return FeatureMoments(
            np.asarray(zarrs.array_of(self.group, "feature_mean")[place]),
            np.asarray(zarrs.array_of(self.group, "feature_covariance")[place]),
        )

    def of_layer(self, layer: str, name: str) -> npt.NDArray[Any]:
        """One array of a layer, whole."""
        return np.asarray(zarrs.array_of(self.group, layer, name)[...])

    def of_units(self, name: str) -> npt.NDArray[Any]:
        """(unit, …) an array that has one row a unit in every layer, and the same further shape."""
        return np.concatenate([self.of_layer(layer.name, name) for layer in self.units.layers])
