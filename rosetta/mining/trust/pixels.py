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

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import Matrix, upsampling
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
        self._maps_move = native[0] > side or native[1] > side

    def rows(self, features: Tensor) -> list[Tensor]:
        """By common grid: (feature, image, position) of features (image, feature, y, x), on the products' grid."""
        if not self.commons:
            return []
        count, number, side, _ = features.shape
        across = [way.features for _, way in self._ways]
        if across[0] is None:  # on this axis they stay as they are, whatever the common grid
            wide = [features] * len(across)
        else:
            # One product for all grids: many small ones cost more than what they compute.
            joined = torch.mm(features.reshape(-1, side), torch.cat([way for way in across if way is not None], dim=1))
            widths = [way.shape[1] for way in across if way is not None]
            wide = list(joined.view(count, number, side, -1).split(widths, dim=3))
        moved = [
            part if way.features is None else torch.matmul(way.features.T, part)
            for (way, _), part in zip(self._ways, wide, strict=True)
        ]
        return [part.transpose(0, 1).flatten(2) for part in moved]

    def cross(self, maps: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """(channel, common, feature) Σ ⟨U a, R f⟩ of maps (channel, image, y, x), over the images of both."""
        if not self._maps_move:
            product = torch.mm(maps.flatten(1), torch.cat([row.flatten(1) for row in rows]).T)
            return product.view(len(maps), len(self.commons), -1)
        found = []
        for (down, across), row in zip(self._ways, rows, strict=True):
            found.append(torch.mm(_moved(maps, down.maps, across.maps).flatten(1), row.flatten(1).T))
        return torch.stack(found, dim=1)


@dataclass(frozen=True)
class _Way:
    """What features and maps are multiplied with on one axis, to meet on the coarser grid; None where they stay."""

    features: Tensor | None
    """(features, product)"""
    maps: Tensor | None
    """(product, native)"""


def _to_product_grid(native: int, side: int, common: int, device: torch.device) -> _Way:
    up, resampled = upsampling(native, common), resampling(side, common)
    if native <= side:
        return _Way(torch.tensor(resampled.T @ up, dtype=torch.float32, device=device), None)
    return _Way(None, torch.tensor(up.T @ resampled, dtype=torch.float32, device=device).T)


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
    """Sums the features' moments on some common grids over step after step of images.

    On a grid finer than their own, `⟨R f, R g⟩ = ⟨f, RᵀR g⟩`: nothing is upsampled here either.
    """

    def __init__(self, side: int, features: int, commons: Sequence[Grid]) -> None:
        """Begin at zero; `side` is that of the features' own grid."""
        self.commons = tuple(commons)
        self._ways = [[_moment_way(side, axis) for axis in common] for common in self.commons]
        self._images = 0
        self._sums = np.zeros((len(self.commons), features))
        self._products = np.zeros((len(self.commons), features, features))

    def add(self, features: Tensor) -> None:
        """Add some images, (image, feature, y, x) float32."""
        self._images += len(features)
        for index, (down, across) in enumerate(self._ways):
            left = _moved(features, down.left, across.left)
            right = left if down.right is None and across.right is None else _moved(left, down.right, across.right)
            weights = torch.outer(down.weights, across.weights)
            self._sums[index] += (left * weights).sum(dim=(2, 3)).double().sum(dim=0).numpy()
            # (feature, image · position), feature by feature.
            flat, other = (part.transpose(0, 1).flatten(1) for part in (left, right))
            self._products[index] += torch.mm(flat, other.T).double().numpy()

    def moments(self) -> dict[Grid, FeatureMoments]:
        """By common grid, over all images so far."""
        found = {}
        for common, sums, products in zip(self.commons, self._sums, self._products, strict=True):
            count = self._images * common[0] * common[1]
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
    """What features are multiplied with on one axis; None where they stay."""

    left: Tensor | None
    """(product, features): `R` where the common grid is the coarser."""
    right: Tensor | None
    """(features, features): `RᵀR` where it is the finer."""
    weights: Tensor
    """(product,) of the left's sum."""


def _moment_way(side: int, common: int) -> _MomentWay:
    matrix = resampling(side, common)
    if common == side:
        return _MomentWay(None, None, torch.ones(side))
    if common < side:
        return _MomentWay(torch.tensor(matrix, dtype=torch.float32), None, torch.ones(common))
    finer = torch.tensor(matrix.T @ matrix, dtype=torch.float32)
    return _MomentWay(None, finer, torch.tensor(matrix.sum(axis=0), dtype=torch.float32))


def _moved(fields: Tensor, down: Tensor | None, across: Tensor | None) -> Tensor:
    """(…, y, x) features or maps, each axis multiplied with its matrix."""
    moved = fields if across is None else torch.matmul(fields, across.T)
    return moved if down is None else torch.matmul(down, moved)
