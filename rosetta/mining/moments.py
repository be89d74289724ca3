"""Moments of a pair of models: what a correlation needs from some images, in sums that add up over images.

Cross moments are matrix products of two models' :mod:`~rosetta.mining.factors`, summed in float32 for as long as that
is exact enough, and then in float64 (:class:`Accumulator`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial, reduce
from operator import add
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.exact import Scales
from rosetta.mining.factor_sums import sums_device
from rosetta.mining.factors import PANEL, Factor, Factors, segments
from rosetta.mining.grid import product_grid
from rosetta.mining.sparse import SparseRows
from rosetta.units import Grid, Units

Precision = Literal["float32", "tf32", "bfloat16"]
Float64 = npt.NDArray[np.float64]

_TERMS = {torch.float32: 8192, torch.bfloat16: 65536}
"""Terms of one sum in float32, by the type of the factors. Over a million of them rounding reached 2e-5 of a
correlation; over 8,192, 1e-7. Factors in bfloat16 err by far more than the sum of eight times as many."""
_SPARSE_COLUMNS = 256
"""Units of the other side that are multiplied at once with maps that are mostly zeros."""
_JOINED = {"cuda": 4}
"""Panels a side that are multiplied at once, by kind of device; 1 if it is not named.

A product of two panels takes a GPU little longer than being told to begin, and so small a one leaves much of it idle.
How large a product is decides how it is rounded. So on a GPU the last bits depend on where tiles begin and end; on a
processor they depend on nothing."""


@dataclass(frozen=True)
class Moments:
    """What the correlation of two sets of units needs from some images; sums over more images are sums of these.

    `A` and `B` count units, which stand segment by segment (:func:`segment_order`); `Ga` and `Gb` distinct grids
    (:meth:`Units.grids`). Column `g` of a unit's sums is for the common grid of that unit's own grid with the other
    model's grid `g`.
    """

    images: int
    """How many images these sums run over."""
    cross: Float64
    """(A, B) Σ ⟨U a, U b⟩."""
    sum_a: Float64
    """(A, Gb) Σ U a."""
    square_a: Float64
    """(A, Gb) Σ (U a)²."""
    sum_b: Float64
    """(B, Ga) Σ U b."""
    square_b: Float64
    """(B, Ga) Σ (U b)²."""

    def __add__(self, other: "Moments") -> "Moments":
        sums = (getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        return Moments(*sums)


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Add moments up, left to right: the order is fixed, so the same parts give the same bytes."""
    return reduce(add, parts)


@dataclass(frozen=True, eq=False)
class _Block:
    """Segments of one grid in neighbouring panels of a tile, which are multiplied at once."""

    grid: Grid
    segments: tuple[int, ...]
    """Their numbers."""
    rows: tuple[slice, ...]
    """Where each of them stands among the moments."""

    @property
    def sizes(self) -> list[int]:
        """Units of each segment."""
        return [rows.stop - rows.start for rows in self.rows]

    def joined(self, maps: Sequence[Mapping[Grid, Factor]], target: Grid) -> Factor:
        """(unit, image · position) maps of all segments on the grid of a product."""
        parts = [maps[number][target] for number in self.segments]
        if len(parts) == 1:
            return parts[0]
        return torch.cat([part.dense() if isinstance(part, SparseRows) else part for part in parts])


@dataclass
class _Product:
    """The products of two blocks since they were last added to the sums in float64."""

    a: _Block
    b: _Block
    total: Tensor
    """(row, column) float32"""
    terms: int = 0
    """How many are summed in each entry."""


@dataclass(frozen=True, eq=False)
class _SparseUse:
    """One product of some images with a factor that is mostly zeros."""

    product: _Product
    rows: SparseRows
    other: Factor
    flipped: bool
    """Whether the sparse factor is that of the second side."""


