"""`activations/<model>.zarr`: the activation maps of one model, labelled, in blocks of images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.errors import UserError
from rosetta.mining.halves import Mask
from rosetta.units import WHOLE, Layer, Units
from storage.artifacts import layout
from storage.artifacts.artifact import BOOKKEEPING
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.halves import first_half
from storage.artifacts.image_labels import IMAGE_LABELS, create_image_labels
from storage.artifacts.shards import Entries, ShardReader, Shards, write_shard
from storage.artifacts.store import UNIT_LABELS, ModelStore, create_unit_labels, layer_rows
from storage.filesystem.root import Root

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_PEAK_BYTES = 2**22
"""Of a chunk of `peak`, which holds all images of some channels."""
_SLAB_BYTES = 2**28
"""Of the bookkeeping's `peak` that :meth:`ActivationStore.finish` holds at once: all images of some units."""
_MOMENTS = 3
"""Mean, sum of squared deviations, and sum of squared errors of rounding."""


@dataclass(frozen=True)
class LayerBlock:
    """One layer over one block of images, as it is stored."""

    rows: Sequence[Sequence[bytes]]
    """Encoded chunks, see :meth:`storage.artifacts.shards.Shards.join`."""
    peak: Float32
    """(image, channel) each map's maximum."""
    mean: Float64
    """(channel,) over the block's images and positions."""
    square: Float64
    """(channel,) sum of squared deviations from that mean."""
    noise: Float64
    """(channel,) sum of squared errors of the rounding."""


