"""`profiles/<model>.zarr`: per-unit statistics of a model behind the trust tests, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.trust.pixels import FeatureMoments
from rosetta.mining.trust.profile import LayerProfile
from rosetta.units import Grid, Units
from storage.artifacts import layout
from storage.artifacts.attributes import encode
from storage.artifacts.catalogue import PROFILES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ModelStore, layer_rows
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
    "dead": ("channel", "half"),
}
"""Arrays of a layer's group; whole layers a chunk, as one task writes a layer."""


@dataclass(frozen=True)
class ProfileStore(ModelStore):
    """The profile of one model; `written` (layer) says which layers are complete."""

    artifact = PROFILES
    rebuilt = True

    @classmethod
    def create(
        cls,
        root: Root,
        model: str,
        fingerprint: Fingerprint,
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
        group = layout.create_store(root, PROFILES.path(model))
        layout.create_written(group, layer=len(units.layers))
        means = np.array([one.mean for one in features.values()])
        covariances = np.array([one.covariance for one in features.values()])
        layout.create_values(group, "feature_mean", means, ("common", "feature"))
        layout.create_values(group, "feature_covariance", covariances, ("common", "feature", "feature_too"))
        commons = [list(grid) for grid in features]
        attributes = {"model": model, "layers": layer_rows(units), "images": images, "commons": commons}
        layout.seal_layout(group, fingerprint, attributes)
        return cls(group)

    @classmethod
    def read_begun(cls, root: Root, model: str) -> "ProfileStore":
        """A store that is laid out, to write a layer."""
        group = layout.open_existing(root, PROFILES.path(model))
        assert group is not None, "the store is laid out before any task starts"
        return cls(group)

    def write(self, layer: int, profile: LayerProfile, commons: Sequence[Grid], dead: npt.NDArray[np.bool_]) -> None:
        """Write one layer, then its marker.

        Parameters
        ----------
        commons
            The common grids that the profile is about.
        dead
            (channel, half) whether a unit holds one single value in a half of the images.
        """
        group = self.group.require_group(self.units.layers[layer].name)
        group.update_attributes(encode({"commons": [list(common) for common in commons]}))
        arrays = {field.name: getattr(profile, field.name) for field in fields(profile)} | {"dead": dead}
        for name, values in arrays.items():
            if name in group:  # left by a run that was cut off
                del group[name]
            layout.create_values(group, name, values, _DIMENSIONS[name])
        self.mark(layer)

    def commons(self, layer: str) -> tuple[Grid, ...]:
        """The common grids of a layer's units with their partners."""
        group = self.group[layer]
        assert isinstance(group, zarr.Group)
        rows = layout.attributes_of(group)["commons"]
        return tuple((int(height), int(width)) for height, width in rows)

    def features_on(self, common: Grid) -> FeatureMoments:
        """Mean and covariance of the pixel features on a common grid."""
        index = [tuple(row) for row in self.attributes["commons"]].index(common)
        return FeatureMoments(
            np.asarray(self._array("feature_mean")[index]),
            np.asarray(self._array("feature_covariance")[index]),
        )
