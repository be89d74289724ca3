"""Correlations with the images of one model exchanged, for several exchanges at once.

The images are cut into `E + 1` blocks of equal length, and exchange `j` pairs block `q` of A with block `q + j` of B,
counted round: image i with image `i + jL`, at least a block away, so that neighbours in an ordered collection do not
meet. The at most `E` images that fill no block, and a few more where blocks then begin with chunks of the stores, take
no part.

What all exchanges need, `Σ_q A_q B_{q+j}ᵀ` for every j, is a circular correlation over blocks. Its Fourier transform is
a product for each frequency: five products of a block in all for three exchanges, in place of twelve.

Maps may be multiplied on coarse grids, of so many positions a side at most (:data:`SIDES`); for maps that are no finer
the result is exact. Finer detail hardly changes how far a correlation strays when images are exchanged
(:mod:`~rosetta.mining.trust.thumbs`), but it does change which of many that are all close to 0 come first. Sums are in
float32.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL, Factors, segments
from rosetta.mining.grid import product_grid
from rosetta.mining.sparse import SparseRows
from rosetta.units import Grid, Units

SIDES = (16, 8)
"""Positions a side of the grids that maps are multiplied on, at most: where that is affordable, and else."""
_LOST = 0.02
"""Share of the images that may be left out so that blocks begin with chunks."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Exchange:
    """How the images of a run are exchanged."""

    count: int
    """`E`: how many exchanges."""
    length: int
    """`L`: images in each of the `E + 1` blocks."""
    side: int = SIDES[-1]
    """Positions a side, at most."""

    @classmethod
    def of(cls, images: int, count: int, chunk: int, side: int = SIDES[-1]) -> "Exchange":
        """Cut images up for so many exchanges; `chunk` is how many images a store reads at once.

        Raises
        ------
        UserError
            There are too few images.
        """
        length = images // (count + 1)
        if not length:
            raise UserError(f"trust.exchanges = {count} is too much for {images} images; give at most {images - 1}")
        aligned = length // chunk * chunk
        return cls(count, aligned if length - aligned <= _LOST * length else length, side)

    @property
    def blocks(self) -> int:
        """`E + 1`."""
        return self.count + 1

    @property
    def sums(self) -> int:
        """How many are kept of each pair of units."""
        return len(_Transform.of(self.blocks).left)

    @property
    def images(self) -> int:
        """How many images take part."""
        return self.blocks * self.length

    def spans(self, part: slice) -> list[slice]:
        """The images of a part of every block."""
        return [
            slice(block * self.length + part.start, block * self.length + part.stop) for block in range(self.blocks)
        ]

    def product(self, a: Grid, b: Grid) -> Grid:
        """The grid that a pair's inner products are taken on."""
        return product_grid(product_grid(a, b), (self.side, self.side))

    def grids(self, others: Sequence[Grid]) -> tuple[Grid, ...]:
        """The distinct grids of a partner, none finer than products are taken on."""
        return tuple(dict.fromkeys(self.product(one, one) for one in others))


class Waves:
    """One side of the products: the Fourier transform of maps over blocks, of as many images of each."""

    def __init__(self, exchange: Exchange, images: int, right: bool) -> None:
        """Make room.

        Parameters
        ----------
        images
            Of each block.
        right
            Whether this is side B.
        """
        self.images = images
        """Of each block."""
        transform = _Transform.of(exchange.blocks)
        self._weights = (transform.right if right else transform.left).tolist()
        self._terms: dict[tuple[int, Grid], Tensor] = {}

    def put(self, made: Factors, block: int, first: int) -> None:
        """Take the factors of some images of a block, of which `first` come before them; of block 0 to begin with."""
        for number, targets in enumerate(made.maps):
            for grid, factor in targets.items():
                maps = factor.dense() if isinstance(factor, SparseRows) else factor
                positions = prod(grid)
                terms = self._terms.get((number, grid))
                if terms is None:
                    terms = maps.new_empty((len(self._weights), len(maps), self.images * positions))
                    self._terms[number, grid] = terms
                here = terms[:, :, first * positions : first * positions + maps.shape[1]]
                for term, weights in zip(here, self._weights, strict=True):
                    if block:
                        term.add_(maps, alpha=weights[block])
                    else:
                        torch.mul(maps, weights[block], out=term)

    def terms(self, segment: int, grid: Grid) -> Tensor:
        """(sum, unit, term) what this side gives to each sum."""
        return self._terms[segment, grid]


