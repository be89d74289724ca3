"""`profiles/<model>.zarr`: per-unit statistics of a model behind the trust tests, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.common import concurrent_map
from zarr.core.sync import sync

from rosetta.mining.halves import run_halves
from rosetta.mining.trust.pixels import FeatureMoments
from rosetta.mining.trust.profile import SHAPE_SIDE, LayerProfile, shape_images
from rosetta.mining.trust.thumbs import SIDE
from rosetta.units import Grid, Units
from storage.artifacts import layout
from storage.artifacts.attributes import encode
from storage.artifacts.catalogue import PROFILES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import UNIT_LABELS, ModelStore, create_unit_labels, layer_rows
from storage.filesystem.root import Root

_FEATURES = "pixel_features"
"""The group of what is known of the pixel features themselves."""
_ROUNDED = ("covariance", "shape")
"""Arrays whose values are those of float16."""


class _About(NamedTuple):
    dimensions: tuple[str, ...]
    long_name: str
    description: str = ""


_ARRAYS = {
    "kurtosis": _About(("channel",), "kurtosis", "of all values; 3 for a normal distribution"),
    "half_share": _About(("channel",), "share of images", "the smallest that carries half of the positive activation"),
    "mean_map": _About(("channel", "y", "x"), "mean map", "of the standardised unit, over all images"),
    "covariance": _About(
        ("channel", "entry"),
        "covariance of positions",
        f"over images, of the standardised map on at most {SIDE} × {SIDE} positions; upper triangle, row by row",
    ),
    "shape": _About(
        ("channel", "shape_image", "position"),
        "small map",
        f"standardised, on at most {SHAPE_SIDE} × {SHAPE_SIDE} positions, row by row",
    ),
    "mean_on": _About(("channel", "common"), "mean on a common grid", "of the standardised map"),
    "std_on": _About(("channel", "common"), "standard deviation on a common grid", "of the standardised map"),
    "halves_on": _About(("channel", "common", "half_moment"), "moment of a half", "of the standardised map"),
    "pixels": _About(("channel", "common", "feature"), "correlation with a pixel feature"),
    "dead": _About(("channel", "half"), "whether the unit never varies", "in a half of the images"),
    "mean": _About(("channel",), "mean", "over all images and positions"),
    "std": _About(("channel",), "standard deviation", "of the population: over all images and positions"),
    "maximum": _About(("channel",), "maximum", "over all images and positions"),
}
"""Arrays of a layer's group; whole layers a chunk, as one task writes a layer. The last three are there where the maps
of only some images are stored, whose store knows only these."""
_HALF_MOMENTS = [f"{moment} of half {half}" for half in (1, 2) for moment in ("mean", "mean square")]


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
        names: Sequence[str],
        features: Mapping[Grid, FeatureMoments],
        half_images: Sequence[int] | None = None,
    ) -> "ProfileStore":
        """Lay the store out.

        Parameters
        ----------
        names
            Of the pixel features.
        features
            Their moments on every common grid of the model's units with their partners.
        half_images
            Images in either half; left out where halves are runs of neighbours, as in earlier versions.
        """
        group = layout.create_store(root, PROFILES.path(model))
        layout.create_written(group, layer=len(units.layers))
        # In a group of their own: what lies in the root is inherited by the layers, whose common grids are fewer.
        of_features = group.create_group(_FEATURES)
        layout.create_labels(of_features, "feature", names, "feature", "name of the pixel feature")
        layout.create_labels(of_features, "feature_too", names, "feature_too", "name of the pixel feature")
        _create_commons(of_features, tuple(features))
        shape = (len(features), len(names))
        means = np.array([one.mean for one in features.values()]).reshape(shape)
        covariances = np.array([one.covariance for one in features.values()]).reshape(*shape, len(names))
        dimensions, about = ("common", "feature", "feature_too"), {"coordinates": _GRID}
        layout.create_values(of_features, "mean", means, dimensions[:2], "mean of the pixel feature", **about)
        layout.create_values(of_features, "covariance", covariances, dimensions, "covariance of the features", **about)
        commons = [list(grid) for grid in features]
        attributes = {"model": model, "layers": layer_rows(units), "images": images, "commons": commons}
        if half_images is not None:
            attributes["half_images"] = [int(count) for count in half_images]
        layout.seal_layout(group, fingerprint, attributes)
        return cls(group)

    @classmethod
    def read_begun(cls, root: Root, model: str) -> "ProfileStore":
        """A store that is laid out, to write a layer."""
        group = layout.open_existing(root, PROFILES.path(model))
        assert group is not None, "the store is laid out before any task starts"
        return cls(group)

    def write(
        self,
        layer: int,
        profile: LayerProfile,
        commons: Sequence[Grid],
        dead: npt.NDArray[np.bool_],
        statistics: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Write one layer, then its marker.

        Parameters
        ----------
        commons
            The common grids that the profile is about.
        dead
            (channel, half) whether a unit holds one single value in a half of the images.
        statistics
            (channel,) `mean`, `std` and `maximum` over all images, where the store of activations has not all of them.
        """
        about, span = self.units.layers[layer], list(self.units.spans())[layer][1]
        attributes = {"layer": about.name, "order": f"{layer:04d}", "commons": [list(common) for common in commons]}
        # Put together in memory: its many small files are written at once then.
        group = zarr.create_group(zarr.storage.MemoryStore(), attributes=encode(attributes))
        create_unit_labels(group, about, span)
        _create_commons(group, commons)
        layout.create_labels(group, "feature", self._feature_names, "feature", "name of the pixel feature")
        layout.create_labels(group, "half_moment", _HALF_MOMENTS, "half_moment", "moment of a half of the images")
        layout.create_index(group, "half", 2, "half of the images", first=1)
        chosen = shape_images(self.images).astype(np.int32)
        layout.create_labels(group, "shape_image", chosen, "shape_image", "index of the image")
        arrays = {field.name: getattr(profile, field.name) for field in fields(profile)} | {
            "dead": dead,
            **(statistics or {}),
        }
        for name, values in arrays.items():
            dimensions, long_name, description = _ARRAYS[name]
            options: dict[str, Any] = {"description": description}
            options["coordinates"] = f"{UNIT_LABELS} {_GRID}" if "common" in dimensions else UNIT_LABELS
            if name in _ROUNDED:
                values, options = values.astype(np.float32), {**options, **layout.ROUNDED}
            layout.create_values(group, name, values, dimensions, long_name, **options)
        if about.name in self.group:  # a run that was cut off may have left some of it
            del self.group[about.name]
        sync(_copy(group.store, self.group.store, about.name))
        self.mark(layer)

    def of_layer(self, layer: str, name: str) -> npt.NDArray[Any]:
        """One array of a layer, whole; in float16 where its values are rounded to those."""
        values = super().of_layer(layer, name)
        return values.astype(np.float16, copy=False) if name in _ROUNDED else values

    def commons(self, layer: str) -> tuple[Grid, ...]:
        """The common grids of a layer's units with their partners."""
        group = self.group[layer]
        assert isinstance(group, zarr.Group)
        rows = layout.attributes_of(group)["commons"]
        return tuple((int(height), int(width)) for height, width in rows)

    @property
    def has_statistics(self) -> bool:
        """Whether it knows `mean`, `std` and `maximum` over all images, as the store of activations does not."""
        return f"{self.units.layers[0].name}/std" in self.group

    @property
    def first_half_share(self) -> float:
        """The share of the images that belongs to the first half."""
        first, second = self.attributes.get("half_images") or _half_images(self.images)
        return float(first / (first + second))

    def features_on(self, common: Grid) -> FeatureMoments:
        """Mean and covariance of the pixel features on a common grid."""
        return self._moments[common]

    @cached_property
    def _moments(self) -> dict[Grid, FeatureMoments]:
        # Stores of format 2 keep them in their root.
        mean, covariance = (
            np.asarray((self._array(_FEATURES, name) if _FEATURES in self.group else self._array(f"feature_{name}"))[:])
            for name in ("mean", "covariance")
        )
        commons = [(int(height), int(width)) for height, width in self.attributes["commons"]]
        return {common: FeatureMoments(*both) for common, *both in zip(commons, mean, covariance, strict=True)}

    @cached_property
    def _feature_names(self) -> npt.NDArray[Any]:
        return np.asarray(self._array(_FEATURES, "feature")[:])


def _half_images(images: int) -> tuple[int, int]:
    first = int(run_halves(images).sum())
    return first, images - first


async def _copy(source: Store, target: Store, path: str) -> None:
    """Copy all files of one store into a folder of another, as many at once as Zarr may have under way."""
    prototype = default_buffer_prototype()

    async def copy(key: str) -> None:
        content = await source.get(key, prototype)
        assert content is not None
        await target.set(f"{path}/{key}", content)

    keys = sorted([(key,) async for key in source.list()])
    await concurrent_map(keys, copy, zarr.config.get("async.concurrency"))


_GRID = "common_y common_x"
"""Labels of a common grid."""


def _create_commons(group: zarr.Group, commons: Sequence[Grid]) -> None:
    """Label the dimension of the grids on which units meet those of other models."""
    labels = np.array([f"{height} × {width}" for height, width in commons], dtype=object)
    layout.create_labels(group, "common", labels, "common", "common grid", description="positions along y × along x")
    sides = np.array(commons, np.int32).reshape(-1, 2).T
    for name, axis, side in zip(_GRID.split(), "yx", sides, strict=True):
        layout.create_labels(group, name, side, "common", f"positions of the common grid along {axis}")
