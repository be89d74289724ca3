"""Maps of many units in many images out of one model's store, each chunk read at most once.

Chunks hold a few channels of a few images. Whoever wants maps says beforehand which, as a *look*; then the store is
walked through layer by layer and block by block, and the chunks that any look needs are shown to all that need them.
A census counts values on the way; then all chunks are read.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.system import cpu_count

from rosetta.mining.plan import ranges
from rosetta.view.atlas.maps import quantise
from rosetta.view.atlas.scatter import Points, values_at
from rosetta.view.pictures.pooling import shrink
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_slice
from tasks.report.atlas.census import Census
from tasks.stage.metrics import ContextThreads

Index = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]

_PIECE = 16 * 1024 * 1024
"""Bytes of maps, as float32, that are shrunk at once."""
_READ = 16 * 1024 * 1024
"""Bytes of maps, as float32, that are read at once; one chunk, where that is larger."""
_THREADS = 4
"""That read and look at once, at most."""
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


def show(store: ActivationStore, looks: Sequence[Look], census: Census | None = None) -> None:
    """Let all looks see what they want of a model, and the census all that it counts.

    A few threads read and look, each at one piece of `_READ` bytes, or at one chunk where that is larger.
    """
    threads = min(cpu_count(), _THREADS)
    waiting: deque[Future[None]] = deque()
    with ContextThreads(threads) as pool:
        for work in _pieces(store, looks, census):
            if len(waiting) == 2 * threads:
                waiting.popleft().result()
            waiting.append(pool.submit(work))
        for done in waiting:
            done.result()


def _pieces(store: ActivationStore, looks: Sequence[Look], census: Census | None) -> Iterator[Callable[[], None]]:
    """What there is to read of a model, piece by piece."""
    for layer, span in store.units.spans():
        inside = [np.nonzero((look.unit >= span.start) & (look.unit < span.stop))[0] for look in looks]
        blocks = [look.image[which] // store.chunk for look, which in zip(looks, inside, strict=True)]
        width = store.width(layer.name)
        column = 4 * store.chunk * width * layer.grid[0] * layer.grid[1]
        every = np.arange(-(-layer.channels // width))
        for block in range(-(-store.images // store.chunk)):
            counting = census if census is not None and census.counts_block(block) else None
            here = [which[of == block] for which, of in zip(inside, blocks, strict=True)]
            wanted = [look.unit[which] - span.start for look, which in zip(looks, here, strict=True)]
            columns = every if counting else np.unique(np.concatenate([every[:0], *wanted]) // width)
            images, both = block_slice(block, store.chunk, store.images), list(zip(looks, here, strict=True))
            for part in _runs(columns, 1 + _SKIPPED // column, max(1, _READ // column), width):
                yield partial(_see, store, layer.name, images, part, span.start, both, counting)


def _see(
    store: ActivationStore,
    layer: str,
    images: slice,
    part: slice,
    first: int,
    looks: Sequence[tuple[Look, npt.NDArray[np.intp]]],
    census: Census | None,
) -> None:
    """Read the maps of some channels, the layer's first one being unit `first`, and show them to all that want them."""
    chunk = store.maps(layer, images, part)
    for look, which in looks:
        channel = look.unit[which] - first
        among = (channel >= part.start) & (channel < part.stop)
        if among.any():
            seen = which[among]
            look.see(seen, chunk, look.image[seen] - images.start, channel[among] - part.start)
    if census:
        census.see(chunk, first + part.start)


def _runs(columns: npt.NDArray[np.integer], gap: int, most: int, width: int) -> Iterator[slice]:
    """Ranges of channels that cover columns of chunks; columns so close to each other share one.

    Parameters
    ----------
    columns
        (column,) of chunks, ascending.
    gap
        The largest step within a range.
    most
        Columns of a range.
    width
        Channels of a column.
    """
    for run in np.split(columns, np.nonzero(np.diff(columns) > gap)[0] + 1):
        for first in range(int(run[0]), int(run[-1]) + 1, most) if len(run) else ():
            yield slice(first * width, min(first + most, int(run[-1]) + 1) * width)


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
