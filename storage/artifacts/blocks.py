"""Blocks of images: how far chunks reach along `image`."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from rosetta.units import Layer, Units

MIB = 1024 * 1024


def block_size(bytes_per_image: int, target: int, images: int) -> int:
    """Images in a block: the power of two whose chunk comes nearest below `target` bytes, at least 1.

    Powers of two nest: the blocks of any two models of a run are whole multiples of one another. No block is larger
    than the smallest power of two that holds all images.

    Parameters
    ----------
    bytes_per_image
        Of the largest layer, as stored.
    target
        Bytes of a chunk before compression.
    images
        Images of the run.
    """
    fitting = max(1, target // max(1, bytes_per_image))
    whole = 1 << (images - 1).bit_length()
    return int(min(1 << (fitting.bit_length() - 1), whole))


def block_count(images: int, size: int) -> int:
    """How many blocks there are."""
    return ceil(images / size)


def block_slice(block: int, size: int, images: int) -> slice:
    """The images of a block."""
    return slice(block * size, min((block + 1) * size, images))


def by_block(images: npt.NDArray[np.integer], size: int, count: int) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """Each block of a store with `count` images in which some of `images` lie, and (image,) which of them do."""
    for block in np.unique(images // size):
        span = block_slice(int(block), size, count)
        yield span, (images >= span.start) & (images < span.stop)


@dataclass(frozen=True)
class Blocks:
    """How a store of activations is cut along images."""

    chunk: int
    """Images in a chunk."""
    shard: int
    """Images in a shard, which is one file of a layer and what one marker stands for."""

    def of(self, shard: int) -> "Blocks":
        """The same with shards of another size."""
        return Blocks(min(self.chunk, shard), shard)


_ITEMSIZE = 2
"""Bytes of a stored value: about what is left of a rounded one."""
_SPARSER = 8
"""A layer that is :attr:`rosetta.units.Layer.sparse` counts so many times less: what is stored of it is small."""
_FILES = 18_000
"""Files of a store, at most, if its shards can be large enough."""
_SHARDS_BYTES = 2**30
"""Of the shards of all layers, which are kept in memory until they are written."""


def stored_values(layer: Layer) -> int:
    """How many values of an image a layer's store is as large as, about."""
    return layer.values // _SPARSER if layer.sparse else layer.values


def model_blocks(units: Units, images: int, chunk_mib: int) -> Blocks:
    """How a model's store is cut: chunks near `chunk_mib` for the largest layer, and larger shards for many images."""
    largest = max(map(stored_values, units.layers))
    chunk = block_size(largest * _ITEMSIZE, chunk_mib * MIB, images)
    return Blocks(chunk, few_files(units, images, chunk))


def few_files(units: Units, images: int, chunk: int) -> int:
    """Images in a shard of chunks of so many: more where a store would have too many files, as far as memory goes."""
    per_image = _ITEMSIZE * sum(map(stored_values, units.layers))
    shard = chunk
    while (len(units.layers) + 3) * block_count(images, shard) > _FILES and 2 * shard * per_image <= _SHARDS_BYTES:
        shard *= 2
    return shard
