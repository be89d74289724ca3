"""What the maps of matched units say of each match, beyond one correlation: all over all images and positions.

With `a` and `b` the two units' maps, each less its mean over all images and its own positions and over its standard
deviation, and `U` the way to the pair's common grid (:mod:`rosetta.mining.grid`), products are taken on the pair's
product grid, `⟨U a, U b⟩ = ⟨a, Uᵀ b⟩` where `b` is the finer, so nothing is ever upsampled:

- *five sums* of each image, Σ Ua·Ub, Σ Ua, Σ (Ua)², Σ Ub, Σ (Ub)²: what a correlation `r` of any of these images
  follows from. Intervals and the influence of an image are taken from them (:mod:`rosetta.mining.trust.bootstrap`).
- *few positions*: the products `v = a · Uᵀb` of all `n` positions of the product grid of all images add up to the
  covariance, but for the means of both units on the common grid, which are all but 0. This is the share of that sum
  which its `⌈0.001 n⌉` largest terms hold. It is above 1 where all others together are negative, and NaN where `r` is
  not above 0.
- *robust*: the correlation of `U min(a, c_a)` and `U min(b, c_b)`, `c` each unit's 99.9th percentile on its own grid;
  0 where nothing varies below it.
- *within classes*: the correlation of `U (a − A)` and `U (b − B)`, where `A` is the mean map of all images of the same
  class. Such sums are those of all images less `n_c` times those of the mean maps, class by class: of cross products,

      Σ_i ⟨U(a_i − A), U(b_i − B)⟩ = Σ_i ⟨U a_i, U b_i⟩ − Σ_c n_c ⟨U A_c, U B_c⟩.

  The map of an image that is alone in its class is its own mean, and vanishes. Where nothing varies within any class,
  the correlation is 0. Of more than 128 classes the largest count alone (:class:`Classes`).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.factors import pull_back
from rosetta.mining.grid import common_grid, gram, product_grid, sum_weights
from rosetta.mining.plan import ranges
from rosetta.mining.trust.bootstrap import ImageSums, correlation
from rosetta.mining.trust.largest import Largest
from rosetta.units import Grid

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

MOST_CLASSES = 128
"""Whose mean maps are there at once: of a map of 112 × 112 positions those take 6 MiB for each unit."""
FEW = 0.001
"""The share of positions that are few."""
_AT_ONCE = 2**18
"""Products at once, which stay close to the processor."""
_NOTHING = 1e-5
"""Of a sum of squares: less than this once class means are taken away is rounding."""


@dataclass(frozen=True, eq=False)
class CellSide:
    """The distinct units of one layer that some pairs have on one side."""

    grid: Grid
    channels: Index
    """(unit,) in the layer."""
    mean: Float32
    """(unit,) over all images and native positions."""
    std: Float64
    """(unit,) 0 where a unit holds one single value."""
    cap: Float32
    """(unit,) 99.9th percentile of the values."""

    def standardised(self, maps: Tensor) -> Tensor:
        """(unit, image, y, x) of maps (image, channel, y, x) of the layer: of mean 0, variance 1; 0 of a dead unit."""
        chosen = maps.transpose(0, 1).index_select(0, torch.from_numpy(self.channels))
        return chosen.sub_(_upright(self.mean)).mul_(_upright(self._scale))

    @property
    def clip(self) -> Tensor:
        """(unit, 1, 1, 1) where standardised maps are clipped."""
        return _upright((self.cap - self.mean) * self._scale)

    @property
    def _scale(self) -> Float32:
        return np.divide(1.0, self.std, out=np.zeros_like(self.std), where=self.std > 0).astype(np.float32)


def _upright(values: Float32) -> Tensor:
    return torch.from_numpy(values)[:, None, None, None]


@dataclass(frozen=True, eq=False)
class Cell:
    """Some pairs between two layers."""

    a: CellSide
    b: CellSide
    of_a: Index
    """(pair,) which unit of the first side each has."""
    of_b: Index
    """(pair,)"""

    @property
    def common(self) -> Grid:
        """The grid that they are compared on."""
        return common_grid(self.a.grid, self.b.grid)

    @property
    def product(self) -> Grid:
        """The grid that their products are taken on."""
        return product_grid(self.a.grid, self.b.grid)


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes within which matches are looked at."""

    of_images: npt.NDArray[np.int64]
    """(image,) 0 to C − 1; −1 of an image that does not count."""

    @classmethod
    def of(cls, codes: npt.NDArray[np.integer]) -> "Classes | None":
        """The largest classes, at most :data:`MOST_CLASSES`, and of these only such as have two images.

        Parameters
        ----------
        codes
            (image,) number of its class; below 0 where that is not known.
        """
        counts = np.bincount(codes[codes >= 0])
        chosen = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
        chosen = chosen[counts[chosen] >= 2]
        if not len(chosen):
            return None
        number = np.full(len(counts) + 1, -1)
        number[chosen] = np.arange(len(chosen))
        return cls(number[np.where(codes < 0, len(counts), codes)])

    @property
    def images(self) -> npt.NDArray[np.int64]:
        """(class,) how many each has."""
        return np.bincount(self.of_images[self.of_images >= 0])

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Examined:
    """What the maps say of the pairs of a cell, (pair,) each."""

    sums: ImageSums
    few_positions: Float64
    robust: Float64
    within: Float64


