"""Maps of many units in many images out of one model's store, each chunk read at most once.

Chunks hold a few channels of a few images. Whoever wants maps says beforehand which, as a *look*; then the store is
walked through layer by layer and block by block, and the chunks that any look needs are shown to all that need them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges
from rosetta.view.atlas.maps import quantise
from rosetta.view.atlas.scatter import Points, values_at
from rosetta.view.pictures.pooling import shrink
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_slice

Index = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]

_PIECE = 16 * 1024 * 1024
"""Bytes of maps, as float32, that are shrunk at once."""
_SKIPPED = 1024 * 1024
"""Bytes of maps, as float32, that are read along rather than skipped, as another read would take as long."""


@dataclass(frozen=True)
class Look(ABC):
    """Requests for maps of a model."""

    image: Index
    """(request,) the image of each map."""
    unit: Index
    """(request,) its unit."""

    @abstractmethod
    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Take some of the maps.

        Parameters
        ----------
        which
            (seen,) the requests that this chunk answers.
        chunk
            (image, channel, y, x) as stored.
        image, channel
            (seen,) where they lie in it.
        """


def show(store: ActivationStore, looks: Sequence[Look]) -> None:
    """Let all looks see what they want of a model."""
    for layer, span in store.units.spans():
        inside = [np.nonzero((look.unit >= span.start) & (look.unit < span.stop))[0] for look in looks]
        blocks = [look.image[which] // store.chunk for look, which in zip(looks, inside, strict=True)]
        width = store.width(layer.name)
        gap = 1 + _SKIPPED // (4 * store.chunk * width * layer.grid[0] * layer.grid[1])
        for block in sorted(set().union(*(np.unique(of).tolist() for of in blocks))):
            images = block_slice(block, store.chunk, store.images)
            here = [which[of == block] for which, of in zip(inside, blocks, strict=True)]
            channels = [look.unit[which] - span.start for look, which in zip(looks, here, strict=True)]
            for part in _runs(np.unique(np.concatenate(channels) // width), gap, width):
                chunk = store.maps(layer.name, images, part)
                for look, which, channel in zip(looks, here, channels, strict=True):
                    among = (channel >= part.start) & (channel < part.stop)
                    if among.any():
                        seen = which[among]
                        look.see(seen, chunk, look.image[seen] - images.start, channel[among] - part.start)


def _runs(columns: npt.NDArray[np.integer], gap: int, width: int) -> Iterator[slice]:
    """Ranges of channels that cover columns of chunks; columns so close to each other share one.

    Parameters
    ----------
    columns
        (column,) of chunks, ascending.
    gap
        The largest step within a range.
    width
        Channels of a column.
    """
    for run in np.split(columns, np.nonzero(np.diff(columns) > gap)[0] + 1):
        yield slice(int(run[0]) * width, (int(run[-1]) + 1) * width)


@dataclass(frozen=True)
class Tiles(Look):
    """Small maps as bytes on their units' scales."""

    low: Float64
    """(request,) what becomes 0."""
    high: Float64
    """(request,) what becomes 255."""
    most: int
    """Positions of a side, at most."""
    grid: Index
    """(request, 2) the grid of each small map."""
    start: npt.NDArray[np.intp]
    """(request,) where each lies in `levels`."""
    levels: npt.NDArray[np.uint8]
    """(byte,) all small maps, one after the other."""

    @classmethod
    def of(cls, image: Index, unit: Index, scale: tuple[Float64, Float64], native: Index, most: int) -> "Tiles":
        """Room for small maps.

        Parameters
        ----------
        scale
            (request,) what becomes 0, and what becomes 255.
        native
            (request, 2) each unit's own grid.
        """
        grid = np.minimum(native, most)
        size = grid.prod(axis=1, dtype=np.intp)
        return cls(image, unit, *scale, most, grid, np.cumsum(size) - size, np.zeros(size.sum(), dtype=np.uint8))

    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Shrink and keep them, some at a time."""
        for part in ranges(len(which), max(1, _PIECE // (4 * chunk.shape[2] * chunk.shape[3]))):
            requests = which[part]
            maps = shrink(chunk[image[part], channel[part]], self.most)
            small = quantise(maps, self.low[requests], self.high[requests]).reshape(len(requests), -1)
            self.levels[self.start[requests, None] + np.arange(small.shape[1])] = small

    def tile(self, request: int) -> npt.NDArray[np.uint8]:
        """(y, x) a small map."""
        height, width = self.grid[request].tolist()
        start = self.start[request]
        return self.levels[start : start + height * width].reshape(height, width)


@dataclass(frozen=True)
class Values(Look):
    """Values at single positions; a request is a position."""

    y: Index
    """(request,) row on the grid that the map is brought to."""
    x: Index
    grid: Index
    """(request, 2) that grid."""
    values: npt.NDArray[np.float32]
    """(request,) NaN until they are seen."""

    @classmethod
    def of(cls, unit: Index, points: Points) -> "Values":
        """(pair,) one unit of each pair, at the pair's points."""
        count = points.image.shape[1]
        image, y, x = (part.ravel() for part in (points.image, points.y, points.x))
        grid = np.repeat(points.grid, count, axis=0)
        return cls(image, np.repeat(unit, count), y, x, grid, np.full(len(grid), np.nan, dtype=np.float32))

    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Interpolate and keep them."""
        self.values[which] = values_at(chunk, image, channel, self.y[which], self.x[which], self.grid[which])
