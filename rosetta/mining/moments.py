"""Moments of a pair of models: what a correlation needs from some images, in sums that add up over images.

Cross moments are matrix products of two models' :mod:`~rosetta.mining.factors`: in float32 or below within a step of
images, summed over steps in float64 (:class:`Accumulator`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from operator import add
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.factors import PANEL, Factors, segments, sums_device
from rosetta.mining.grid import product_grid
from rosetta.units import Grid, Units

Precision = Literal["float32", "tf32", "bfloat16"]
Float64 = npt.NDArray[np.float64]

_TERMS = 8192
"""Terms of one sum in float32. Over a million of them rounding reached 2e-5 of a correlation; over so many, 1e-7."""


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


class Accumulator:
    """Sums the moments of a tile of units over step after step of images."""

    def __init__(
        self,
        units_a: Units,
        units_b: Units,
        *,
        device: torch.device | str = "cpu",
        above: tuple[int, int] | None = None,
    ) -> None:
        """Begin at zero.

        Parameters
        ----------
        units_a, units_b
            The tile's units; each side begins at a multiple of :data:`~rosetta.mining.factors.PANEL` of its model.
        above
            Of a model with itself, where its matrix is symmetric: the panels with which the sides begin. Panels below
            the diagonal stay 0.
        """
        device = torch.device(device)
        self._segments = _places(units_a), _places(units_b)
        self._above = above
        self._images = 0
        self._grids = units_a.grids(), units_b.grids()
        zeros = partial(torch.zeros, dtype=torch.float64, device=sums_device(device))
        self._cross = zeros((len(units_a), len(units_b)))
        self._sums_a = zeros((2, len(units_a), len(self._grids[1])))
        self._sums_b = zeros((2, len(units_b), len(self._grids[0])))
        self._room = torch.empty(min(PANEL, len(units_a)) * min(PANEL, len(units_b)), device=device)

    def add(self, a: Factors, b: Factors) -> None:
        """Add the moments of some images, given by both sides' factors on the accumulator's device.

        Either side's may have been made for more grids than the other side has; what belongs to those is passed over.
        Nothing here waits for the device.
        """
        self._images += a.images
        for total, side, grids in ((self._sums_a, a, self._grids[1]), (self._sums_b, b, self._grids[0])):
            total[0] += _columns(side.sums, side.other, grids)
            total[1] += _columns(side.squares, side.other, grids)
        for (grid_a, rows), maps_a in zip(self._segments[0], a.maps, strict=True):
            for (grid_b, columns), maps_b in zip(self._segments[1], b.maps, strict=True):
                if self._is_below(rows.start // PANEL, columns.start // PANEL):
                    continue
                target = product_grid(grid_a, grid_b)
                for part_a, part_b in zip(
                    maps_a[target].split(_TERMS, dim=1), maps_b[target].split(_TERMS, dim=1), strict=True
                ):
                    product = self._product(part_a, part_b)
                    self._cross[rows, columns].add_(product.to(self._cross.device))

    def moments(self) -> Moments:
        """The sums so far; the accumulator is not to be added to afterwards."""
        sums = (self._cross, *self._sums_a, *self._sums_b)
        return Moments(self._images, *(each.cpu().numpy() for each in sums))

    def _is_below(self, row: int, column: int) -> bool:
        """Whether a panel of the tile lies below the diagonal."""
        return self._above is not None and self._above[0] + row > self._above[1] + column

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        """(row, column) a bᵀ in float32 where the device can."""
        if a.dtype == torch.float32:
            return torch.mm(a, b.T, out=self._room[: len(a) * len(b)].view(len(a), len(b)))
        # On a processor torch rounds each product to the factors' type, and only the sums over steps are exact.
        return torch.mm(a, b.T, out_dtype=torch.float32) if a.is_cuda else torch.mm(a, b.T)


def _columns(sums: Tensor, of: tuple[Grid, ...], grids: tuple[Grid, ...]) -> Tensor:
    """(unit, grid) of (unit, `of`): those columns that belong to `grids`."""
    return sums if of == grids else torch.stack([sums[:, of.index(grid)] for grid in grids], dim=1)


def _places(units: Units) -> list[tuple[Grid, slice]]:
    """Each segment's grid and where it stands among all."""
    found = segments(units)
    ends = np.cumsum([len(segment.units) for segment in found])
    return [
        (segment.grid, slice(int(end) - len(segment.units), int(end))) for segment, end in zip(found, ends, strict=True)
    ]


def segment_order(units: Units) -> npt.NDArray[np.intp]:
    """(unit,) unit indices in the order of moments."""
    return np.concatenate([segment.units for segment in segments(units)])


def factor_dtype(precision: Precision) -> torch.dtype:
    """The type that factors are multiplied in."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
