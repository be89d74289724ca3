"""One side of a product: activation maps of some images, brought onto every grid that the other side asks for.

A pair's inner products are taken on the coarser of two grids per axis. So each layer's maps are needed on their own
grid and pulled back onto the coarser grids of the other model; no map is ever upsampled (:mod:`rosetta.mining.grid`).
What comes out, :class:`Factors`, belongs to one model alone: it can be made on one machine and multiplied on another.

Each unit is shifted beforehand by an estimate of its mean. A fixed shift changes no correlation, since `U` keeps
constants, but leaves small numbers to multiply in float32.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import common_grid, gram, product_grid, sum_weights, upsampling
from rosetta.units import Grid, Layer, Units

_DENSE = 256 * 256
"""Up to this many entries, one dense matrix over both axes beats thousands of small products along one axis each."""

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
    """Layers, cut down to the channels that belong to it, and which of the whole layer's these are."""
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
        pieces = units.restrict(slice(start, start + PANEL))
        panel = Units(tuple(layer for layer, _ in pieces))
        grid_of_unit = panel.grid_index()
        for number, grid in enumerate(panel.grids()):
            on_grid = tuple((layer, channels) for layer, channels in pieces if layer.grid == grid)
            found.append(Segment(grid, on_grid, start + np.flatnonzero(grid_of_unit == number)))
    return found


@dataclass(frozen=True)
class Factors:
    """What one model brings to the moments of some images; units segment by segment (:func:`segments`)."""

    images: int
    other: tuple[Grid, ...]
    """The grids that they were made for: of one other model, or of several."""
    maps: tuple[Mapping[Grid, Tensor], ...]
    """For each segment: grid of the products → (unit, image · position), shifted."""
    sums: Tensor
    """(unit, other grid) float64 Σ U a, `U` leading to the common grid with each of :attr:`other`."""
    squares: Tensor
    """(unit, other grid) float64 Σ (U a)²."""


class Room:
    """Room for the tensors of a step, used again by the next one.

    Fresh memory comes from the system page by page: measured, a third of the time of a step.
    """

    def __init__(self) -> None:
        self._tensors: dict[Hashable, Tensor] = {}

    def take(self, key: Hashable, shape: Sequence[int], device: torch.device) -> Tensor:
        """A float32 tensor with arbitrary content, which stands in the place of the last one of that key."""
        size = math.prod(shape)
        if key not in self._tensors or len(self._tensors[key]) < size:
            self._tensors.pop(key, None)
            self._tensors[key] = torch.empty(size, dtype=torch.float32, device=device)
        return self._tensors[key][:size].view(tuple(shape))


def factors(
    units: Units,
    maps: Mapping[str, Tensor],
    shift: Float32,
    other: Sequence[Grid],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    room: Room | None = None,
    side: Hashable = None,
    summed: bool = True,
) -> Factors:
    """Bring one model's maps of some images into the form that is multiplied.

    What comes out for one grid of `other` is bit for bit the same whatever grids stand beside it: so factors made once
    serve the accumulators of several pairs.

    Parameters
    ----------
    units
        The units; `A` in number.
    maps
        By layer name, (image, channel, y, x) of any floating type.
    shift
        (A,) float32, near each unit's mean, the same for every block of a run.
    other
        The distinct grids of the other model, or of all models that these units meet.
    dtype
        Of the factors; sums and squares are taken before rounding to it.
    room, side
        Where the factors go; those that it held of the same side are gone then.
    summed
        Whether sums and squares are wanted; 0 if not.
    """
    room, device = room or Room(), torch.device(device)
    pulled, sums, squares = [], [], []
    images = next(iter(maps.values())).shape[0]
    for number, segment in enumerate(segments(units)):
        targets = dict.fromkeys(product_grid(segment.grid, theirs) for theirs in other)
        # Maps that are multiplied as they are stay; others only pass on their way to coarser grids.
        place = (side, number) if segment.grid in targets else "passing"
        stack = room.take(place, (len(segment.units), images, *segment.grid), device)
        _fill(stack, segment, maps, torch.from_numpy(shift[segment.units]).to(device))
        pulled.append(
            {target: pull_back(stack, target, room, (side, number, target)).flatten(1).to(dtype) for target in targets}
        )
        nothing = torch.zeros((len(segment.units), len(other)), dtype=torch.float64, device=sums_device(device))
        of_segment = sums_on(stack, other, room) if summed else (nothing, nothing)
        sums.append(of_segment[0])
        squares.append(of_segment[1])
    return Factors(images, tuple(other), tuple(pulled), torch.cat(sums), torch.cat(squares))