class Accumulator:
    """Sums the moments of a tile of units over step after step of images.

    Products are summed in float32 over up to `N` terms, images times positions, within a step and across steps. Then
    they are added to sums in float64, and begun anew; when that is follows from the steps alone. `N` is 8,192, and
    65,536 of factors in bfloat16.

    Summing `N` products in float32 errs by at most `γ Σ|a b|`, with `γ = N u / (1 - N u)` and `u` = 2⁻²⁴ (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), however many images there are. For 8,192 that is
    5e-4 of `|a| |b|`. It takes additions in the worst order, each rounded the same way: on a processor products that
    are all alike came to 1.1e-5, and random ones of one sign to 6e-7.

    Memory: 12 bytes for each pair of units, 8 of them for the sums in float64.
    """

    def __init__(
        self,
        units_a: Units,
        units_b: Units,
        *,
        device: torch.device | str = "cpu",
        above: tuple[int, int] | None = None,
        scales: Scales | None = None,
    ) -> None:
        """Begin at zero.

        Parameters
        ----------
        units_a, units_b
            The tile's units; each side begins at a multiple of :data:`~rosetta.mining.factors.PANEL` of its model.
        above
            Of a model with itself, where its matrix is symmetric: the panels with which the sides begin. Panels below
            the diagonal stay 0.
        scales
            Brings cross moments to one scale and makes them exact: they come to the same bits in whatever order they
            are added, as long as sums are settled after the same images.
        """
        device = torch.device(device)
        self._scales = scales
        self._above = above
        self._images = 0
        self._grids = units_a.grids(), units_b.grids()
        zeros = partial(torch.zeros, dtype=torch.float64, device=sums_device(device))
        self._cross = zeros((len(units_a), len(units_b)))
        self._sums_a = zeros((2, len(units_a), len(self._grids[1])))
        self._sums_b = zeros((2, len(units_b), len(self._grids[0])))
        joined = _JOINED.get(device.type, 1)
        self._products = [
            _Product(a, b, torch.empty((sum(a.sizes), sum(b.sizes)), device=device))
            for a in _blocks(units_a, joined)
            for b in _blocks(units_b, joined)
            if any(self._counts(rows, columns) for rows in a.rows for columns in b.rows)
        ]

    def add(self, a: Factors, b: Factors) -> None:
        """Add the moments of some images, given by both sides' factors on the accumulator's device.

        Either side's may have been made for more grids than the other side has; what belongs to those is passed over.
        Nothing here waits for the device.
        """
        self._images += a.images
        for total, side, grids in ((self._sums_a, a, self._grids[1]), (self._sums_b, b, self._grids[0])):
            total[0].add_(_columns(side.sums, side.other, grids))
            total[1].add_(_columns(side.squares, side.other, grids))
        of_a, of_b = (cache(partial(_Block.joined, maps=side.maps)) for side in (a, b))
        sparse: list[_SparseUse] = []
        for product in self._products:
            target = product_grid(product.a.grid, product.b.grid)
            maps_a, maps_b = of_a(product.a, target=target), of_b(product.b, target=target)
            if isinstance(maps_a, SparseRows):
                sparse.append(_SparseUse(product, maps_a, maps_b, flipped=False))
                continue
            if isinstance(maps_b, SparseRows):
                sparse.append(_SparseUse(product, maps_b, maps_a, flipped=True))
                continue
            terms = _TERMS[maps_a.dtype]
            for part_a, part_b in zip(maps_a.split(terms, dim=1), maps_b.split(terms, dim=1), strict=True):
                self._multiply(product, part_a, part_b)
        self._add_sparse(sparse)

    def moments(self) -> Moments:
        """The sums so far; the accumulator is not to be added to afterwards."""
        self.settle()
        sums = (self._cross, *self._sums_a, *self._sums_b)
        return Moments(self._images, *(each.cpu().numpy() for each in sums))

    @property
    def cross(self) -> Tensor:
        """(A, B) float64 the cross moments so far, once they are settled; they may be written to."""
        return self._cross

    def settle(self) -> None:
        """Add what was summed in float32 to the sums in float64."""
        for product in self._products:
            self._settle(product)

    def _counts(self, rows: slice, columns: slice) -> bool:
        """Whether a segment of the tile meets another on the diagonal or above."""
        return self._above is None or self._above[0] + rows.start // PANEL <= self._above[1] + columns.start // PANEL

    def _multiply(self, product: _Product, a: Tensor, b: Tensor) -> None:
        """Add a bᵀ of (unit, term) maps."""
        if product.terms + a.shape[1] > _TERMS[a.dtype]:
            self._settle(product)
        begun, product.terms = product.terms > 0, product.terms + a.shape[1]
        if a.dtype == torch.float32:
            torch.addmm(product.total, a, b.T, beta=int(begun), out=product.total)
            return
        # On a processor torch rounds each product to the factors' type, and only sums over several are exact.
        part = torch.mm(a, b.T, out_dtype=torch.float32) if a.is_cuda else torch.mm(a, b.T)
        if begun:
            product.total.add_(part)
        else:
            product.total.copy_(part)

    def _add_sparse(self, uses: Iterable["_SparseUse"]) -> None:
        """Add products with a factor that is mostly zeros; the other one stands upright once for all that meet it."""
        by_other: dict[int, list[_SparseUse]] = {}
        for use in uses:
            by_other.setdefault(id(use.other), []).append(use)
        terms = _TERMS[torch.float32]
        split = cache(lambda rows: rows.split(terms))
        for of_other in by_other.values():
            other = of_other[0].other
            pieces = split(other) if isinstance(other, SparseRows) else other.split(terms, dim=1)
            for number, piece in enumerate(pieces):
                upright = piece.upright() if isinstance(piece, SparseRows) else piece.T
                # Blocks that stay close to the processor: nearly twice as fast as all columns at once, measured.
                blocks = [block.contiguous() for block in upright.split(_SPARSE_COLUMNS, dim=1)]
                for use in of_other:
                    product, rows = use.product, split(use.rows)[number]
                    if product.terms + len(upright) > terms:
                        self._settle(product)
                    total = product.total.T if use.flipped else product.total
                    for place, block in zip(total.split(_SPARSE_COLUMNS, dim=1), blocks, strict=True):
                        if product.terms:
                            place.add_(rows.times(block))
                        else:
                            place.copy_(rows.times(block))
                    product.terms += len(upright)

    def _settle(self, product: _Product) -> None:
        """Add what was summed in float32 to the sums in float64, and begin anew."""
        if not product.terms:
            return
        total = product.total.to(self._cross.device)
        for rows, part in zip(product.a.rows, total.split(product.a.sizes), strict=True):
            for columns, panel in zip(product.b.rows, part.split(product.b.sizes, dim=1), strict=True):
                if not self._counts(rows, columns):
                    continue
                if self._scales is None:
                    self._cross[rows, columns].add_(panel)
                else:
                    self._scales.add(self._cross, panel, rows, columns)
        product.terms = 0


def _columns(sums: Tensor, of: tuple[Grid, ...], grids: tuple[Grid, ...]) -> Tensor:
    """(unit, grid) of (unit, `of`): those columns that belong to `grids`."""
    return sums if of == grids else torch.stack([sums[:, of.index(grid)] for grid in grids], dim=1)


def _blocks(units: Units, panels: int) -> list[_Block]:
    """Cut units up so that segments of one grid in so many neighbouring panels are multiplied at once."""
    blocks: dict[tuple[int, Grid], list[tuple[int, slice]]] = {}
    start = 0
    for number, segment in enumerate(segments(units)):
        rows = slice(start, start + len(segment.units))
        blocks.setdefault((start // (panels * PANEL), segment.grid), []).append((number, rows))
        start = rows.stop
    return [
        _Block(grid, tuple(number for number, _ in parts), tuple(rows for _, rows in parts))
        for (_, grid), parts in blocks.items()
    ]


def segment_order(units: Units) -> npt.NDArray[np.intp]:
    """(unit,) unit indices in the order of moments."""
    return np.concatenate([segment.units for segment in segments(units)])


def factor_dtype(precision: Precision) -> torch.dtype:
    """The type that factors are multiplied in."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
