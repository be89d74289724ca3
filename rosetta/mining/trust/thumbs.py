"""Small copies of activation maps, whose inner products stand for those of the maps.

On the common grid of a pair the mean product of two maps is that of their cell means on a coarser grid, as long as one
of the two has no finer detail; what a coarser grid still leaves out is detail finer than an eighth of the image. That
hardly matters for chance: how far a correlation strays when images are exchanged depends on the squares of all their
inner products, and smooth detail, which every image shares with every other, makes nearly all of those.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rosetta.mining.factors import pull_back
from rosetta.mining.grid import product_grid, upsampling
from rosetta.mining.room import Room
from rosetta.units import Grid

SIDE = 8
"""Positions a side of a thumb, at most."""


def thumb_grid(grid: Grid, side: int = SIDE) -> Grid:
    """The grid of a thumb of maps on a grid."""
    return product_grid(grid, (side, side))


def thumbs(maps: Tensor, grid: Grid, room: Room | None = None) -> Tensor:
    """Means over the cells of a coarser grid, weighted as `Uᵀ` weighs them.

    Parameters
    ----------
    maps : (channel, image, y, x) float32
    grid
        No finer than the maps' own on either axis.

    Returns
    -------
    (channel, image, position) float32
    """
    cells = (maps.shape[2] * maps.shape[3]) / (grid[0] * grid[1])
    pulled = pull_back(maps, grid, room, ("thumbs", grid))
    return pulled.flatten(2) if cells == 1 else pulled.flatten(2) / cells


@lru_cache(maxsize=64)
def coarsening(fine: Grid, coarse: Grid) -> Tensor:
    """(fine position, coarse position) float32: thumbs on one grid times it are thumbs on the other."""
    matrix = np.kron(upsampling(coarse[0], fine[0]), upsampling(coarse[1], fine[1]))
    return torch.tensor(matrix / (matrix.sum() / matrix.shape[1]), dtype=torch.float32)
