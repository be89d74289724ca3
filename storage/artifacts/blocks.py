"""Blocks of images: how far chunks reach along `image`."""

from collections.abc import Iterator
from math import ceil

import numpy as np
import numpy.typing as npt

from rosetta.units import Units

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


def model_block(units: Units, images: int, dtype: str, chunk_mib: int) -> int:
    """Images in a chunk of a model's store."""
    largest = max(layer.values for layer in units.layers)
    return block_size(largest * np.dtype(dtype).itemsize, chunk_mib * MIB, images)
