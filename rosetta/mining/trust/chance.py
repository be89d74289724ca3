"""How far a correlation strays when images are exchanged: its mean and variance over *all* ways to exchange them.

Pair image i's map of a with image σ(i)'s map of b. With `D[i, j]` the mean product of a's map of image i and b's map of
image j, the correlation is `Σᵢ D[i, σ(i)]` up to fixed factors. Over all permutations σ its mean is that of the units'
mean maps, which is what position alone explains, and, with `D` centred on both sides,

    variance = Σᵢⱼ D[i, j]² / (N − 1)                                      (Hoeffding, 1951)

The sum of squares needs no N × N products either: `Σᵢⱼ ⟨aᵢ, bⱼ⟩² = ⟨Σᵢ aᵢaᵢᵀ, Σⱼ bⱼbⱼᵀ⟩`, one inner product of two
covariances over positions (times N). So the chance of every pair is one more matrix product, on thumbs
(:mod:`~rosetta.mining.trust.thumbs`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import product_grid
from rosetta.mining.trust.thumbs import coarsening
from rosetta.units import Grid

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Covariances:
    """Covariances over positions of some units, whose thumbs share a grid."""

    grid: Grid
    units: npt.NDArray[np.intp]
    """(unit,) where they stand among all."""
    packed: npt.NDArray[np.float16] | Float32
    """(unit, P (P + 1) / 2) upper triangles."""


def permutation_variance(a: list[Covariances], b: list[Covariances], images: int, shape: tuple[int, int]) -> Float32:
    """Variance of every pair's covariance over all ways to exchange images.

    Parameters
    ----------
    a, b
        Each side, grid by grid.
    images
        `N`, 2 or more.
    shape
        Units of either side.

    Returns
    -------
    (unit_a, unit_b) float32
        Of the mean product of the standardised maps.
    """
    result = np.zeros(shape, dtype=np.float32)
    for left in a:
        for right in b:
            grid = product_grid(left.grid, right.grid)
            norm = float((grid[0] * grid[1]) ** 2) * (images - 1)
            product = torch.mm(_on(left, grid), _on(right, grid).T).div_(norm)
            result[np.ix_(left.units, right.units)] = product.numpy()
    return result


def _on(side: Covariances, grid: Grid) -> Tensor:
    """(unit, entry) covariances on a coarser grid, packed so that a dot product is that of the whole matrices."""
    packed = torch.from_numpy(side.packed).float()
    positions = grid[0] * grid[1]
    if side.grid != grid:
        fine = side.grid[0] * side.grid[1]
        upper = torch.triu_indices(fine, fine)
        square = packed.new_zeros((len(packed), fine, fine))
        square[:, upper[0], upper[1]] = packed
        square[:, upper[1], upper[0]] = packed
        down = coarsening(side.grid, grid)
        square = down.T @ square @ down
        upper = torch.triu_indices(positions, positions)
        packed = square[:, upper[0], upper[1]]
    upper = torch.triu_indices(positions, positions)
    twice = torch.where(upper[0] == upper[1], 1.0, 2.0**0.5)
    return packed * twice
