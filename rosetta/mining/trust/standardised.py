"""From a layer's sums to its profile: the same of standardised maps.

With a unit's values `x`, its sums are those of `y = (x − shift) · scale`, and its profile is about
`z = (x − mean) / std`, so that `z = (y − offset) · inverse` with `offset = (mean − shift) · scale` and
`inverse = 1 / (std · scale)`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.plan import ranges
from rosetta.mining.trust.profile import SHAPE_SIDE, LayerProfile
from rosetta.mining.trust.thumbs import coarsening, thumb_grid, thumbs
from rosetta.units import Grid, Layer

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_LARGEST = 65504.0
"""That float16 holds. A standardised map goes beyond only where a handful of values make the whole deviation."""
_AT_ONCE = 2**21
"""Products of positions that are centred and packed at once."""


class ProfileSums(Protocol):
    """Sums of one layer over all images: :class:`~rosetta.mining.trust.layer_sums.LayerSums`, or others like these."""

    layer: Layer
    images: int
    commons: tuple[Grid, ...]
    grids: tuple[Grid, ...]
    shift: Tensor
    scale: Tensor

    @property
    def done(self) -> int:
        """Images so far."""
        ...

    @property
    def half_images(self) -> npt.NDArray[np.int64]:
        """(half,) images in either half."""
        ...

    @property
    def on(self) -> Tensor:
        """(half, moment, channel, grid) float64 Σ U y and Σ (U y)²."""
        ...

    @property
    def powers(self) -> Tensor:
        """(3, channel) float64 Σ y², Σ y³, Σ y⁴."""
        ...

    @property
    def cross(self) -> Tensor:
        """(channel, common, feature) float64 products with the pixel features."""
        ...

    @property
    def shape(self) -> Tensor:
        """(channel, image, position) float32 small thumbs of some images."""
        ...

    def map_sums(self, channels: slice) -> Tensor:
        """(channel, position) float64 Σ y."""
        ...

    def square_sums(self, channels: slice) -> Tensor:
        """(channel, cell, cell) float64 products of a thumb's positions."""
        ...

    def half_share(self) -> Float64:
        """(channel,) the smallest share of images that carries half of a unit's activation."""
        ...


def layer_profile(
    sums: ProfileSums, mean: Float64, std: Float64, features: Sequence[tuple[Float64, Float64]]
) -> LayerProfile:
    """A layer's profile, once all images are in its sums.

    Parameters
    ----------
    mean, std
        (channel,) over all images and native positions.
    features
        For each common grid the features' means and standard deviations, (feature,) each.
    """
    images = sums.done
    dead = std == 0
    shift, scale = (_numpy(one).astype(np.float64) for one in (sums.shift, sums.scale))
    offset, inverse = (mean - shift) * scale, 1.0 / (np.where(dead, np.inf, std) * scale)
    count = images * sums.layer.grid[0] * sums.layer.grid[1]
    by_grid = {grid: index for index, grid in enumerate(sums.grids)}
    columns = [by_grid[common] for common in sums.commons]
    positions = np.array([height * width for height, width in sums.commons], dtype=np.float64)
    on = _numpy(sums.on)[..., columns]
    means, squares = on.sum(axis=0) / (images * positions)
    deviations = np.sqrt(_positive(squares - means**2, dead))
    mean_map = (_numpy(sums.map_sums(slice(None))) / images - offset[:, None]) * inverse[:, None]
    return LayerProfile(
        _kurtosis(sums, offset, inverse, count, dead),
        sums.half_share(),
        mean_map.reshape(-1, *sums.layer.grid).astype(np.float32),
        _covariance(sums, inverse),
        _shape(sums, offset, inverse),
        (means - offset[:, None]) * inverse[:, None],
        deviations * inverse[:, None],
        _halves(on, sums.half_images, positions, offset, inverse),
        _pixels(_numpy(sums.cross) / (images * positions[:, None]), means, deviations, features),
    )