class CellSums:
    """Sums of a cell that grow while maps pass by, image after image.

    What comes out depends on how many images pass by at a time, in the last bits, and on nothing else.
    """

    def __init__(self, cell: Cell, images: int, classes: Classes | None = None) -> None:
        self._cell, self._classes, self._done = cell, classes, 0
        pairs, units_a, units_b = len(cell.of_a), len(cell.a.channels), len(cell.b.channels)
        height, width = cell.common
        self._sums = ImageSums(
            height * width,
            np.ones(images),
            np.zeros((pairs, images), np.float32),
            np.zeros((2, units_a, images), np.float32),
            np.zeros((2, units_b, images), np.float32),
            cell.of_a,
            cell.of_b,
        )
        self._clipped = np.zeros((5, pairs))
        self._few = ceil(FEW * images * cell.product[0] * cell.product[1])
        self._largest: list[tuple[slice, Largest]] = []
        self._class_maps = [
            torch.zeros((len(side.channels), classes.count + 1, *side.grid))
            for side in (cell.a, cell.b)
            if classes is not None
        ]

    def add(self, maps_a: Tensor, maps_b: Tensor) -> None:
        """Take the maps (image, channel, y, x) of the next images, of all channels of both layers."""
        cell, sums, images = self._cell, self._sums, slice(self._done, self._done + len(maps_a))
        maps = cell.a.standardised(maps_a), cell.b.standardised(maps_b)
        if self._classes is not None:
            # Images that do not count go to a row behind all classes.
            of_images = self._classes.of_images[images]
            row = torch.from_numpy(np.where(of_images < 0, self._classes.count, of_images))
            for total, one in zip(self._class_maps, maps, strict=True):
                total.index_add_(1, row, one)
        a, b = self._brought(*maps)
        cross = torch.empty((len(cell.of_a), len(maps_a)))
        for pairs, largest in self._in_parts(cross.shape[1]):
            products = _product(a, b, cell.of_a[pairs], cell.of_b[pairs])
            cross[pairs] = products.sum(dim=2)
            largest.add(products)
        sums.cross[:, images], sums.a[..., images], sums.b[..., images] = cross, a.own, b.own
        self._add_clipped(a, b, cross)
        self._done = images.stop

    def _in_parts(self, images: int) -> list[tuple[slice, Largest]]:
        """Some pairs at a time, with the largest of their products; the same at every step."""
        if not self._largest:
            values, pairs = images * self._cell.product[0] * self._cell.product[1], len(self._cell.of_a)
            parts = ranges(pairs, max(1, _AT_ONCE // values))
            self._largest = [(part, Largest(part.stop - part.start, self._few)) for part in parts]
        return self._largest

    def _add_clipped(self, a: "_Brought", b: "_Brought", cross: Tensor) -> None:
        """Add the sums of clipped maps; the maps and sums that are given are clipped themselves.

        Few maps reach as far, so all others stay what they are.
        """
        cell, images = self._cell, cross.shape[1]
        of_a, of_b = torch.from_numpy(cell.of_a), torch.from_numpy(cell.of_b)
        reach = a.clip(cell.a.clip, cell.common)[of_a] | b.clip(cell.b.clip, cell.common)[of_b]
        flat = torch.nonzero(reach.flatten())[:, 0]
        for some in flat.split(max(1, _AT_ONCE // a.pulled.shape[2])):
            pair, image = some // images, some % images
            rows = [
                side.pulled.flatten(0, 1).index_select(0, of[pair] * images + image)
                for side, of in ((a, of_a), (b, of_b))
            ]
            cross.view(-1)[some] = rows[0].mul_(rows[1]).sum(dim=1)
        self._clipped += _by_pair(cell, cross.numpy(), a.own.numpy(), b.own.numpy())

    def examined(self) -> Examined:
        """What is left to say once all images have passed by."""
        sums, pearson = self._sums, self._sums.pearson()
        few = [largest.values()[:, -self._few :].sum(axis=1, dtype=np.float64) for _, largest in self._largest]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(pearson > 0, np.concatenate(few) / sums.cross.sum(axis=1, dtype=np.float64), np.nan)
        robust = _or_nothing(correlation(self._clipped, len(sums.images) * sums.positions, _NOTHING), pearson)
        within = np.full(len(pearson), np.nan)
        if self._classes is not None:
            within = _or_nothing(self._within(self._classes), pearson)
        return Examined(sums, share, robust, within)

    def _within(self, classes: Classes) -> Float64:
        """(pair,) the correlation once class means are taken away."""
        cell, sums, counting = self._cell, self._sums, classes.of_images >= 0
        roots = torch.from_numpy(np.sqrt(classes.images)).float()[:, None, None]
        a, b = self._brought(*(total[:, :-1] / roots for total in self._class_maps))  # mean maps times √n_c
        cross = torch.empty((len(cell.of_a), classes.count))
        for pairs in ranges(len(cross), max(1, _AT_ONCE // a.pulled[0].numel())):
            cross[pairs] = _product(a, b, cell.of_a[pairs], cell.of_b[pairs]).sum(dim=2)
        whole = _by_pair(cell, sums.cross[:, counting], sums.a[..., counting], sums.b[..., counting])
        left = whole - _by_pair(cell, cross.numpy(), a.own.numpy(), b.own.numpy())
        left[[1, 3]] = 0.0  # each class has mean 0 now, and so has all
        count = int(counting.sum()) * sums.positions
        return correlation(left, count, _NOTHING * whole[[2, 4]] / count)

    def _brought(self, a: Tensor, b: Tensor) -> "tuple[_Brought, _Brought]":
        cell = self._cell
        return _Brought.of(a, cell.b.grid, cell.common), _Brought.of(b, cell.a.grid, cell.common)


@dataclass(frozen=True, eq=False)
class _Brought:
    """Maps of one side, and what the products of a cell take of them."""

    maps: Tensor
    """(unit, image, y, x)"""
    other: Grid
    """Of the other side."""
    pulled: Tensor
    """(unit, image, position) on the product grid."""
    own: Tensor
    """(2, unit, image) Σ U a and Σ (U a)² on the common grid."""

    @classmethod
    def of(cls, maps: Tensor, other: Grid, common: Grid) -> "_Brought":
        """Bring maps (unit, image, y, x) there."""
        return cls(maps, other, pull_back(maps, other).flatten(2), _own_sums(maps, common))

    def clip(self, clip: Tensor, common: Grid) -> Tensor:
        """Clip the maps at (unit, 1, 1, 1), where they are; (unit, image) whether each reaches as far."""
        reach = self.maps.flatten(2).amax(dim=2) > clip[:, 0, 0]
        unit, image = torch.nonzero(reach, as_tuple=True)
        if len(unit):
            far = self.maps.flatten(0, 1).index_select(0, unit * reach.shape[1] + image)
            found = _Brought.of(torch.minimum(far, clip[unit, 0], out=far)[None], self.other, common)
            self.pulled[unit, image], self.own[:, unit, image] = found.pulled[0], found.own[:, 0]
        return reach


def _product(a: _Brought, b: _Brought, of_a: Index, of_b: Index) -> Tensor:
    """(pair, image, position) products of some pairs."""
    rows = [side.pulled.index_select(0, torch.from_numpy(of)) for side, of in ((a, of_a), (b, of_b))]
    return rows[0].mul_(rows[1])


def _or_nothing(left: Float64, pearson: Float64) -> Float64:
    """A correlation of what is left, 0 where nothing varies any more; NaN where there was none in the first place."""
    return np.where(np.isnan(pearson), np.nan, np.nan_to_num(left))


def _by_pair(cell: Cell, cross: Float32, a: Float32, b: Float32) -> Float64:
    """(sum, pair) over all images of (pair, image) and (2, unit, image)."""
    rows = [cross.sum(axis=1, dtype=np.float64)]
    for side, of in ((a, cell.of_a), (b, cell.of_b)):
        rows += list(side.sum(axis=2, dtype=np.float64)[:, of])
    return np.stack(rows)


def _own_sums(maps: Tensor, common: Grid) -> Tensor:
    """(2, unit, image) Σ U a and Σ (U a)² of maps (unit, image, y, x).

    `UᵀU` is tridiagonal per axis. So with `T = a UᵀU` along rows, the second sum takes only products of positions in
    the same row and in neighbouring ones.
    """
    height, width = maps.shape[2:]
    if (height, width) == common:
        flat = maps.flatten(2)
        return torch.stack([flat.sum(dim=2), torch.linalg.vector_norm(flat, dim=2).square_()])
    sums, along_y, beside_y, along_x = _weights((height, width), common)
    across = (maps.reshape(-1, width) @ along_x).view(maps.shape)
    squares = (maps * across).sum(dim=3) @ along_y
    if height > 1:
        squares += 2 * ((maps[:, :, 1:] * across[:, :, :-1]).sum(dim=3) @ beside_y)
    return torch.stack([maps.flatten(2) @ sums, squares])


@lru_cache(maxsize=256)
def _weights(grid: Grid, common: Grid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`Uᵀ1` of all positions; `UᵀU` down the maps, its diagonal and the one beside it; and all of it across."""
    sums = np.outer(sum_weights(grid[0], common[0]), sum_weights(grid[1], common[1])).ravel()
    down, across = gram(grid[0], common[0]), gram(grid[1], common[1])
    values = sums, np.diagonal(down), np.diagonal(down, 1), across
    a, b, c, d = (torch.tensor(one, dtype=torch.float32) for one in values)
    return a, b, c, d
