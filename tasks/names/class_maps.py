"""Mean maps of units over the images of each class, of some of its images."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges
from storage.artifacts.activations import ActivationStore

MAPPED = 32
"""Images of a class that a mean map is over, at most."""
_IMAGES = 4096
"""Images of all classes together, at most; each class has two at least."""
_ROOM = 2**24
"""Positions of maps that are held at once."""

Index = npt.NDArray[np.int64]


def images_by_class(classes: Index) -> dict[int, Index]:
    """By class: the places of some of its images, evenly spread over them.

    Parameters
    ----------
    classes
        (image,) number of each image's class, below 0 where it is not known.
    """
    numbers = np.unique(classes[classes >= 0])
    most = max(2, min(MAPPED, _IMAGES // max(1, len(numbers))))
    chosen = {}
    for number in numbers.tolist():
        images = np.flatnonzero(classes == number)
        count = min(most, len(images))
        chosen[number] = images[np.arange(count) * len(images) // count]
    return chosen


def class_maps(
    store: ActivationStore, layer: str, channels: Index, images: Mapping[int, Index]
) -> Iterator[dict[int, npt.NDArray[np.float64]]]:
    """Channel by channel of a layer, by class (y, x) the mean map over its images."""
    from storage.run.layer_maps import read_maps  # with it comes xarray, which most runs have no use for

    grid = next(one.grid for one in store.units.layers if one.name == layer)
    every = np.sort(np.concatenate(list(images.values())))
    for part in ranges(len(channels), max(1, _ROOM // (len(every) * grid[0] * grid[1]))):
        maps = read_maps(store, layer, every, channels[part])
        for channel in range(maps.shape[1]):
            yield {
                number: maps[np.searchsorted(every, of_class), channel].mean(axis=0, dtype=np.float64)
                for number, of_class in images.items()
            }