def dead_in_halves(sums: ProfileSums, std: Float64) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Units that hold one single value in a half of the images.

    Parameters
    ----------
    std
        (channel,) over all images.

    Returns
    -------
    dead, doubtful
        (channel, half) whether a unit does; and where it varies so little that rounding may hide it.
    """
    counts = sums.half_images[:, None] * (sums.layer.grid[0] * sums.layer.grid[1])
    total, square = np.moveaxis(_numpy(sums.on)[..., 0], 1, 0)
    dead = np.repeat((std == 0)[:, None], 2, axis=1) | (counts.T == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        varies = square - total**2 / counts > _ROUNDING * square
    return dead, ~varies.T & ~dead


_ROUNDING = 1e-4
"""Of a mean square about a shift: less than this for a variance may be nothing but rounding."""


def _kurtosis(sums: ProfileSums, offset: Float64, inverse: Float64, count: int, dead: npt.NDArray[np.bool_]) -> Float64:
    first = _numpy(sums.on)[:, 0, :, 0].sum(axis=0) / count
    second, third, fourth = _numpy(sums.powers) / count
    central = fourth - 4 * offset * third + 6 * offset**2 * second - 4 * offset**3 * first + offset**4
    return np.where(dead, np.nan, central * inverse**4)


def _covariance(sums: ProfileSums, inverse: Float64) -> Float16:
    """(channel, P (P + 1) / 2) upper triangles."""
    grid = thumb_grid(sums.layer.grid)
    cells = grid[0] * grid[1]
    upper = torch.triu_indices(cells, cells, device=sums.shift.device)
    factor = torch.from_numpy(inverse**2 / sums.done).to(sums.shift.device)
    found = []
    for channels in ranges(sums.layer.channels, max(1, _AT_ONCE // cells**2)):
        whole = sums.map_sums(channels).float().view(-1, 1, *sums.layer.grid)
        total = thumbs(whole, grid)[:, 0].double()
        square = sums.square_sums(channels)[:, upper[0], upper[1]]
        square -= total[:, upper[0]] * total[:, upper[1]] / sums.done
        found.append(_numpy(_rounded(square.mul_(factor[channels, None]))))
    return np.concatenate(found)


def _shape(sums: ProfileSums, offset: Float64, inverse: Float64) -> Float16:
    """(channel, image, P′): the weights of a cell's positions do not sum to 1 at every edge."""
    grid = thumb_grid(sums.layer.grid)
    weight = thumbs(torch.ones(1, 1, *sums.layer.grid), grid)[0, 0] @ coarsening(grid, thumb_grid(grid, SHAPE_SIDE))
    device = sums.shift.device
    shift = torch.from_numpy(np.outer(offset, weight.numpy())).float().to(device)
    factor = torch.from_numpy(inverse).float().to(device)
    return _numpy(_rounded((sums.shape - shift[:, None]).mul_(factor[:, None, None])))


def _halves(
    on: Float64, images: npt.NDArray[np.int64], positions: Float64, offset: Float64, inverse: Float64
) -> Float64:
    """(channel, G, 4) means and mean squares of either half; NaN of a half without images."""
    counts = images[:, None, None] * positions
    off, by = offset[:, None], inverse[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square = on[:, 0] / counts, on[:, 1] / counts
    halves = np.stack([(mean - off) * by, (square - 2 * off * mean + off**2) * by**2], axis=1)
    return halves.transpose(2, 3, 0, 1).reshape(*halves.shape[2:], 4)


def _pixels(
    products: Float64, means: Float64, deviations: Float64, features: Sequence[tuple[Float64, Float64]]
) -> Float64:
    """(channel, G, F) correlations, which neither an offset nor a factor changes."""
    of_features, spread = (np.array([pair[part] for pair in features]).reshape(products.shape[1:]) for part in (0, 1))
    covariance = products - means[:, :, None] * of_features
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / (deviations[:, :, None] * np.where(spread > 0, spread, np.nan))


def _positive(variance: Float64, dead: npt.NDArray[np.bool_]) -> Float64:
    """A variance, NaN where there is none."""
    return np.where(dead[:, None] | (variance <= 0), np.nan, variance)


def _rounded(values: Tensor) -> Tensor:
    return values.clamp_(-_LARGEST, _LARGEST).half()


def _numpy(values: Tensor) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = values.cpu().numpy()
    return found
