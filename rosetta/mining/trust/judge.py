"""A panel of pairs, judged: against chance, in either half of the images, without position.

All in standardised units (:mod:`~rosetta.mining.trust.profile`) and on each pair's common grid. `A` and `B` count the
units of the panel's sides, `Ga` and `Gb` their distinct grids.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rosetta.mining.factors import factors
from rosetta.mining.grid import common_grid
from rosetta.mining.moments import Accumulator, Moments, segment_order
from rosetta.mining.trust.chance import Covariances, permutation_variance
from rosetta.units import Units

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OnCommon:
    """What makes a correlation of a mean product: some units on the common grids with the other side."""

    mean: Float64
    """(A, Gb)"""
    square: Float64
    """(A, Gb) mean square."""

    def deviation(self, dead: Flags) -> Float64:
        """(A, Gb) standard deviations; NaN for units that are dead."""
        variance = self.square - self.mean**2
        return np.sqrt(np.where(dead[:, None] | (variance <= 0), np.nan, variance))


@dataclass(frozen=True)
class PanelSide:
    """One side of a panel."""

    units: Units
    std: Float64
    """(A,) of the maps on the native grid, in which everything else is measured."""
    whole: OnCommon
    """Over all images."""
    halves: tuple[OnCommon, OnCommon]
    """Over either half of them."""
    mean_maps: Mapping[str, Tensor]
    """By layer: (1, channel, y, x) float32."""
    covariances: list[Covariances]
    """Of the thumbs; grid by grid."""
    dead: Flags
    """(A, 2) whether a unit holds one single value in a half of the images."""


@dataclass(frozen=True)
class Panel:
    """Pairs of units of two models."""

    a: PanelSide
    b: PanelSide

    def spread(self, of_a: Float64, of_b: Float64) -> Float64:
        """(A, B) products of (A, Gb) and (B, Ga), each taken on the pair's common grid."""
        return of_a[:, self.b.units.grid_index()] * of_b[:, self.a.units.grid_index()].T

    @cached_property
    def _on_all(self) -> tuple[Float64, Float64]:
        """(A, B) products of both units' means, and of their deviations, over all images; NaN where one is constant."""
        a, b = self.a, self.b
        deviations = a.whole.deviation(a.std == 0), b.whole.deviation(b.std == 0)
        return self.spread(a.whole.mean, b.whole.mean), self.spread(*deviations)

    @cached_property
    def _on_halves(self) -> list[tuple[Float64, Float64]]:
        """The same over either half; NaN where a unit is dead in it."""
        found = []
        for half in range(2):
            a, b = (side.halves[half] for side in (self.a, self.b))
            deviations = a.deviation(self.a.dead[:, half]), b.deviation(self.b.dead[:, half])
            found.append((self.spread(a.mean, b.mean), self.spread(*deviations)))
        return found

    def scale(self) -> Float64:
        """(A, B) products of both units' deviations over all images; NaN where one is constant."""
        return self._on_all[1]

    def covariances(self, products: Float64) -> Float64:
        """(A, B) covariances out of mean products over all images."""
        return products - self._on_all[0]

    def pearson(self, products: Float64, half: int | None = None) -> Float32:
        """(A, B) correlations out of mean products over all images, or over a half; NaN where a unit is dead."""
        means, scale = self._on_all if half is None else self._on_halves[half]
        value = products - means
        value /= scale
        return np.clip(value, -1.0, 1.0, out=value).astype(np.float32)

    def products(self, pearson: Float32) -> Float64:
        """(A, B) mean products over all images, out of the correlations that they came to."""
        means, scale = self._on_all
        value = pearson * scale
        value += means
        return value

    def products_of_half(self, pearson: Float32, half: int) -> Float64:
        """The same over a half; a unit that is dead in it does not vary, and only its mean counts."""
        means, scale = self._on_halves[half]
        value = pearson * scale
        value[np.isnan(scale)] = 0.0
        value += means
        return value


