"""A panel of pairs, judged: against chance, in either half of the images, without position.

All in standardised units (:mod:`~rosetta.mining.trust.profile`) and on each pair's common grid. `A` and `B` count the
units of the panel's sides, `Ga` and `Gb` their distinct grids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
class PanelSide:
    """One side of a panel."""

    units: Units
    std: Float64
    """(A,) of the maps on the native grid, in which everything else is measured."""
    mean_on: Float64
    """(A, Gb) over all images, on the common grid with each grid of the other side."""
    std_on: Float64
    """(A, Gb)"""
    mean_maps: Mapping[str, Tensor]
    """By layer: (1, channel, y, x) float32."""
    covariances: list[Covariances]
    """Of the thumbs; grid by grid."""
    dead: Flags
    """(A, 2) whether a unit holds one single value in a half of the images."""

    @property
    def square_on(self) -> Float64:
        """(A, Gb) mean squares over all images."""
        return self.std_on**2 + self.mean_on**2


@dataclass(frozen=True)
class Means:
    """Mean products of every pair over some images, with what makes correlations of them."""

    cross: Float64
    """(A, B)"""
    mean_a: Float64
    """(A, Gb)"""
    square_a: Float64
    """(A, Gb)"""
    mean_b: Float64
    """(B, Ga)"""
    square_b: Float64
    """(B, Ga)"""

    def without(self, part: "Means", share: float) -> "Means":
        """Those over the other images.

        Parameters
        ----------
        part
            Over some of the images.
        share
            What share of all images these are.
        """
        mine, theirs = vars(self), vars(part)
        return Means(*((mine[key] - share * theirs[key]) / (1.0 - share) for key in mine))

    def joined(self, other: "Means", share: float) -> "Means":
        """Those over these and other images; `share` is that of these."""
        mine, theirs = vars(self), vars(other)
        return Means(*(share * mine[key] + (1.0 - share) * theirs[key] for key in mine))

    def pearson(self, a: Units, b: Units, dead_a: Flags, dead_b: Flags) -> Float32:
        """(A, B) correlations; NaN where a unit is dead."""
        on_a, on_b = b.grid_index(), a.grid_index()
        deviation_a = np.sqrt(_positive(self.square_a - self.mean_a**2, dead_a))
        deviation_b = np.sqrt(_positive(self.square_b - self.mean_b**2, dead_b))
        value = self.cross - self.mean_a[:, on_a] * self.mean_b[:, on_b].T
        value /= deviation_a[:, on_a] * deviation_b[:, on_b].T
        return np.clip(value, -1.0, 1.0, out=value).astype(np.float32)


def _positive(variance: Float64, dead: Flags) -> Float64:
    return np.where(dead[:, None] | (variance <= 0), np.nan, variance)


def positions(a: Units, b: Units) -> Float64:
    """(Ga, Gb) positions of the common grid of every pair of grids."""
    return np.array(
        [[np.prod(common_grid(left, right)) for right in b.grids()] for left in a.grids()], dtype=np.float64
    )


def means_of(
    moments: Moments,
    a: Units,
    b: Units,
    std_a: Float64,
    std_b: Float64,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> Means:
    """Mean products out of the moments of some images.

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
    part_a, part_b = a.cut(_bounds(rows, len(a))), b.cut(_bounds(columns, len(b)))
    count = moments.images * positions(part_a, part_b)
    count_a, count_b = count[part_a.grid_index()], count.T[part_b.grid_index()]
    place_a, place_b = np.argsort(segment_order(a))[rows], np.argsort(segment_order(b))[columns]
    on_a = np.ix_(place_a, np.array([b.grids().index(grid) for grid in part_b.grids()]))
    on_b = np.ix_(place_b, np.array([a.grids().index(grid) for grid in part_a.grids()]))
    scale_a, scale_b = (1.0 / np.where(std > 0, std, np.inf) for std in (std_a[rows], std_b[columns]))
    cross = moments.cross[np.ix_(place_a, place_b)]
    cross /= count_a[:, part_b.grid_index()]
    cross *= scale_a[:, None]
    cross *= scale_b[None, :]
    return Means(
        cross,
        moments.sum_a[on_a] / count_a * scale_a[:, None],
        moments.square_a[on_a] / count_a * scale_a[:, None] ** 2,
        moments.sum_b[on_b] / count_b * scale_b[:, None],
        moments.square_b[on_b] / count_b * scale_b[:, None] ** 2,
    )


def _bounds(span: slice, count: int) -> slice:
    start, stop, _ = span.indices(count)
    return slice(start, stop)


def means_of_all(pearson: Float32, a: PanelSide, b: PanelSide) -> Means:
    """Mean products over all images, from the correlations that these came to."""
    on_a, on_b = b.units.grid_index(), a.units.grid_index()
    cross = pearson * (a.std_on[:, on_a] * b.std_on[:, on_b].T) + a.mean_on[:, on_a] * b.mean_on[:, on_b].T
    return Means(cross, a.mean_on, a.square_on, b.mean_on, b.square_on)


@dataclass(frozen=True)
class Chance:
    """What chance and position make of every pair of a panel."""

    deviation: Float32
    """(A, B) how many standard deviations of its null a correlation lies above the null's mean."""
    null_std: Float32
    """(A, B) standard deviation of the correlation when images are exchanged."""
    centred: Float32
    """(A, B) correlation after each unit's mean map is taken away; NaN where nothing is left."""


def chance(pearson: Float32, a: PanelSide, b: PanelSide, images: int) -> Chance:
    """Compare every correlation with its null.

    Parameters
    ----------
    pearson
        (A, B) over all images.
    images
        Of the run, 2 or more.
    """
    on_a, on_b = b.units.grid_index(), a.units.grid_index()
    scale = a.std_on[:, on_a] * b.std_on[:, on_b].T
    maps = _mean_map_products(a, b)
    # Means over positions: the mean map has the same mean as all maps.
    positional = (maps.cross - maps.mean_a[:, on_a] * maps.mean_b[:, on_b].T) / scale
    share_a = (maps.square_a - maps.mean_a**2) / a.std_on**2
    share_b = (maps.square_b - maps.mean_b**2) / b.std_on**2
    left = pearson - positional
    rest = np.maximum(1.0 - share_a, 0.0)[:, on_a] * np.maximum(1.0 - share_b, 0.0)[:, on_b].T
    variance = permutation_variance(a.covariances, b.covariances, images, pearson.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Where all images are alike, rounding is all that is left.
        null_std = np.sqrt(np.where(rest > 1e-10, variance, np.nan)) / scale
        centred = left / np.sqrt(np.where(rest > 1e-10, rest, np.nan))
        deviation = left / null_std
    return Chance(
        np.where(np.isfinite(deviation), deviation, np.nan).astype(np.float32),
        null_std.astype(np.float32),
        np.clip(centred, -1.0, 1.0).astype(np.float32),
    )


def _mean_map_products(a: PanelSide, b: PanelSide) -> Means:
    """Of the mean maps, as if they were the maps of a single image."""
    of_a = factors(a.units, a.mean_maps, np.zeros(len(a.units), np.float32), b.units.grids(), side="a")
    of_b = factors(b.units, b.mean_maps, np.zeros(len(b.units), np.float32), a.units.grids(), side="b")
    total = Accumulator(a.units, b.units)
    total.add(of_a, of_b)
    return means_of(total.moments(), a.units, b.units, np.ones(len(a.units)), np.ones(len(b.units)))
