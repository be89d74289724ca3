"""Samples of two units' values, position by position, as their correlation sees them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.grid import common_grid
from rosetta.units import Grid

POINTS = 160
"""Points of a pair."""
IMAGES = 64
"""Images that points come from, at most."""

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Points:
    """Where a pair of units is looked at."""

    image: Index
    """(point,)"""
    y: Index
    """(point,) row on the pair's common grid."""
    x: Index
    """(point,) column on it."""
    grid: Grid
    """The common grid."""


def draw(seed: tuple[int, ...], images: int, a: Grid, b: Grid, count: int = POINTS) -> Points:
    """Draw positions, evenly over the common grid and over some images that are spread evenly over the run.

    Parameters
    ----------
    seed
        The same seed draws the same points.
    images
        Images of the run.
    a, b
        Native grids of the two units.
    """
    random = np.random.default_rng(seed)
    spread = np.linspace(0, images - 1, min(images, IMAGES)).round().astype(np.int32)
    grid = common_grid(a, b)
    y, x = (random.integers(0, size, count, dtype=np.int32) for size in grid)
    return Points(random.choice(spread, count), y, x, grid)


def _corners(place: Index, positions: int, common: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Any]:
    """Lower and upper neighbour on the native axis, and the upper one's share: a row of `U`."""
    source = np.maximum((place + 0.5) * (positions / common) - 0.5, 0.0)
    lower = np.minimum(source.astype(np.intp), positions - 1)
    return lower, np.minimum(lower + 1, positions - 1), source - lower


def values_at(
    maps: npt.NDArray[Any], image: npt.NDArray[Any], channel: npt.NDArray[Any], y: Index, x: Index, grid: Grid
) -> npt.NDArray[np.float64]:
    """Values of maps that are brought to a common grid, without bringing them there.

    Parameters
    ----------
    maps
        (image, channel, grid_y, grid_x).
    image, channel, y, x
        (point,) which map, and which position of `grid`.

    Returns
    -------
    (point,) what ``interpolate(mode="bilinear", align_corners=False)`` puts there.
    """
    top, bottom, down = _corners(y, maps.shape[2], grid[0])
    left, right, across = _corners(x, maps.shape[3], grid[1])

    def row(at: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        first, last = (maps[image, channel, at, side].astype(np.float64) for side in (left, right))
        return np.asarray(first + across * (last - first))

    upper = row(top)
    return np.asarray(upper + down * (row(bottom) - upper))
