"""Sums over positions of maps and of their squares on the common grids with other models."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rosetta.mining.grid import common_grid, gram, sum_weights
from rosetta.mining.room import BRIEFLY, Room
from rosetta.units import Grid

_NEIGHBOURS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""How far below and to the right of a position `UᵀU` joins others with it. The two diagonals count alike, as one."""


def sums_device(device: torch.device) -> torch.device:
    """Where sums in float64 are kept: on the device itself, but Metal knows no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def sums_on(
    stack: Tensor, other: Sequence[Grid], room: Room, parts: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Σ U a and Σ (U a)² of maps (channel, image, y, x) float32, each (part, channel, other grid) float64.

    Where the maps' own grid is the common one, both are sums over all positions alike. Elsewhere they are weighted sums
    over few positions: of the maps with `Uᵀ1`, and of the products of neighbouring positions with the entries of the
    tridiagonal `UᵀU`. These products are summed over images first and serve every common grid.

    Nothing waits for the device, and the sums stay on it (:func:`sums_device`).

    Parameters
    ----------
    parts
        How many images each part has, one after the other; left out, all images are one part.
    """
    grid, home = (stack.shape[2], stack.shape[3]), sums_device(stack.device)
    sizes = [stack.shape[1]] if parts is None else list(parts)
    commons = [common_grid(grid, theirs) for theirs in other]
    totals: dict[Grid, tuple[Tensor, Tensor]] = {}
    if grid in commons:
        # torch adds a sum up in pairs; a norm or a product would add all positions in a row, and err the more.
        square = torch.mul(stack, stack, out=room.take(BRIEFLY, stack.shape, stack.device))
        of_maps = torch.stack([stack.sum(dim=(2, 3)), square.sum(dim=(2, 3))]).to(home, torch.float64)
        both = torch.stack([part.sum(dim=2) for part in of_maps.split(sizes, dim=2)], dim=1)
        totals[grid] = both[0], both[1]
    finer = dict.fromkeys(common for common in commons if common != grid)
    if finer:
        of_images = _over_images(stack, sizes).flatten(2).to(home, torch.float64)
        products = _neighbour_products(stack, room, sizes).to(home, torch.float64)
        for common in finer:
            totals[common] = (
                of_images @ _sum_weights(grid, common, home),
                products @ _gram_weights(grid, common, home),
            )
    columns = [totals[common] for common in commons]
    return torch.stack([sums for sums, _ in columns], dim=2), torch.stack([squares for _, squares in columns], dim=2)


def _over_images(maps: Tensor, sizes: Sequence[int]) -> Tensor:
    """(part, channel, y, x) sums of maps (channel, image, y, x) over the images of each part."""
    return torch.stack([part.sum(dim=1) for part in maps.split(list(sizes), dim=1)])


def _neighbour_products(stack: Tensor, room: Room, sizes: Sequence[int]) -> Tensor:
    """(part, channel, product) Σ over images of each position times its :data:`_NEIGHBOURS`, one of these after the
    other.

    Positions are multiplied in the order of memory, whole vectors at a time: those at the end of a row meet the start
    of the next one, and are left out of the sums.
    """
    height, width = stack.shape[2:]
    flat, size = stack.view(-1), stack.numel()
    product = room.take(BRIEFLY, stack.shape, stack.device)
    found = []
    for down, right in _NEIGHBOURS:
        far = down * width + right
        if far < size:
            here = product.view(-1)[: size - far]
            torch.mul(flat[: size - far], flat[far:], out=here)
            if down and right:
                here.addcmul_(flat[right : size - down * width], flat[down * width : size - right])
        summed = _over_images(product, sizes)[:, :, : height - down, : width - right]
        found.append(summed.flatten(2))
    return torch.cat(found, dim=2)


@lru_cache(maxsize=1024)
def _sum_weights(grid: Grid, common: Grid, device: torch.device) -> Tensor:
    """(y · x) float64 `Uᵀ1`."""
    weights = np.outer(sum_weights(grid[0], common[0]), sum_weights(grid[1], common[1]))
    return torch.tensor(weights.ravel(), device=device)


@lru_cache(maxsize=1024)
def _gram_weights(grid: Grid, common: Grid, device: torch.device) -> Tensor:
    """(product,) float64: what each of :func:`_neighbour_products` counts in Σ (U a)²; twice off the diagonal."""
    along_y, along_x = (gram(own, theirs) for own, theirs in zip(grid, common, strict=True))
    weights = [
        np.outer(np.diagonal(along_y, down), np.diagonal(along_x, right)).ravel()
        * (1.0 if (down, right) == (0, 0) else 2.0)
        for down, right in _NEIGHBOURS
    ]
    return torch.tensor(np.concatenate(weights), device=device)