def mean_products(
    moments: Moments,
    a: Units,
    b: Units,
    std_a: Float64,
    std_b: Float64,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> Float64:
    """(row, column) mean products of standardised maps on the pairs' common grids, out of the moments of some images.

    Parameters
    ----------
    moments
        Of maps shifted by their means.
    a, b
        The units of the moments' sides.
    std_a, std_b
        Of these; a constant unit's is 0 and it gets no product.
    rows, columns
        Which of the units; all, if left out.
    """
    counts = moments.images * _positions(a, b)[a.grid_index()[rows]][:, b.grid_index()[columns]]
    place_a, place_b = np.argsort(segment_order(a))[rows], np.argsort(segment_order(b))[columns]
    scale_a, scale_b = (1.0 / np.where(std > 0, std, np.inf) for std in (std_a[rows], std_b[columns]))
    products = moments.cross[np.ix_(place_a, place_b)]
    products /= counts
    products *= scale_a[:, None]
    products *= scale_b[None, :]
    return products


def _positions(a: Units, b: Units) -> Float64:
    """(Ga, Gb) how many positions each common grid has."""
    return np.array([[np.prod(common_grid(left, right)) for right in b.grids()] for left in a.grids()], np.float64)


@dataclass(frozen=True)
class Chance:
    """What chance and position make of every pair of a panel."""

    deviation: Float32
    """(A, B) how many standard deviations of its null a correlation lies above the null's mean."""
    null_std: Float32
    """(A, B) standard deviation of the correlation when images are exchanged."""
    centred: Float32
    """(A, B) correlation after each unit's mean map is taken away; NaN where nothing is left."""


def chance(pearson: Float32, panel: Panel, images: int) -> Chance:
    """Compare every correlation with its null.

    Parameters
    ----------
    pearson
        (A, B) over all images.
    images
        Of the run, 2 or more.
    """
    a, b = panel.a, panel.b
    scale = panel.scale()
    maps, squares = _mean_maps(panel)
    # A mean map has the mean of all maps.
    left = panel.covariances(maps)
    left /= scale
    np.subtract(pearson, left, out=left)
    shares = [
        np.maximum(1.0 - (square - side.whole.mean**2) / side.whole.deviation(side.std == 0) ** 2, 0.0)
        for square, side in zip(squares, (a, b), strict=True)
    ]
    rest = panel.spread(*shares)
    # Where all images are alike, rounding is all that is left.
    rest[rest <= 1e-10] = np.nan
    variance = permutation_variance(a.covariances, b.covariances, images, pearson.shape)
    null_std = np.sqrt(np.maximum(variance, 0.0)) / scale
    null_std[np.isnan(rest) | (null_std == 0)] = np.nan
    centred = left / np.sqrt(rest, out=rest)
    left /= null_std
    return Chance(
        left.astype(np.float32),
        null_std.astype(np.float32),
        np.clip(centred, -1.0, 1.0, out=centred).astype(np.float32),
    )


def _mean_maps(panel: Panel) -> tuple[Float64, tuple[Float64, Float64]]:
    """(A, B) mean products of the mean maps, and their mean squares, (A, Gb) and (B, Ga): as if of a single image."""
    a, b = panel.a.units, panel.b.units
    of_a = factors(a, panel.a.mean_maps, np.zeros(len(a), np.float32), b.grids(), side="a")
    of_b = factors(b, panel.b.mean_maps, np.zeros(len(b), np.float32), a.grids(), side="b")
    total = Accumulator(a, b)
    total.add(of_a, of_b)
    moments = total.moments()
    counts = _positions(a, b)
    squares = (
        moments.square_a[np.argsort(segment_order(a))] / counts[a.grid_index()],
        moments.square_b[np.argsort(segment_order(b))] / counts.T[b.grid_index()],
    )
    return mean_products(moments, a, b, np.ones(len(a)), np.ones(len(b))), squares