@dataclass(frozen=True)
class ActivationStore(ModelStore):
    """The activation maps of one model.

    Each layer has `activation`, `peak`, `mean`, `std` and `rounding`. Values are float32. By default they are rounded
    to so many significant bits that no unit suffers, at least to those of float16 (see :mod:`tasks.dump.rounding`),
    and take about half of their size. The bookkeeping keeps `moments` of every unit in every block, so that a run that
    was cut short ends with the same statistics to the last bit, and `peak` by image, which is written out by layer in
    the end. `frames` gives by layer the part of the image that its module's own grid covers, where that is more than
    the image, in fractions (y0, x0, y1, x1). Maps are cropped to the image.
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
        chunk: int,
        codecs: Mapping[str, str],
        labels: Mapping[str, npt.NDArray[Any]],
        attributes: Mapping[str, Any],
        rounded: bool = True,
        indices: npt.NDArray[np.integer] | None = None,
    ) -> "ActivationStore":
        """Lay the store out.

        Parameters
        ----------
        block
            Images in a shard, the same in every layer; a multiple of `chunk`.
        chunk
            Images in a chunk inside of it.
        codecs
            By layer name, see :func:`storage.artifacts.shards.best_codec`.
        labels
            (image,) what is known of the images: `source`, `label`, `class`, `half`.
        attributes
            Attributes of the root that describe the model.
        rounded
            Whether values are rounded.
        indices
            (image,) of each image among all of the run, where maps of only some are stored.

        Raises
        ------
        UserError
            A layer is called like something else in the store.
        """
        for layer in units.layers:
            if layer.name in (BOOKKEEPING, "image", *IMAGE_LABELS):
                raise UserError(f"model {model}: layer {layer.name!r} is called like a part of its store; leave it out")
        group = layout.create_store(root, ACTIVATIONS.path(model))
        blocks = block_count(images, block)
        layout.create_written(group, block=blocks)
        kept = layout.bookkeeping(group)
        moments: layout.Axes = {"block": (blocks, 1), "moment": _MOMENTS, "unit": len(units)}
        layout.create_array(kept, "moments", "float64", moments, "mean, squared deviations and squared rounding errors")
        slab = min(len(units), max(1, _SLAB_BYTES // (4 * images)))
        peaks: layout.Axes = {"image": (images, block), "unit": (len(units), slab)}
        # One file to a block, of which finishing reads one slab of units after the other.
        files: dict[str, Any] = {} if slab == len(units) else {"shards": (block, slab * ceil(len(units) / slab))}
        layout.create_array(kept, "peak", "float32", peaks, "maximum of each map", **files)
        indices = np.arange(images) if indices is None else indices
        create_image_labels(group, indices, labels)
        for order, (layer, span) in enumerate(units.spans()):
            shards = Shards(layer.channels, layer.grid, chunk, block // chunk)
            held = group.create_group(layer.name, attributes={"layer": layer.name, "order": f"{order:04d}"})
            create_image_labels(held, indices, labels)
            _create_layer(held, layer, span, images, shards, codecs[layer.name], rounded)
        frames = {layer.name: list(layer.frame) for layer in units.layers if layer.frame != WHOLE}
        laid_out = {"layers": layer_rows(units), "frames": frames, "block": block, "chunk": chunk, "images": images}
        about = {"codecs": dict(codecs), **({"coordinates": " ".join(labels)} if labels else {})}
        layout.seal_layout(group, fingerprint, {**attributes, **laid_out, **about})
        return cls(group)

    @property
    def chunk(self) -> int:
        """Images in a chunk, what is read at once at least; a divisor of :attr:`block`."""
        return int(self.attributes.get("chunk", self.block))

    def width(self, layer: str) -> int:
        """Channels in a chunk of a layer's maps."""
        return int(self._array(layer, "activation").chunks[1])

    @property
    def codecs(self) -> dict[str, str]:
        """By layer name: how its chunks are compressed."""
        return dict(self.attributes["codecs"])

    @property
    def image_digest(self) -> str:
        """The fingerprint of the images that the maps come from."""
        return str(self.attributes["depends"].get("images", ""))

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array]:
        return {}

    def _opened(self, *names: str) -> zarr.Array:
        """An array to write again and again; to open it takes as long as to write a block of bookkeeping."""
        path = "/".join(names)
        return self._arrays.setdefault(path, self._arrays.get(path) or self._array(*names))

    @cached_property
    def _readers(self) -> dict[str, ShardReader | None]:
        return {}

    def maps(self, layer: str, images: slice, channels: slice = slice(None), out: Float32 | None = None) -> Float32:
        """(image, channel, y, x) of one layer.

        Parameters
        ----------
        out
            Where they may go; new memory, if left out.

        Raises
        ------
        ValueError
            A checksum is wrong.
        """
        if (reader := self._reader(layer)) is None:
            return np.asarray(self._array(layer, "activation")[images, channels]).astype(np.float32, copy=False)
        return reader.read(images, channels, out)

    def entries(self, layer: str, images: slice, channels: slice = slice(None)) -> Iterator[Entries]:
        """What is not 0 in the maps of a layer that is :meth:`mostly_zeros`; raises as :meth:`maps`."""
        reader = self._reader(layer)
        assert reader is not None, "a store of format 2 never says that it is mostly zeros"
        return reader.entries(images, channels)

    def mostly_zeros(self, layer: str, share: float) -> bool:
        """Whether at most such a share of a layer's values is not 0, by the images of its first chunks."""
        reader = self._reader(layer)
        # Only what Zstandard encodes is worth a look: it is chosen for layers that it makes very small.
        if reader is None or self.codecs[layer] != "zstd":
            return False
        first = next(reader.entries(slice(0, self.chunk), slice(None)))
        layout = next(one for one in self.units.layers if one.name == layer)
        return len(first.values) <= share * first.images * layout.values

    def _reader(self, layer: str) -> ShardReader | None:
        """Reads the maps of a layer; None where these are not in shards, as in format 2."""
        if layer not in self._readers:
            array = self._array(layer, "activation")
            self._readers[layer] = None if array.shards is None else ShardReader(array)
        return self._readers[layer]

    def first_half(self) -> Mask:
        """(image,) whether each image belongs to the first half."""
        return first_half(self.group, self.images)

    def peaks(self, layer: str, channels: slice = slice(None)) -> Float32:
        """(image, channel) each map's maximum."""
        return np.asarray(self._array(layer, "peak")[:, channels])

    def mean(self) -> Float64:
        """(unit,) over all images and positions of the native grid."""
        return self.of_units("mean")

    def std(self) -> Float64:
        """(unit,) population standard deviation; 0 for units that hold one single value."""
        return self.of_units("std")

    def maximum(self) -> Float32:
        """(unit,) the highest value over all images and positions."""
        return np.concatenate([self.peaks(layer.name).max(axis=0) for layer in self.units.layers])

    def write(self, block: int, layers: Mapping[str, LayerBlock]) -> None:
        """Write one block of every layer, then its marker."""
        parts = [layers[layer.name] for layer in self.units.layers]
        for layer, part in zip(self.units.layers, parts, strict=True):
            shards = Shards(layer.channels, layer.grid, self.chunk, self.block // self.chunk)
            write_shard(self._opened(layer.name, "activation"), block, shards.join(part.rows))
        images = block_slice(block, self.block, self.images)
        self._opened(BOOKKEEPING, "peak")[images] = np.concatenate([part.peak for part in parts], axis=1)
        moments = [np.concatenate([getattr(part, name) for part in parts]) for name in ("mean", "square", "noise")]
        self._opened(BOOKKEEPING, "moments")[block] = np.stack(moments)
        self.mark(block)

    def finish(self) -> None:
        """Combine the statistics of the blocks, in their order, and mark the store as finished.

        Bookkeeping is read once and in parts, so that memory does not grow with the images.
        """
        kept, spans = layout.bookkeeping(self.group), [*self.units.spans()]
        positions = np.concatenate([np.full(layer.channels, layer.grid[0] * layer.grid[1]) for layer, _ in spans])
        mean, variance, noise = self._combined(layout.array_of(kept, "moments"), positions)
        for layer, span in spans:
            self._array(layer.name, "mean")[:] = mean[span]
            self._array(layer.name, "std")[:] = np.sqrt(variance[span])
            if noise is not None:
                self._array(layer.name, "rounding")[:] = np.sqrt(noise[span])
        if "peak" in kept:  # not of format 2
            self._write_peaks(layout.array_of(kept, "peak"))
        super().finish()

    def _combined(
        self, moments: zarr.Array, positions: npt.NDArray[np.int64]
    ) -> tuple[Float64, Float64, Float64 | None]:
        """(unit,) mean, variance, and mean square of the rounding errors over it; None in format 2, which has none."""
        blocks, kinds, units = moments.shape
        step = max(1, _SLAB_BYTES // (8 * kinds * units))
        total, noise = Moments(units), np.zeros(units)
        for first in range(0, blocks, step):
            part = np.asarray(moments[first : first + step])
            for block, values in enumerate(part, first):
                images = block_slice(block, self.block, self.images)
                total.add(images.stop - images.start, values[0], values[1], positions)
                noise += values[2] if kinds == _MOMENTS else 0
        variance = total.square / (total.images * positions)
        if kinds < _MOMENTS:
            return total.mean, variance, None
        noise /= self.images * positions
        return total.mean, variance, np.divide(noise, variance, out=np.zeros_like(noise), where=variance > 0)

    def _write_peaks(self, peak: zarr.Array) -> None:
        """Write (image, unit) maxima by layer."""
        slab = peak.chunks[1]
        for first in range(0, peak.shape[1], slab):
            values = np.asarray(peak[:, first : first + slab])
            for layer, span in self.units.spans():
                low, high = max(span.start, first), min(span.stop, first + values.shape[1])
                if low < high:
                    channels = slice(low - span.start, high - span.start)
                    self._array(layer.name, "peak")[:, channels] = values[:, low - first : high - first]


class Moments:
    """Mean and sum of squared deviations of a whole, from those of its blocks (Chan, Golub, LeVeque 1979)."""

    def __init__(self, units: int) -> None:
        self.images = 0
        """So far."""
        self.mean: Float64 = np.zeros(units)
        """(unit,)"""
        self.square: Float64 = np.zeros(units)
        """(unit,) sum of squared deviations; 0 exactly of one that holds one single value."""

    def add(self, images: int, mean: Float64, square: Float64, positions: int | npt.NDArray[np.int64]) -> None:
        """Take a block, whose maps have so many positions."""
        delta = mean - self.mean
        total = self.images + images
        self.mean = self.mean + delta * (images / total)
        self.square = self.square + square + delta**2 * (images * self.images / total * positions)
        self.images = total


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
    whole = Moments(means.shape[1])
    for images, mean, square in zip(counts, means, squares, strict=True):
        whole.add(int(images), mean, square, positions)
    return whole.mean, whole.square / (whole.images * positions)


def _create_layer(
    group: zarr.Group, layer: Layer, span: slice, images: int, shards: Shards, codec: str, rounded: bool
) -> None:
    known = [name for name in IMAGE_LABELS if name in group]
    of_maps = " ".join([UNIT_LABELS, *known])
    layout.create_array(
        group,
        "activation",
        "float32",
        {"image": images, "channel": layer.channels, "y": layer.grid[0], "x": layer.grid[1]},
        "activation",
        description="what each unit puts out, on the layer's grid",
        coordinates=of_maps,
        **shards.options(codec),
        attributes=_ROUNDED if rounded else {},
    )
    width = max(1, min(layer.channels, _PEAK_BYTES // (4 * images)))
    peaks: layout.Axes = {"image": images, "channel": (layer.channels, width)}
    layout.create_array(group, "peak", "float32", peaks, "maximum of each map", coordinates=of_maps)
    for name, long_name, description in (
        ("mean", "mean", "over all images and positions"),
        ("std", "standard deviation", "of the population: over all images and positions"),
        ("rounding", "rounding error", "root mean square of the rounding errors, over the standard deviation"),
    ):
        axes: layout.Axes = {"channel": layer.channels}
        layout.create_array(
            group, name, "float64", axes, long_name, description=description, fill=float("nan"), coordinates=UNIT_LABELS
        )
    create_unit_labels(group, layer, span)


_ROUNDED = {
    "quantization": "bitround",
    "quantization_nsb": 10,
    "comment": "Values are rounded to the significant bits of float16, or to more where a unit varies little around a"
    " large mean, so that `rounding` is at most 2^-11 and no correlation is off by more than 1e-3.",
}
"""Attributes of rounded values; the first two as CF has them, the number of significant bits being the least."""


def file_count(units: Units, images: int, block: int, labels: int) -> int:
    """Files of a store.

    Parameters
    ----------
    labels
        How many things are known of the images, see :meth:`ActivationStore.create`.
    """
    blocks = block_count(images, block)
    peaks = sum(
        ceil(layer.channels / max(1, min(layer.channels, _PEAK_BYTES // (4 * images)))) for layer in units.layers
    )
    layers = len(units.layers)
    # Per layer: its metadata, those of 11 arrays and of labels, and the chunks of all but the maps and the peaks.
    small = layers * (1 + 11 + labels + 9 + labels) + peaks
    return 1 + 2 * (1 + labels) + 1 + 3 + (layers + 3) * blocks + small
