"""Samples of two units' values, position by position, as their correlation sees them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.pictures.heatmap import neighbours

POINTS = 128
"""Points of a pair."""
IMAGES = 64
"""Images that points come from, at most."""

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Points:
    """Where pairs of units are looked at."""

    image: Index
    """(pair, point)"""
    y: Index
    """(pair, point) row on the pair's common grid."""
    x: Index
    """(pair, point) column on it."""
    grid: Index
    """(pair, 2) the common grid."""


def draw(seed: int, images: int, a: Index, b: Index, count: int = POINTS) -> Points:
    """Draw positions, evenly over the common grid and over some images that are spread evenly over the run.

    Parameters
    ----------
    seed
        The same seed draws the same points.
    images
        Images of the run.
    a, b
        (pair, 2) native grids of the two units.
    """
    random = np.random.default_rng(seed)
    spread = np.linspace(0, images - 1, min(images, IMAGES)).round().astype(np.int32)
    # Per axis the finer of the two, as :func:`rosetta.mining.grid.common_grid` has it.
    grid = np.maximum(a, b)
    shape = (len(grid), count)
    image = random.choice(spread, shape)
    y, x = ((random.random(shape) * grid[:, axis, None]).astype(np.int32) for axis in (0, 1))
    return Points(image, y, x, grid)


def values_at(
    maps: npt.NDArray[Any], image: Index, channel: Index, y: Index, x: Index, grid: Index
) -> npt.NDArray[np.float64]:
    """Values of maps that are brought to a common grid, without bringing them there.

    Parameters
    ----------
    maps
        (image, channel, grid_y, grid_x).
    image, channel, y, x
        (point,) which map, and which position of the grid.
    grid
        (point, 2) the common grid.

    Returns
    -------
    (point,) what ``interpolate(mode="bilinear", align_corners=False)`` puts there.
    """
    top, bottom, down = neighbours(y, maps.shape[2], grid[:, 0])
    left, right, across = neighbours(x, maps.shape[3], grid[:, 1])

    def row(at: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        first, last = (maps[image, channel, at, side].astype(np.float64) for side in (left, right))
        return np.asarray(first + across * (last - first))

    upper = row(top)
    return np.asarray(upper + down * (row(bottom) - upper))
