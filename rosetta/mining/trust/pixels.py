"""What plain pixel features explain of a match, from cross moments alone.

The partial correlation of two units given some features is the correlation of what is left of each after a linear
regression on the features. It needs no residual maps: with the correlations of either unit with the features and of the
features with each other, all on the pair's common grid, it is a matter of a small linear system.

Features are made once, on one square grid. They meet a unit on every common grid that the unit has with its partners,
`R` being the resampling from the features' grid onto it: means over cells where it is coarser, `U` where it is finer.
As with units, nothing is resampled: `⟨U a, R f⟩ = ⟨a, UᵀR f⟩`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rosetta.mining.grid import Matrix, upsampling
from rosetta.mining.trust.banded import Banded, moved
from rosetta.units import Grid

Float64 = npt.NDArray[np.float64]

_RANK = 1e-6
"""Directions of the features with less than this share of the largest variance count as none: in a grey picture the
three colours are one but for rounding."""


@cache
def resampling(features: int, common: int) -> Matrix:
    """(common, features) `R` on one axis; rows sum to 1."""
    if common >= features:
        return upsampling(features, common)
    edges = np.linspace(0, features, common + 1)
    positions = np.arange(features)
    overlap = np.minimum(edges[1:, None], positions + 1) - np.maximum(edges[:-1, None], positions)
    return np.maximum(overlap, 0.0) * (common / features)


_DENSE = 256 * 256
"""Entries of a matrix over both axes, at most."""
FEATURE_BLOCK = 16
"""Images whose features are worked on at once, counted from the run's first. Whoever asks for which of them, products
have the same shapes, and so the same bytes."""


class FeatureBlock:
    """The features of up to :data:`FEATURE_BLOCK` images, on whatever grids they are asked for."""

    def __init__(self, features: Tensor) -> None:
        """Take features (image, feature, y, x) float32."""
        self._own = features.transpose(0, 1).contiguous()
        self.images, self._side = len(features), features.shape[-1]
        self._on: dict[Grid, Tensor] = {}
        self._lock = Lock()

    def on(self, grid: Grid) -> Tensor:
        """(feature, image, y, x) means over the cells of a grid, per axis where it is coarser than their own."""
        with self._lock:
            return self._mean((min(grid[0], self._side), min(grid[1], self._side)))

    def _mean(self, grid: Grid) -> Tensor:
        if grid == (self._side, self._side):
            return self._own
        if grid not in self._on:
            if all(2 * size <= self._side and self._side % (2 * size) == 0 for size in grid):
                found = avg_pool2d(self._mean((2 * grid[0], 2 * grid[1])), 2)
            else:
                found = moved(self._own, *(self._mean_of(size) for size in grid))
            self._on[grid] = found
        return self._on[grid]

    def _mean_of(self, size: int) -> Banded | None:
        return None if size == self._side else Banded.of(resampling(self._side, size), self._own.device)


@dataclass(frozen=True)
class FeatureSpan:
    """The features of neighbouring images."""

    blocks: Sequence[FeatureBlock]
    """Those in which they lie."""
    first: int
    """Where in the first block they begin."""

    @classmethod
    def of(cls, features: Tensor) -> "FeatureSpan":
        """All of some features (image, feature, y, x), which begin with a block."""
        return cls([FeatureBlock(part) for part in features.split(FEATURE_BLOCK)], 0)

    def at(self, image: int) -> "FeatureSpan":
        """Those from an image of the span on."""
        block, first = divmod(self.first + image, FEATURE_BLOCK)
        return FeatureSpan(self.blocks[block:], first)

    def rows(self, products: "FeatureProducts", images: slice) -> list[Tensor]:
        """By common grid: (feature, image, position) on the products' grid, of some of the images."""
        start, stop = self.first + images.start, self.first + images.stop
        parts = []
        for index in range(start // FEATURE_BLOCK, -(-stop // FEATURE_BLOCK)):
            offset = index * FEATURE_BLOCK
            here = slice(max(start - offset, 0), min(stop - offset, FEATURE_BLOCK))
            parts.append(products.rows(self.blocks[index], here))
        return parts[0] if len(parts) == 1 else [torch.cat(rows, dim=1) for rows in zip(*parts, strict=True)]


class FeatureProducts:
    """Products of one layer's maps with the features on several common grids.

    Per axis whichever of the two is the finer is brought to the other's grid: features to the layer's by `UᵀR`, or maps
    to the features' by `RᵀU`.
    """

    def __init__(self, native: Grid, side: int, commons: Sequence[Grid], device: torch.device) -> None:
        """
        Parameters
        ----------
        native
            The layer's grid.
        side
            Of the features' square grid.
        commons
            None coarser than `native` on either axis.
        """
        self.commons = tuple(commons)
        self._ways = [
            tuple(_to_product_grid(native[axis], side, common[axis], device) for axis in (0, 1))
            for common in self.commons
        ]
        self._dense = [_dense(down.features, across.features) for down, across in self._ways]
        self._maps_move = native[0] > side or native[1] > side

    def rows(self, features: FeatureBlock, images: slice) -> list[Tensor]:
        """By common grid: (feature, image, position) of some images' features, on the products' grid."""
        found = []
        for common, (down, across), dense in zip(self.commons, self._ways, self._dense, strict=True):
            seen = features.on(common)[:, images]
            if dense is None:
                found.append(moved(seen, down.features, across.features).flatten(2))
            else:
                found.append(torch.mm(seen.flatten(2).flatten(0, 1), dense).view(*seen.shape[:2], -1))
        return found

    def cross(self, maps: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """(channel, common, feature) Σ ⟨U a, R f⟩ of maps (channel, image, y, x), over the images of both."""
        if not self._maps_move:
            flat = [row.flatten(1) for row in rows]
            product = torch.mm(maps.flatten(1), (flat[0] if len(flat) == 1 else torch.cat(flat)).T)
            return product.view(len(maps), len(self.commons), -1)
        found = []
        for (down, across), row in zip(self._ways, rows, strict=True):
            found.append(torch.mm(moved(maps, down.maps, across.maps).flatten(1), row.flatten(1).T))
        return torch.stack(found, dim=1)


@dataclass(frozen=True)
class _Way:
    """What features and maps are multiplied with on one axis, to meet on the coarser grid; None where they stay."""

    features: Banded | None
    """(product, features on the common grid, or on their own where that is coarser)"""
    maps: Banded | None
    """(product, native)"""


def _to_product_grid(native: int, side: int, common: int, device: torch.device) -> _Way:
    up = upsampling(native, common)
    if native > side:
        return _Way(None, Banded.of(resampling(side, common).T @ up, device))
    if common <= side:
        return _Way(None if native == common else Banded.of(up.T, device), None)
    return _Way(Banded.of(up.T @ resampling(side, common), device), None)


def _dense(down: Banded | None, across: Banded | None) -> Tensor | None:
    """(features' position, position) both axes in one matrix where it is small: one product beats hundreds."""
    if down is None or across is None or down.whole.numel() * across.whole.numel() > _DENSE:
        return None
    return torch.kron(down.whole, across.whole).T.contiguous()


@dataclass(frozen=True)
class FeatureMoments:
    """Mean and covariance of the features on one common grid, over all images."""

    mean: Float64
    """(feature,)"""
    covariance: Float64
    """(feature, feature)"""


def partial_correlation(pearson: Float64, of_a: Float64, of_b: Float64, features: Float64) -> Float64:
    """Partial correlations of pairs of units given the features, all on the pairs' common grid.

    Parameters
    ----------
    pearson
        (pair,) correlations of the units.
    of_a, of_b
        (pair, feature) correlations of each unit with each feature; those with a constant feature are not looked at.
    features
        (feature, feature) covariance of the features.

    Returns
    -------
    (pair,) float64
        NaN where the features explain a unit wholly, or the unit has no correlation.

    Notes
    -----
    ``(r − αᵀR⁻¹β) / √((1 − αᵀR⁻¹α)(1 − βᵀR⁻¹β))`` with the features' correlation matrix `R`, which has no inverse as a
    rule: features are sums of one another. Its pseudo-inverse gives the same regression.
    """
    deviation = np.sqrt(np.diagonal(features))
    alive = deviation > 0
    if not alive.any():
        return pearson.copy()
    scaled = features[np.ix_(alive, alive)] / np.outer(deviation[alive], deviation[alive])
    values, vectors = np.linalg.eigh(scaled)
    kept = values > _RANK * values.max()
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    a, b = of_a[:, alive] @ whitening, of_b[:, alive] @ whitening
    left_a, left_b = 1.0 - (a * a).sum(axis=1), 1.0 - (b * b).sum(axis=1)
    # What rounding leaves of a unit that is a sum of features is no signal.
    whole = (left_a < 1e-6) | (left_b < 1e-6)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (pearson - (a * b).sum(axis=1)) / np.sqrt(np.where(whole, np.nan, left_a * left_b))
    return np.clip(found, -1.0, 1.0)


class FeatureSums:
    """Sums the features' moments on some common grids over block after block of images.

    On a grid finer than their own, `⟨R f, R g⟩ = ⟨f, RᵀR g⟩`: nothing is upsampled here either.
    """

    def __init__(self, side: int, features: int, commons: Sequence[Grid], device: torch.device | str = "cpu") -> None:
        """Begin at zero; `side` is that of the features' own grid."""
        self.commons, self.images, device = tuple(commons), 0, torch.device(device)
        self._ways = [[_moment_way(side, axis, device) for axis in common] for common in self.commons]
        self.sums = torch.zeros(len(self.commons), features, dtype=torch.float64, device=device)
        """(common, feature) Σ R f."""
        self.products = torch.zeros(len(self.commons), features, features, dtype=torch.float64, device=device)
        """(common, feature, feature) Σ ⟨R f, R g⟩."""

    def add(self, features: FeatureBlock) -> None:
        """Add some images."""
        self.images += features.images
        for index, (common, (down, across)) in enumerate(zip(self.commons, self._ways, strict=True)):
            left = features.on(common)
            # The matrices are symmetric: one for each side of the product.
            right = moved(left, None, across.gram)
            left = moved(left, down.gram, None)
            # Σ R f on the finer axis: the weights of the one that was not multiplied yet.
            self.sums[index] += (right * down.weights[:, None]).sum(dim=(2, 3)).double().sum(dim=1)
            self.products[index] += torch.mm(left.flatten(1), right.flatten(1).T).double()

    def moments(self) -> dict[Grid, FeatureMoments]:
        """By common grid, over all images so far."""
        found = {}
        of_commons = zip(self.commons, self.sums.cpu().numpy(), self.products.cpu().numpy(), strict=True)
        for common, sums, products in of_commons:
            count = self.images * common[0] * common[1]
            mean = sums / count
            covariance = products / count - np.outer(mean, mean)
            # A feature that is the same everywhere leaves rounding behind, no variance.
            flat = np.diagonal(covariance) <= 1e-6 * np.maximum(np.diagonal(products) / count, 1e-30)
            covariance[flat] = 0.0
            covariance[:, flat] = 0.0
            found[common] = FeatureMoments(mean, (covariance + covariance.T) / 2)
        return found


@dataclass(frozen=True)
class _MomentWay:
    """What stands between features on one axis of the coarser of their own and the common grid."""

    gram: Banded | None
    """`RᵀR` where the common grid is the finer."""
    weights: Tensor
    """(position,) `Rᵀ1`."""


def _moment_way(side: int, common: int, device: torch.device) -> _MomentWay:
    if common <= side:
        return _MomentWay(None, torch.ones(common, device=device))
    matrix = resampling(side, common)
    weights = torch.tensor(matrix.sum(axis=0), dtype=torch.float32, device=device)
    return _MomentWay(Banded.of(matrix.T @ matrix, device), weights)
