"""Maps of many units in many images out of one model's store, each chunk read once.

Chunks hold all channels of a block of images. Whoever wants maps says beforehand which, as a *look*; then the store is
walked through layer by layer and block by block, and each chunk that any look needs is shown to all that need it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rosetta.units import Grid, Units
from rosetta.view.atlas.maps import quantise, shrink
from rosetta.view.atlas.scatter import Points, values_at
from storage.activations import ActivationStore
from storage.blocks import block_slice

Index = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]

_PIECE = 16 * 1024 * 1024
"""Bytes of maps, as float32, that are shrunk at once."""


class Look(Protocol):
    """Something that wants to see maps of a model."""

    @property
    def image(self) -> Index:
        """(wish,) the image of each map that is wanted."""
        ...

    @property
    def unit(self) -> Index:
        """(wish,) its unit."""
        ...

    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Take some of the maps.

        Parameters
        ----------
        which
            (seen,) the wishes that this chunk fulfils.
        chunk
            (image, channel, y, x) as stored.
        image, channel
            (seen,) where they lie in it.
        """
        ...


def show(store: ActivationStore, looks: Sequence[Look]) -> None:
    """Let all looks see what they want of a model."""
    for layer, span in store.units.spans():
        inside = [np.nonzero((look.unit >= span.start) & (look.unit < span.stop))[0] for look in looks]
        blocks = [look.image[which] // store.block for look, which in zip(looks, inside, strict=True)]
        for block in sorted(set().union(*(np.unique(of).tolist() for of in blocks))):
            images = block_slice(block, store.block, store.images)
            chunk = store.maps(layer.name, images)
            for look, which, of in zip(looks, inside, blocks, strict=True):
                here = which[of == block]
                if len(here):
                    look.see(here, chunk, look.image[here] - images.start, look.unit[here] - span.start)


@dataclass(frozen=True)
class Tiles:
    """Small maps as bytes on their units' scales."""

    image: Index
    unit: Index
    low: Float64
    """(wish,) what becomes 0."""
    high: Float64
    """(wish,) what becomes 255."""
    most: int
    """Positions of a side, at most."""
    found: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """By wish: (y, x) its map, once it was seen."""

    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Shrink and keep them, some at a time."""
        step = max(1, _PIECE // (4 * chunk.shape[2] * chunk.shape[3]))
        for start in range(0, len(which), step):
            part = slice(start, start + step)
            wishes = which[part]
            maps = shrink(chunk[image[part], channel[part]], self.most)
            small = quantise(maps, self.low[wishes], self.high[wishes])
            # Copies: a view would keep the whole piece alive for one map.
            self.found.update((int(wish), tile.copy()) for wish, tile in zip(wishes, small, strict=True))


@dataclass(frozen=True)
class Values:
    """Values at single positions."""

    image: Index
    unit: Index
    y: Index
    """(wish,) row on the grid that the map is brought to."""
    x: Index
    grid: npt.NDArray[np.int32]
    """(wish, 2) that grid."""
    found: Float64
    """(wish,) the values, once they were seen."""

    @classmethod
    def of(cls, units: Index, points: Sequence[Points]) -> "Values":
        """One unit for each of several sets of points."""
        counts = [len(of.image) for of in points]
        image, y, x = (
            np.concatenate([np.empty(0, np.int32), *(getattr(of, axis) for of in points)])
            for axis in ("image", "y", "x")
        )
        grids = np.array([of.grid for of in points], dtype=np.int32).reshape(-1, 2)
        return cls(image, np.repeat(units, counts), y, x, np.repeat(grids, counts, axis=0), np.full(len(image), np.nan))

    def see(self, which: npt.NDArray[np.intp], chunk: npt.NDArray[Any], image: Index, channel: Index) -> None:
        """Interpolate and keep them, grid by grid."""
        for grid in np.unique(self.grid[which], axis=0):
            same = (self.grid[which] == grid).all(axis=1)
            at = which[same]
            target: Grid = (int(grid[0]), int(grid[1]))
            self.found[at] = values_at(chunk, image[same], channel[same], self.y[at], self.x[at], target)


def grids_of(units: Units) -> npt.NDArray[np.int32]:
    """(unit, 2) each unit's native grid."""
    return np.array([layer.grid for layer in units.layers], dtype=np.int32)[units.layer_index()]


def pieces(count: int, size: int) -> Iterator[slice]:
    """Slices that cover `count`, of `size` each but for the last."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
