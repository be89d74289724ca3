"""One side of a product: activation maps of some images, brought onto every grid that the other side asks for.

A pair's inner products are taken on the coarser of two grids per axis. So each layer's maps are needed on their own
grid and pulled back onto the coarser grids of the other model; no map is ever upsampled (:mod:`rosetta.mining.grid`).
What comes out, :class:`Factors`, belongs to one model alone: it can be made on one machine and multiplied on another.

Each unit is shifted beforehand by an estimate of its mean. A fixed shift changes no correlation, since `U` keeps
constants, but leaves small numbers to multiply in float32.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.factor_sums import sums_device, sums_on
from rosetta.mining.grid import common_grid, product_grid, upsampling
from rosetta.mining.room import BRIEFLY, Room
from rosetta.mining.sparse import SparseRows
from rosetta.mining.split import Split
from rosetta.units import Grid, Layer, Units

_DENSE = 96 * 96
"""Up to this many entries, one dense matrix over both axes beats many small products along one axis each."""

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
Maps = Mapping[str, Tensor | SparseRows]
"""By layer name: (image, channel, y, x) of any floating type, or, mostly zeros, (channel, image · position)."""
Factor = Tensor | SparseRows
"""(unit, image · position), shifted."""

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
    return _segments(units, PANEL)


@lru_cache(maxsize=64)
def _segments(units: Units, size: int) -> list[Segment]:
    found = []
    for start in range(0, len(units), size):
        pieces = units.restrict(slice(start, start + size))
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
    maps: tuple[Mapping[Grid, Factor], ...]
    """For each segment: by the grid of the products."""
    sums: Tensor
    """(unit, other grid) float64 Σ U a, `U` leading to the common grid with each of :attr:`other`."""
    squares: Tensor
    """(unit, other grid) float64 Σ (U a)²."""


@dataclass(frozen=True)
class HalvedFactors:
    """The same of images of both halves: those of the first stand before those of the second."""

    images: tuple[int, int]
    """Of either half."""
    other: tuple[Grid, ...]
    maps: tuple[Mapping[Grid, Factor], ...]
    """For each segment: by the grid of the products, of all images."""
    sums: Tensor
    """(half, unit, other grid) float64 Σ U a."""
    squares: Tensor
    """(half, unit, other grid) float64 Σ (U a)²."""

    @cached_property
    def halves(self) -> tuple[Factors | None, Factors | None]:
        """The factors of either half, None of one without images; they share the memory of these."""
        cut = [{grid: _cut(maps, self.images) for grid, maps in segment.items()} for segment in self.maps]
        first, second = (
            Factors(
                images,
                self.other,
                tuple({grid: halves[number] for grid, halves in segment.items()} for segment in cut),
                self.sums[number],
                self.squares[number],
            )
            if images
            else None
            for number, images in enumerate(self.images)
        )
        return first, second


def _cut(maps: Factor, images: tuple[int, int]) -> Sequence[Factor]:
    """(unit, image · position) of either half."""
    width = maps.width if isinstance(maps, SparseRows) else maps.shape[1]
    first = width // sum(images) * images[0]
    return maps.cut(first) if isinstance(maps, SparseRows) else (maps[:, :first], maps[:, first:])


def factors(
    units: Units,
    maps: Maps,
    shift: Float32,
    other: Sequence[Grid],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    room: Room | None = None,
    side: Hashable = None,
    summed: bool = True,
) -> Factors:
    """Bring one model's maps of some images into the form that is multiplied, as :func:`halved_factors` does it."""
    whole = Split((images_in(units, maps), 0))
    made = halved_factors(
        units, maps, shift, other, whole, device=device, dtype=dtype, room=room, side=side, summed=summed
    )
    return Factors(made.images[0], made.other, made.maps, made.sums[0], made.squares[0])