def sums_device(device: torch.device) -> torch.device:
    """Where sums in float64 are kept: on the device itself, but Metal knows no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def factor_values(layer: Layer, other: Sequence[Grid]) -> int:
    """How many numbers of :class:`Factors` an image takes for a layer."""
    return layer.channels * sum(height * width for height, width in {product_grid(layer.grid, grid) for grid in other})


def _fill(stack: Tensor, segment: Segment, maps: Mapping[str, Tensor], shift: Tensor) -> None:
    """Maps into (unit, image, y, x) float32: units first, so that a sum over images and positions is one product."""
    row = 0
    for layer, channels in segment.pieces:
        part = maps[layer.name][:, channels].to(stack.device, non_blocking=True).transpose(0, 1)
        rows = slice(row, row + len(part))
        # Two passes: one that widens, puts units first and shifts at once was measured up to four times slower.
        stack[rows].copy_(part).sub_(shift[rows, None, None, None])
        row += len(part)


def pull_back(maps: Tensor, target: Grid, room: Room | None = None, key: Hashable = None) -> Tensor:
    """Apply the adjoint of `U` from `target` to the maps' grid, on the axes where the maps are the finer.

    Parameters
    ----------
    maps : (channel, image, y, x) float32
    target
        The other grid of the pair.
    room, key
        Where the result goes.

    Returns
    -------
    (channel, image, min(y, target y), min(x, target x)) float32
        The maps themselves where nothing is to be done.
    """
    room = room or Room()
    *many, height, width = maps.shape
    y, x = product_grid((height, width), target)
    if (y, x) == (height, width):
        return maps
    pulled = room.take(key, (*many, y, x), maps.device)
    if height * width * y * x <= _DENSE:
        torch.mm(maps.view(-1, height * width), _adjoint(y, x, height, width, maps.device), out=pulled.view(-1, y * x))
        return pulled
    if width > x:
        across = room.take("across", (*many, height, x), maps.device) if height > y else pulled
        torch.mm(maps.view(-1, width), _adjoint(1, x, 1, width, maps.device), out=across.view(-1, x))
        maps = across
    if height > y:
        torch.matmul(_adjoint(y, 1, height, 1, maps.device).T, maps, out=pulled)
    return pulled


@lru_cache(maxsize=256)
def _adjoint(y: int, x: int, height: int, width: int, device: torch.device) -> Tensor:
    """(height · width, y · x) `U` from the coarser grid to the finer; maps times it are pulled back."""
    matrix = np.kron(upsampling(y, height), upsampling(x, width))
    return torch.tensor(matrix, dtype=torch.float32, device=device)


def sums_on(stack: Tensor, other: Sequence[Grid], room: Room, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Σ U a and Σ (U a)² of maps (channel, image, y, x) float32, each (channel, other grid) float64.

    Both are weighted sums over few positions: of the maps themselves with `Uᵀ1`, and of the products of neighbouring
    positions with the entries of the tridiagonal `UᵀU`. The products are summed over images first and serve every
    common grid; `own` are those of each position with itself, (channel, y, x), where they are known already.

    Nothing waits for the device; the sums stay on it (:func:`sums_device`).
    """
    grid, home = (stack.shape[2], stack.shape[3]), sums_device(stack.device)
    commons = [common_grid(grid, theirs) for theirs in other]
    of_images = stack.sum(dim=1).to(home, torch.float64).flatten(1)
    offsets = _OFFSETS if any(common != grid for common in commons) else _OFFSETS[:1]
    products = [] if own is None else [own]
    products += [_neighbour_products(stack, *offset, room) for offset in offsets[len(products) :]]
    products = [product.to(home, torch.float64).flatten(1) for product in products]
    totals: dict[Grid, tuple[Tensor, Tensor]] = {}
    for common in commons:
        if common not in totals:
            square = torch.zeros(len(stack), dtype=torch.float64, device=home)
            for offset, product in zip(offsets, products, strict=True):
                square += product @ _gram_weights(grid, common, *offset, home)
            totals[common] = of_images @ _sum_weights(grid, common, home), square
    columns = [totals[common] for common in commons]
    return torch.stack([sums for sums, _ in columns], dim=1), torch.stack([squares for _, squares in columns], dim=1)


def _neighbour_products(stack: Tensor, down: int, right: int, room: Room) -> Tensor:
    """(channel, y, x) Σ over images of each position times the one so far below and to the right of it."""
    height, width = stack.shape[2:]
    here = stack[:, :, : height - down, max(0, -right) : width - max(0, right)]
    there = stack[:, :, down:, max(0, right) : width + min(0, right)]
    return torch.mul(here, there, out=room.take("product", here.shape, stack.device)).sum(dim=1)


@lru_cache(maxsize=1024)
def _sum_weights(grid: Grid, common: Grid, device: torch.device) -> Tensor:
    """(y · x) `Uᵀ1`."""
    weights = np.outer(sum_weights(grid[0], common[0]), sum_weights(grid[1], common[1]))
    return torch.tensor(weights.ravel(), device=device)


@lru_cache(maxsize=1024)
def _gram_weights(grid: Grid, common: Grid, down: int, right: int, device: torch.device) -> Tensor:
    """What each product of :func:`_neighbour_products` counts in Σ (U a)²; twice where it stands for its mirror too."""
    along_y = np.diagonal(gram(grid[0], common[0]), down)
    along_x = np.diagonal(gram(grid[1], common[1]), abs(right))
    weights = np.outer(along_y, along_x) * (1.0 if (down, right) == (0, 0) else 2.0)
    return torch.tensor(weights.ravel(), device=device)