@dataclass(frozen=True)
class _Transform:
    """The Fourier transform over blocks, so that sums of products of one term each say all.

    Of each frequency, with coefficients `a` of A and `b` of B, `conj(a) b` is asked for. It takes three real products
    (Gauss): of both real parts, of both imaginary parts, and of `Re a + Im a` with `Im b - Re b`; one where all
    coefficients are real.
    """

    left: Tensor
    """(sum, block) float32 of A."""
    right: Tensor
    """(sum, block) float32 of B."""
    back: Tensor
    """(exchange, sum) float32 what each sum counts in each exchange; 0 first, which exchanges nothing."""

    @classmethod
    @cache
    def of(cls, blocks: int) -> "_Transform":
        """For so many blocks."""
        left: list[Float64] = []
        right: list[Float64] = []
        back: list[Float64] = []
        for frequency in range(blocks // 2 + 1):
            angle = 2 * np.pi * frequency * np.arange(blocks) / blocks
            real, imaginary = np.cos(angle), np.sin(angle)
            if frequency == 0 or 2 * frequency == blocks:
                left, right, back = [*left, real], [*right, real], [*back, real]
                continue
            left += [real, -imaginary, real - imaginary]
            right += [real, -imaginary, -imaginary - real]
            # The real part of the product is the sum of the first two; the imaginary one first - second + third.
            back += [2 * (real - imaginary), 2 * (real + imaginary), -2 * imaginary]
        sums = (np.stack(left), np.stack(right), np.stack(back, axis=1) / blocks)
        return cls(*(torch.tensor(one, dtype=torch.float32) for one in sums))


class ExchangedSums:
    """Sums of products of a tile of units over step after step of images, for every exchange.

    Memory: 4 bytes for each pair of units and sum, of which there are five for three exchanges.
    """

    def __init__(self, units_a: Units, units_b: Units, exchange: Exchange, device: torch.device | str = "cpu") -> None:
        self._exchange = exchange
        self._sides = _placed(units_a), _placed(units_b)
        self._sums = torch.zeros((exchange.sums, len(units_a), len(units_b)), device=device)

    def add(self, a: Waves, b: Waves) -> None:
        """Add the products of some images of every block."""
        for left, grid_a, rows in self._sides[0]:
            for right, grid_b, columns in self._sides[1]:
                grid = self._exchange.product(grid_a, grid_b)
                terms = a.terms(left, grid), b.terms(right, grid)
                for total, one, other in zip(self._sums[:, rows, columns], *terms, strict=True):
                    total.addmm_(one, other.T)

    @property
    def sums(self) -> Float32:
        """(sum, unit_a, unit_b) what adds up over images; units segment by segment."""
        return self._sums.cpu().numpy()


def _placed(units: Units) -> list[tuple[int, Grid, slice]]:
    """Each segment with its number and where it stands in sums."""
    found, start = [], 0
    for number, segment in enumerate(segments(units)):
        found.append((number, segment.grid, slice(start, start + len(segment.units))))
        start += len(segment.units)
    return found


@dataclass(frozen=True)
class OnGrids:
    """What makes correlations of products: the units of one side of a tile on the common grids with the other."""

    units: Units
    std: Float64
    """(unit,) on the native grid."""
    mean_on: Float64
    """(unit, other grid) of the standardised maps."""
    std_on: Float64
    """(unit, other grid); 0 or NaN where a unit is constant."""

    def scale(self, units: npt.NDArray[np.intp], grid: int) -> tuple[Tensor, Tensor]:
        """(unit,) float32 what products are multiplied by, NaN where a unit is constant, and the mean in standard
        deviations."""
        std, std_on = self.std[units], self.std_on[units, grid]
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where((std > 0) & (std_on > 0), 1.0 / (std * std_on), np.nan)
            mean = self.mean_on[units, grid] / std_on
        return torch.from_numpy(scale.astype(np.float32)), torch.from_numpy(mean.astype(np.float32))


def exchanged_pearson(
    sums: Float32, a: OnGrids, b: OnGrids, exchange: Exchange, number: int
) -> Iterator[tuple[slice, Float32]]:
    """The correlations of a tile under one exchange, from 1, in bands: rows, and their (unit_a, unit_b) correlations.

    NaN where a unit is constant.
    """
    weights = _Transform.of(exchange.blocks).back[number]
    grids_a, grids_b = a.units.grids(), b.units.grids()
    of_b = [(segment, grids_b.index(grid), columns) for (_, grid, columns), segment in _segments_of(b.units)]
    band, place = np.zeros((0, 0), np.float32), slice(0, 0)
    for (_, grid_a, rows), segment in _segments_of(a.units):
        start = rows.start // PANEL * PANEL
        if start != place.start or not len(band):
            if len(band):
                yield place, band
            place = slice(start, min(start + PANEL, len(a.units)))
            band = np.empty((place.stop - start, len(b.units)), np.float32)
        for other, grid_b, columns in of_b:
            grid = exchange.product(grid_a, grids_b[grid_b])
            count = exchange.images * prod(grid_a) * prod(grids_b[grid_b]) / prod(grid)
            scale_a, mean_a = a.scale(segment, grid_b)
            scale_b, mean_b = b.scale(other, grids_a.index(grid_a))
            part = torch.from_numpy(sums[:, rows, columns])
            value = torch.tensordot(weights / count, part, dims=1)
            value.mul_(scale_a[:, None]).mul_(scale_b).addr_(mean_a, mean_b, alpha=-1)
            band[np.ix_(segment - start, other)] = value.numpy()
    yield place, band


def _segments_of(units: Units) -> list[tuple[tuple[int, Grid, slice], npt.NDArray[np.intp]]]:
    return list(zip(_placed(units), (segment.units for segment in segments(units)), strict=True))