def halved_factors(
    units: Units,
    maps: Maps,
    shift: Float32,
    other: Sequence[Grid],
    split: Split,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    room: Room | None = None,
    side: Hashable = None,
    summed: bool = True,
) -> HalvedFactors:
    """Bring one model's maps of some images into the form that is multiplied, those of the first half first.

    What comes out for one grid of `other` is bit for bit the same whatever grids stand beside it: so factors made once
    serve the accumulators of several pairs.

    Parameters
    ----------
    units
        The units; `A` in number.
    maps
        Of the layers of these units. A segment whose layers are all mostly zeros stays so on its own grid, on a
        processor and in float32; everything else becomes dense, one segment at a time.
    shift
        (A,) float32, near each unit's mean, the same for every block of a run.
    other
        The distinct grids of the other model, or of all models that these units meet.
    split
        Which images belong to which half; its order is where the maps are.
    dtype
        Of the factors; sums and squares are taken before rounding to it.
    room, side
        Where the factors go; those that it held of the same side are gone then.
    summed
        Whether sums and squares are wanted; 0 if not.
    """
    room, device = room or Room(), torch.device(device)
    pulled, sums, squares = [], [], []
    for number, segment in enumerate(segments(units)):
        targets = dict.fromkeys(product_grid(segment.grid, theirs) for theirs in other)
        below = room.constant((side, number), shift[segment.units], device)
        rows = _sparse(segment, maps, split) if device.type == "cpu" and dtype == torch.float32 else None
        if rows is not None:
            of_segment = _sparse_factors(rows.less(below), segment.grid, split, other, room, (side, number), summed)
            pulled.append(of_segment[0])
            sums.append(of_segment[1])
            squares.append(of_segment[2])
            continue
        # Maps that are multiplied as they are stay; others only pass on their way to coarser grids.
        place = (side, number) if segment.grid in targets else "passing"
        stack = room.take(place, (len(segment.units), split.count, *segment.grid), device)
        _fill(stack, segment, maps, below, split)
        pulled.append(
            {target: pull_back(stack, target, room, (side, number, target)).flatten(1).to(dtype) for target in targets}
        )
        both = sums_on(stack, other, room, split.images) if summed else _no_sums(len(stack), other, device)
        sums.append(both[0])
        squares.append(both[1])
    return HalvedFactors(split.images, tuple(other), tuple(pulled), torch.cat(sums, dim=1), torch.cat(squares, dim=1))


def _sparse(segment: Segment, maps: Maps, split: Split) -> SparseRows | None:
    """(unit, image · position) of a segment whose layers are all mostly zeros, unshifted; else None."""
    layers = [(maps[layer.name], channels) for layer, channels in segment.pieces]
    rows = [one.of_rows(channels) for one, channels in layers if isinstance(one, SparseRows)]
    if len(rows) < len(layers):
        return None
    stacked = SparseRows.stacked(rows)
    return stacked if split.order is None else stacked.in_order(split.order)


def _sparse_factors(
    rows: SparseRows, grid: Grid, split: Split, other: Sequence[Grid], room: Room, key: Hashable, summed: bool
) -> tuple[dict[Grid, Factor], Tensor, Tensor]:
    """Factors, sums and squares of a segment that is mostly zeros.

    Coarser grids of products, and sums on finer ones, are taken from the segment's maps made dense for as long as that
    takes.
    """
    targets = list(dict.fromkeys(product_grid(grid, theirs) for theirs in other))
    own = [common_grid(grid, theirs) == grid for theirs in other]
    stack = None
    if any(target != grid for target in targets) or (summed and not all(own)):
        stack = room.take("passing", (len(rows), split.count * grid[0] * grid[1]), torch.device("cpu"))
        stack = rows.fill(stack).view(len(rows), split.count, *grid)
    made: dict[Grid, Factor] = {}
    for target in targets:
        if target == grid:
            made[target] = rows
        else:
            assert stack is not None
            made[target] = pull_back(stack, target, room, (key, target)).flatten(1)
    if not summed:
        return made, *_no_sums(len(rows), other, torch.device("cpu"))
    # On its own grid from the entries, whatever grids stand beside it.
    halves = [half.sums() for half in rows.cut(split.images[0] * grid[0] * grid[1])]
    exact = torch.stack([sums for sums, _ in halves]), torch.stack([squares for _, squares in halves])
    columns = dict.fromkeys((number for number, alike in enumerate(own) if alike), exact)
    finer = [number for number, alike in enumerate(own) if not alike]
    if finer:
        assert stack is not None
        on_finer = sums_on(stack, [other[number] for number in finer], room, split.images)
        columns |= {number: (on_finer[0][..., at], on_finer[1][..., at]) for at, number in enumerate(finer)}
    sums, squares = (torch.stack([columns[number][one] for number in range(len(other))], dim=2) for one in (0, 1))
    return made, sums, squares


def _no_sums(units: int, other: Sequence[Grid], device: torch.device) -> tuple[Tensor, Tensor]:
    zeros = torch.zeros((2, units, len(other)), dtype=torch.float64, device=sums_device(device))
    return zeros, zeros


