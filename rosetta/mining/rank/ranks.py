"""Maps of one grid on a common grid: what is ranked, read step by step, and how ranks are multiplied.

Both ways to rank (:mod:`rosetta.mining.rank.spearman`) go through the units that share a grid, a :class:`Stack`, a few
images at a time, and add up products of what they get.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import common_grid
from rosetta.units import Grid, Layer, Units

Source = Callable[[], Iterable[Mapping[str, Tensor]]]
"""A model's maps. Each call goes over the same consecutive blocks of images in the same order; a block holds, by layer
name, (image, channel, y, x) maps on the CPU of any floating type, all finite. Only the layers of one grid are asked for
at a time, so a mapping may load on access. Like any function, a source is hashable; equal ones give equal maps."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """One side of a rank correlation."""

    units: Units
    source: Source
    """Their maps."""
    constant: Flags
    """(unit,) whether a unit's maps hold one single value; it then has no correlation."""


FIXED = 64 * 2**20
"""Bytes that are needed whatever the sizes: buffers of the matrix product, and what the allocator keeps for later."""

_STEP = 8192
"""Positions of the common grid that are handled together, of all units; one image at least."""

_SUM = 1024
"""Positions that a matrix product sums in float32; float64 from there on. Adding the same number again and again, as
the many ties of a ReLU make it do, rounds the same way each time: over 8192 positions correlations are some 2e-6 off,
over 1024 some 1e-7."""

_BATCH = 2**18
"""Values that are upsampled or looked up together (one unit over one step at least): temporaries stay in cache."""


def upsample(maps: Tensor, common: Grid) -> Tensor:
    """`U` of :mod:`rosetta.mining.grid`, in float64 and rounded once.

    Parameters
    ----------
    maps : (image, channel, y, x) of any floating type
    common
        The grid to reach, on no axis smaller than the maps'.

    Returns
    -------
    (channel, image · Y · X) float32
        The float32 values nearest to the interpolated ones. In float64 the weights `1 - w` and `w` of two equal
        neighbours give their value up to an error far below half a step of float32, so it is met exactly.
    """
    turned = maps.transpose(0, 1).float().contiguous()
    if turned.shape[2:] != common:
        interpolate = torch.nn.functional.interpolate
        turned = interpolate(turned.double(), size=common, mode="bilinear", align_corners=False).float()
    return turned.flatten(1)


@dataclass(frozen=True)
class Stack:
    """The units of a model that share a grid, as they are read for one common grid. Equal stacks read equal values."""

    source: Source
    """Where the maps come from."""
    units: Units
    """All units of the model."""
    grid: Grid
    """The grid of those that are meant."""
    common: Grid
    """The grid to upsample to."""
    images: int
    """How many images there are."""

    def __len__(self) -> int:
        return _count(self.units, self.grid)

    @property
    def layers(self) -> list[tuple[Layer, slice]]:
        """The layers of the grid, and the unit indices that each holds."""
        return [(layer, span) for layer, span in self.units.spans() if layer.grid == self.grid]

    @property
    def index(self) -> npt.NDArray[np.intp]:
        """(unit,) the index in the model of each unit of the stack."""
        return np.concatenate([np.arange(span.start, span.stop) for _, span in self.layers])

    @property
    def size(self) -> int:
        """Positions of the common grid."""
        return self.common[0] * self.common[1]

    @property
    def values(self) -> int:
        """Values per unit."""
        return self.images * self.size

    def steps(self) -> "Iterator[Step]":
        """Some images of a block at a time, all blocks in order.

        Raises
        ------
        ValueError
            If the blocks do not add up to `images`.
        """
        name, together, before = self.layers[0][0].name, step_images(self.size), 0
        for maps in self.source():
            count = maps[name].shape[0]
            if before + count > self.images:
                raise ValueError(f"the source of {name} holds more than {self.images} images")
            for first in range(0, count, together):
                last = min(first + together, count)
                positions = slice((before + first) * self.size, (before + last) * self.size)
                yield Step(self, maps, slice(first, last), positions)
            before += count
        if before < self.images:
            raise ValueError(f"the source of {name} holds {before} images, not {self.images}")


@dataclass(frozen=True)
class Step:
    """A few consecutive images of a stack."""

    stack: Stack
    """Whose images."""
    maps: Mapping[str, Tensor]
    """The block that they are in."""
    images: slice
    """Which images of the block."""
    positions: slice
    """Where the values of these images are among all values of a unit."""

    def __len__(self) -> int:
        return self.positions.stop - self.positions.start

    def batches(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the stack, and their (unit, position) float32 values on the common grid."""
        together, row = max(1, _BATCH // len(self)), 0
        for layer, _ in self.stack.layers:
            maps = self.maps[layer.name][self.images]
            for channel in range(0, layer.channels, together):
                values = upsample(maps[:, channel : channel + together], self.stack.common)
                yield slice(row, row + len(values)), values
                row += len(values)


def step_images(size: int) -> int:
    """How many images a step has at most, with `size` positions of the common grid each."""
    return max(1, _STEP // size)


def stack_pairs(a: Ranked, b: Ranked, images: int) -> list[tuple[Stack, Stack]]:
    """The stacks of A and B that make up all pairs of units; neighbours share a stack where they can.

    For a common grid `C` come first the pairs of `C` in A with what is smaller in B, then `C` with itself, then the
    pairs of what is smaller in A with `C` in B. So, of nested grids, each is ranked once per common grid.
    """

    def order(pair: tuple[Grid, Grid]) -> tuple[Grid, bool, Grid, Grid]:
        common = common_grid(*pair)
        return common, pair[0] != common, pair[1], pair[0]

    return [
        (
            Stack(a.source, a.units, grid_a, common_grid(grid_a, grid_b), images),
            Stack(b.source, b.units, grid_b, common_grid(grid_a, grid_b), images),
        )
        for grid_a, grid_b in sorted(product(a.units.grids(), b.units.grids()), key=order)
    ]


def add_products(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add to the (A, B) float64 `total` the products of (A, position) and (B, position) float32 rows."""
    for start in range(0, a.shape[1], _SUM):
        total += a[:, start : start + _SUM] @ b[:, start : start + _SUM].T


def product_bytes(a: int, b: int) -> int:
    """Bytes of a float64 total, a float32 product and the copy in which the one is added to the other."""
    return (8 + 4 + 8) * a * b


def batch_bytes(size: int, images: int) -> int:
    """Bytes of one batch in float64 and float32 on the native and the common grid, or of its cells being found."""
    return 40 * max(_BATCH, min(images, step_images(size)) * size)


def largest_pair(need: Callable[[int, int, int], int], units_a: Units, units_b: Units) -> int:
    """The largest of `need`(units of A, units of B, positions of the common grid) over the pairs of grids."""

    def of(a: Grid, b: Grid) -> int:
        height, width = common_grid(a, b)
        return need(_count(units_a, a), _count(units_b, b), height * width)

    return max(of(a, b) for a, b in product(units_a.grids(), units_b.grids()))


def _count(units: Units, grid: Grid) -> int:
    return sum(layer.channels for layer in units.layers if layer.grid == grid)
