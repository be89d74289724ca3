"""`activations/<model>.zarr`: the activation maps of one model, labelled, in blocks of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.units import WHOLE, Layer, Units
from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ModelStore, layer_rows
from storage.filesystem.root import Root

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerBlock:
    """One layer over one block of images, as it is stored."""

    activation: npt.NDArray[Any]
    """(image, channel, y, x) in the layer's stored dtype."""
    peak: npt.NDArray[np.float32]
    """(image, channel) each map's maximum."""
    mean: Float64
    """(channel,) over the block's images and positions."""
    square: Float64
    """(channel,) sum of squared deviations from that mean."""


@dataclass(frozen=True)
class ActivationStore(ModelStore):
    """The activation maps of one model.

    Each layer has `activation`, `peak`, `mean` and `std`. The root keeps `moments`, the mean and the sum of squared
    deviations of every unit in every block, so that a run that was cut short ends with the same statistics to the last
    bit. `frames` gives by layer the part of the image that its module's own grid covers, where that is more than the
    image, in fractions (y0, x0, y1, x1). Maps are cropped to the image.
    """

    artifact = ACTIVATIONS

    @classmethod
    def create(
        cls,
        root: Root,
        model: str,
        fingerprint: Fingerprint,
        *,
        units: Units,
        images: int,
        block: int,
        dtypes: Mapping[str, str],
        attributes: Mapping[str, Any],
    ) -> "ActivationStore":
        """Lay the store out.

        Parameters
        ----------
        block
            Images in a chunk, the same in every layer.
        dtypes
            By layer name: how its activations are stored.
        attributes
            Attributes of the root that describe the model.
        """
        group = layout.create_store(root, ACTIVATIONS.path(model))
        blocks = block_count(images, block)
        layout.create_written(group, block=blocks)
        layout.create_array(group, "moments", "float64", {"block": (blocks, 1), "moment": 2, "unit": len(units)})
        for layer, span in units.spans():
            _create_layer(group.create_group(layer.name), layer, span, images, block, dtypes[layer.name])
        frames = {layer.name: list(layer.frame) for layer in units.layers if layer.frame != WHOLE}
        laid_out = {"layers": layer_rows(units), "frames": frames, "block": block, "images": images}
        layout.seal_layout(group, fingerprint, {**attributes, **laid_out})
        return cls(group)

    def dtypes(self) -> dict[str, str]:
        """By layer name: how its activations are stored."""
        return {layer.name: str(self._array(layer.name, "activation").dtype) for layer in self.units.layers}

    @property
    def image_digest(self) -> str:
        """The fingerprint of the images that the maps come from."""
        depends: Any = self.group.attrs["depends"]
        return str(depends.get("images", ""))

    def maps(self, layer: str, images: slice, channels: slice = slice(None)) -> npt.NDArray[Any]:
        """(image, channel, y, x) of one layer as stored."""
        return np.asarray(self._array(layer, "activation")[images, channels])

    def peaks(self, layer: str) -> npt.NDArray[np.float32]:
        """(image, channel) each map's maximum."""
        return self.of_layer(layer, "peak")

    def mean(self) -> Float64:
        """(unit,) over all images and positions of the native grid."""
        return self.of_units("mean")

    def std(self) -> Float64:
        """(unit,) population standard deviation; 0 for units that hold one single value."""
        return self.of_units("std")

    def maximum(self) -> npt.NDArray[np.float32]:
        """(unit,) the highest value over all images and positions."""
        return np.concatenate([self.peaks(layer.name).max(axis=0) for layer in self.units.layers])

    def write(self, block: int, layers: Mapping[str, LayerBlock]) -> None:
        """Write one block of every layer, then its marker."""
        images = block_slice(block, self.block, self.images)
        for name, part in layers.items():
            self._array(name, "activation")[images] = part.activation
            self._array(name, "peak")[images] = part.peak
        parts = [layers[layer.name] for layer in self.units.layers]
        moments = [np.concatenate([part.mean for part in parts]), np.concatenate([part.square for part in parts])]
        self._array("moments")[block] = np.stack(moments)
        self._array("written")[block] = True

    def finish(self) -> None:
        """Combine the moments of the blocks, in their order, and mark the store as finished."""
        sizes = [block_slice(block, self.block, self.images) for block in range(len(self.written()))]
        counts = np.array([images.stop - images.start for images in sizes])
        moments = np.asarray(self._array("moments")[:])
        for layer, span in self.units.spans():
            means, squares = moments[:, 0, span], moments[:, 1, span]
            mean, variance = combine_moments(counts, means, squares, layer.grid[0] * layer.grid[1])
            self._array(layer.name, "mean")[:] = mean
            self._array(layer.name, "std")[:] = np.sqrt(variance)
        super().finish()


def combine_moments(
    counts: npt.NDArray[Any], means: Float64, squares: Float64, positions: int
) -> tuple[Float64, Float64]:
    """Mean and population variance of a whole from those of its blocks (Chan, Golub, LeVeque 1979).

    Parameters
    ----------
    counts
        (block,) images of each.
    means, squares
        (block, channel) mean and sum of squared deviations of each.
    positions
        Positions of a map.

    Returns
    -------
    mean, variance
        (channel,) each. A channel that holds one single value has variance 0 exactly.
    """
    total, mean, square = 0, np.zeros(means.shape[1]), np.zeros(means.shape[1])
    for images, block_mean, block_square in zip(counts * positions, means, squares, strict=True):
        delta = block_mean - mean
        total += int(images)
        mean = mean + delta * (images / total)
        square = square + block_square + delta**2 * (images * (total - images) / total)
    return mean, square / total


def _create_layer(group: zarr.Group, layer: Layer, span: slice, images: int, block: int, dtype: str) -> None:
    blocks: layout.Axes = {"image": (images, block), "channel": layer.channels}
    maps: layout.Axes = {**blocks, "y": layer.grid[0], "x": layer.grid[1]}
    layout.create_array(group, "activation", dtype, maps, coordinates="unit")
    layout.create_array(group, "peak", "float32", blocks, coordinates="unit")
    for name in ("mean", "std"):
        layout.create_array(group, name, "float64", {"channel": layer.channels}, fill=float("nan"), coordinates="unit")
    layout.create_labels(group, "unit", np.arange(span.start, span.stop, dtype=np.int32), "channel")