def images_in(units: Units, maps: Maps) -> int:
    """How many images the maps of some layers are of."""
    layer = units.layers[0]
    first = maps[layer.name]
    return first.width // (layer.grid[0] * layer.grid[1]) if isinstance(first, SparseRows) else len(first)


def factor_values(layer: Layer, other: Sequence[Grid]) -> int:
    """How many numbers of :class:`Factors` an image takes for a layer."""
    return layer.channels * sum(height * width for height, width in {product_grid(layer.grid, grid) for grid in other})


def _fill(stack: Tensor, segment: Segment, maps: Maps, shift: Tensor, split: Split) -> None:
    """Maps into (unit, image, y, x) float32: units first, so that a sum over images and positions is one product."""
    row = 0
    for layer, channels in segment.pieces:
        of_layer = maps[layer.name]
        if isinstance(of_layer, SparseRows):  # beside layers that are not
            part = of_layer.of_rows(channels).dense().view(-1, *stack.shape[1:]).to(stack.device)
        else:
            part = of_layer[:, channels].to(stack.device, non_blocking=True).transpose(0, 1)
        rows = stack[row : row + len(part)]
        below = shift[row : row + len(part), None, None, None]
        if part.device.type != "cpu" and split.order is not None:
            part = part.index_select(1, split.order.to(part.device))
        for place, image in _places(split if part.device.type == "cpu" else None):
            if part.dtype == stack.dtype:
                torch.sub(part[:, image], below, out=rows[:, place])
            else:  # one pass that widens, puts units first and shifts at once was measured up to four times slower
                rows[:, place].copy_(part[:, image]).sub_(below)
        row += len(part)


def _places(split: Split | None) -> Sequence[tuple[slice, slice]]:
    """Where images go, and which; neighbours that stay together at once."""
    if split is None or split.order is None:
        return [(slice(None), slice(None))]
    order = split.order.numpy()
    ends = [*(np.flatnonzero(np.diff(order) != 1) + 1).tolist(), len(order)]
    starts = [0, *ends[:-1]]
    return [
        (slice(start, end), slice(int(order[start]), int(order[start]) + end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


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
    dense, rows, columns = 8 * _DENSE, y, x
    if maps.device.type == "cpu":
        # In bands, since most of `U` is zero; a GPU would rather multiply with zeros than begin many small products.
        dense, rows, columns = _DENSE, 8 if height <= 64 else 4, 16
    if height * width * y * x <= dense:
        torch.mm(maps.view(-1, height * width), _adjoint(y, x, height, width, maps.device), out=pulled.view(-1, y * x))
        return pulled
    # Rows first: a few of them out of a whole map is a product of a better shape than a few columns out of many rows.
    if height > y:
        fewer = room.take("fewer rows", (*many, y, width), maps.device) if width > x else pulled
        source, result = maps.view(-1, height, width), fewer.view(-1, y, width)
        for coarse, fine, part in _bands(y, height, rows, maps.device):
            whole = len(part) == y
            band = result if whole else room.take(BRIEFLY, (len(source), len(part), width), maps.device)
            torch.matmul(part, source[:, fine], out=band)
            if not whole:
                result[:, coarse] = band
        maps = fewer
    if width > x:
        source, result = maps.view(-1, width), pulled.view(-1, x)
        for coarse, fine, part in _bands(x, width, columns, maps.device):
            torch.mm(source[:, fine], part.T, out=result[:, coarse])
    return pulled


@lru_cache(maxsize=256)
def _adjoint(y: int, x: int, height: int, width: int, device: torch.device) -> Tensor:
    """(height · width, y · x) `U` from the coarser grid to the finer; maps times it are pulled back."""
    matrix = np.kron(upsampling(y, height), upsampling(x, width))
    return torch.tensor(matrix, dtype=torch.float32, device=device)


@lru_cache(maxsize=256)
def _bands(coarse: int, fine: int, size: int, device: torch.device) -> list[tuple[slice, slice, Tensor]]:
    """`Uᵀ` of one axis, `size` coarse positions at a time: these, the fine ones that reach them, and (coarse, fine)."""
    matrix, bands = upsampling(coarse, fine), []
    for start in range(0, coarse, size):
        span = slice(start, min(start + size, coarse))
        reach = np.flatnonzero(matrix[:, span].any(axis=1))
        source = slice(int(reach[0]), int(reach[-1]) + 1)
        bands.append((span, source, torch.tensor(matrix[source, span].T, dtype=torch.float32, device=device)))
    return bands
