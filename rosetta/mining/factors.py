"""One side of a product: activation maps of some images, brought onto every grid that the other side asks for.

A pair's inner products are taken on the coarser of two grids per axis. So each layer's maps are needed on their own
grid and pulled back onto the coarser grids of the other model; no map is ever upsampled (:mod:`rosetta.mining.grid`).
What comes out, :class:`Factors`, belongs to one model alone: it can be made on one machine and multiplied on another.

Each unit is shifted beforehand by an estimate of its mean. A fixed shift changes no correlation, since `U` keeps
constants, but leaves small numbers to multiply in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import common_grid, gram, product_grid, sum_weights, upsampling
from rosetta.units import Grid, Layer, Units

_DENSE = 256 * 256
"""Up to this many entries, one dense matrix over both axes beats thousands of small products along one axis each."""

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

_OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
"""The neighbours that `UᵀU` joins a position with, one of each pair of opposites."""


PANEL = 1024
"""Units a side of one product: large enough for full speed, small enough for sixteen threads in 2 GiB.

Everything is computed panel by panel, counted from the model's first unit, whatever the memory, the number of workers
or the point where a run was cut off: the shape of a product decides how its sum is rounded, so the same shapes give the
same bytes."""


@dataclass(frozen=True)
class Segment:
    """The units of one panel that share a grid; what is multiplied at once."""

    grid: Grid
    pieces: tuple[tuple[Layer, slice], ...]
    """Layers with the channels that belong to it."""
    units: Index
    """(unit,) their indices, ascending."""


def segments(units: Units) -> list[Segment]:
    """Cut units up, panel by panel, and within a panel grid by grid.

    Parameters
    ----------
    units
        Part of a model that begins at a multiple of :data:`PANEL`.
    """
    found = []
    for start in range(0, len(units), PANEL):
        stop = min(start + PANEL, len(units))
        by_grid: dict[Grid, list[tuple[Layer, slice, slice]]] = {}
        for layer, span in units.spans():
            first, last = max(span.start, start), min(span.stop, stop)
            if first < last:
                piece = layer, slice(first - span.start, last - span.start), slice(first, last)
                by_grid.setdefault(layer.grid, []).append(piece)
        for grid, pieces in by_grid.items():
            index = np.concatenate([np.arange(held.start, held.stop) for _, _, held in pieces])
            found.append(Segment(grid, tuple((layer, channels) for layer, channels, _ in pieces), index))
    return found


@dataclass(frozen=True)
class Factors:
    """What one model brings to the moments of some images; units segment by segment (:func:`segments`)."""

    images: int
    maps: tuple[Mapping[Grid, Tensor], ...]
    """For each segment: grid of the products → (unit, image · position), shifted."""
    sums: Float64
    """(unit, other grid) Σ U a, `U` leading to the common grid with each grid of the other model."""
    squares: Float64
    """(unit, other grid) Σ (U a)²."""


def factors(
    units: Units,
    maps: Mapping[str, Tensor],
    shift: Float32,
    other: Sequence[Grid],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Factors:
    """Bring one model's maps of some images into the form that is multiplied.

    Parameters
    ----------
    units
        The units; `A` in number.
    maps
        By layer name, (image, channel, y, x) of any floating type.
    shift
        (A,) float32, near each unit's mean, the same for every block of a run.
    other
        The distinct grids of the other model.
    dtype
        Of the factors; sums and squares are taken before rounding to it.
    """
    pulled, sums, squares = [], [], []
    images = 0
    for segment in segments(units):
        stack = _stack(segment, maps, shift[segment.units], torch.device(device))
        images = stack.shape[1]
        targets = dict.fromkeys(product_grid(segment.grid, theirs) for theirs in other)
        pulled.append({target: pull_back(stack, target).flatten(1).to(dtype) for target in targets})
        of_segment = _sums(stack, other)
        sums.append(of_segment[0])
        squares.append(of_segment[1])
    return Factors(images, tuple(pulled), np.concatenate(sums), np.concatenate(squares))


def factor_values(layer: Layer, other: Sequence[Grid]) -> int:
    """How many numbers of :class:`Factors` an image takes for a layer."""
    return layer.channels * sum(height * width for height, width in {product_grid(layer.grid, grid) for grid in other})


def _stack(segment: Segment, maps: Mapping[str, Tensor], shift: Float32, device: torch.device) -> Tensor:
    """(unit, image, y, x) float32: channel first, so that a sum over images and positions is one product."""
    images = maps[segment.pieces[0][0].name].shape[0]
    stack = torch.empty((len(segment.units), images, *segment.grid), dtype=torch.float32, device=device)
    shifts = torch.from_numpy(shift).to(device)[:, None, None, None]
    row = 0
    for layer, channels in segment.pieces:
        part = maps[layer.name][:, channels].to(device, non_blocking=True).transpose(0, 1)
        # Widens, puts channels first and shifts, in one pass.
        torch.sub(part, shifts[row : row + len(part)], out=stack[row : row + len(part)])
        row += len(part)
    return stack


def pull_back(maps: Tensor, target: Grid) -> Tensor:
    """Apply the adjoint of `U` from `target` to the maps' grid, on the axes where the maps are the finer.

    Parameters
    ----------
    maps : (channel, image, y, x) float32
    target
        The other grid of the pair.

    Returns
    -------
    (channel, image, min(y, target y), min(x, target x)) float32
    """
    height, width = maps.shape[-2:]
    reached = min(height, target[0]), min(width, target[1])
    if reached == (height, width):
        return maps
    if height * width * reached[0] * reached[1] <= _DENSE:
        matrix = np.kron(upsampling(reached[0], height), upsampling(reached[1], width))
        return (maps.flatten(2) @ _axis(matrix, maps.device)).unflatten(2, reached)
    if width > target[1]:
        maps = maps @ _axis(upsampling(target[1], width), maps.device)
    if height > target[0]:
        maps = _axis(upsampling(target[0], height), maps.device).T @ maps
    return maps


def _axis(matrix: npt.NDArray[Any], device: torch.device) -> Tensor:
    return torch.tensor(matrix, dtype=torch.float32, device=device)


def _sums(stack: Tensor, other: Sequence[Grid]) -> tuple[Float64, Float64]:
    """Σ U a and Σ (U a)² of one grid's maps, each (channel, other grid).

    Both are weighted sums over few positions: of the maps themselves with `Uᵀ1`, and of the products of neighbouring
    positions with the entries of the tridiagonal `UᵀU`. The products are summed over images first and serve every
    common grid.
    """
    grid = (stack.shape[2], stack.shape[3])
    commons = [common_grid(grid, theirs) for theirs in other]
    of_images = stack.sum(dim=1).double().cpu().numpy()
    offsets = _OFFSETS if any(common != grid for common in commons) else _OFFSETS[:1]
    products = [_neighbour_products(stack, *offset) for offset in offsets]
    totals: dict[Grid, tuple[Float64, Float64]] = {}
    for common in commons:
        if common not in totals:
            weights = np.outer(sum_weights(grid[0], common[0]), sum_weights(grid[1], common[1]))
            squares = [
                product.reshape(len(product), -1) @ _gram_weights(grid, common, *offset).ravel()
                for offset, product in zip(offsets, products, strict=True)
            ]
            totals[common] = of_images.reshape(len(of_images), -1) @ weights.ravel(), np.sum(squares, axis=0)
    columns = [totals[common] for common in commons]
    return np.stack([sums for sums, _ in columns], axis=1), np.stack([squares for _, squares in columns], axis=1)


def _neighbour_products(stack: Tensor, down: int, right: int) -> Float64:
    """(channel, y, x) Σ over images of each position times the one so far below and to the right of it."""
    height, width = stack.shape[2:]
    here = stack[:, :, : height - down, max(0, -right) : width - max(0, right)]
    there = stack[:, :, down:, max(0, right) : width + min(0, right)]
    return np.asarray((here * there).sum(dim=1).double().cpu().numpy())


def _gram_weights(grid: Grid, common: Grid, down: int, right: int) -> Float64:
    """What each product of :func:`_neighbour_products` counts in Σ (U a)²; twice where it stands for its mirror too."""
    along_y = np.diagonal(gram(grid[0], common[0]), down)
    along_x = np.diagonal(gram(grid[1], common[1]), abs(right))
    return np.outer(along_y, along_x) * (1.0 if (down, right) == (0, 0) else 2.0)
