"""What trust needs to know of one layer's units, from one pass over its maps.

Everything here belongs to one model. Maps are standardised by each unit's own mean and standard deviation, so that no
layer's scale matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.factors import Room, sums_on
from rosetta.mining.trust.halves import first_half
from rosetta.mining.trust.pixels import FeatureProducts
from rosetta.mining.trust.selectivity import half_share
from rosetta.mining.trust.thumbs import coarsening, thumb_grid, thumbs
from rosetta.units import Grid, Layer

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SHAPE_SIDE = 4
"""Positions a side of the thumbs that the shape of the null is found from, at most."""
SHAPE_IMAGES = 256
"""Images that it is found from, at most. With more the null would only come nearer to a normal distribution."""
_LARGEST = 65504.0
"""That float16 holds. A standardised map goes beyond only where a handful of values make the whole deviation."""
CHANNELS = 1024
"""Worked on at once: bounds the temporaries of a wide layer."""


def shape_images(images: int) -> npt.NDArray[np.intp]:
    """(image,) the images whose thumbs are kept, evenly spread."""
    count = min(images, SHAPE_IMAGES)
    return np.arange(count) * images // count


@dataclass(frozen=True)
class LayerProfile:
    """One layer's units over all images. `P` counts positions of a thumb, `F` features, `G` common grids."""

    kurtosis: Float64
    """(channel,) of all values; 3 for a normal distribution, NaN for a constant unit."""
    half_share: Float64
    """(channel,) the smallest share of images that carries half of the positive activation."""
    mean_map: Float32
    """(channel, y, x) mean over the images, standardised."""
    covariance: Float16
    """(channel, P (P + 1) / 2) upper triangle of the covariance over images of a thumb's positions."""
    shape: Float16
    """(channel, image, P′) smaller thumbs of some images."""
    mean_on: Float64
    """(channel, G) of the standardised map on each common grid."""
    std_on: Float64
    """(channel, G)"""
    halves_on: Float64
    """(channel, G, 4) mean and mean square over the first half of the images, then over the second."""
    pixels: Float64
    """(channel, G, F) correlation with each feature on each common grid; NaN for a constant feature or unit."""


class LayerProfiler:
    """Sums one layer's profile over step after step of images."""

    def __init__(
        self,
        layer: Layer,
        mean: Float64,
        std: Float64,
        images: int,
        commons: Sequence[Grid],
        features: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Begin at zero.

        Parameters
        ----------
        mean, std
            (channel,) over all images and native positions.
        images
            Of the run.
        commons
            Common grids with the units' partners, none coarser than the layer's own.
        features
            How many pixel features.
        """
        self.layer, self.images, self.commons = layer, images, tuple(commons)
        self._device, self._room, self._done = torch.device(device), Room(), 0
        self._dead = std == 0
        scale = 1.0 / np.where(self._dead, np.inf, std)
        self._mean = torch.tensor(mean, dtype=torch.float32, device=self._device)
        self._scale = torch.tensor(scale, dtype=torch.float32, device=self._device)
        self._thumb, self._small = thumb_grid(layer.grid), thumb_grid(layer.grid, SHAPE_SIDE)
        channels, (height, width) = layer.channels, layer.grid
        positions = self._thumb[0] * self._thumb[1]
        self._fourth = np.zeros(channels)
        self._mass = np.zeros((channels, images), dtype=np.float32)
        self._sum_map = np.zeros((channels, height, width))
        self._square = torch.zeros((channels, positions, positions), dtype=torch.float64)
        self._thumb_sum = torch.zeros((channels, positions), dtype=torch.float64)
        self._coarser = coarsening(self._thumb, self._small).to(self._device)
        self._shape_images = shape_images(images)
        self._shape = np.zeros((channels, len(self._shape_images), self._small[0] * self._small[1]), dtype=np.float32)
        self._first = first_half(images)
        self._sums = np.zeros((2, 2, channels, len(self.commons)))
        """Sums and sums of squares, of either half."""
        self._cross = np.zeros((channels, len(self.commons), features))

    def add(self, maps: Tensor, products: FeatureProducts, rows: Sequence[Tensor]) -> None:
        """Add the next images.

        Parameters
        ----------
        maps : (image, channel, y, x) floating, as stored
            All of them belong to one half of the images.
        products, rows
            For the layer's grid and common grids, and what it makes of these images' features.
        """
        span = slice(self._done, self._done + len(maps))
        self._done = span.stop
        for start in range(0, self.layer.channels, CHANNELS):
            part = maps[:, start : start + CHANNELS]
            self._add(part, slice(start, start + part.shape[1]), span, products, rows)

    def _add(self, maps: Tensor, held: slice, span: slice, products: FeatureProducts, rows: Sequence[Tensor]) -> None:
        shape = (maps.shape[1], maps.shape[0], *self.layer.grid)
        stack = self._room.take("stack", shape, self._device)
        stack.copy_(maps.transpose(0, 1).to(self._device, non_blocking=True))
        scratch = self._room.take("scratch", shape, self._device)
        self._mass[held, span] = torch.clamp_min(stack, 0.0, out=scratch).sum(dim=(2, 3)).cpu().numpy()
        stack.sub_(self._mean[held, None, None, None]).mul_(self._scale[held, None, None, None])
        squares = torch.mul(stack, stack, out=scratch)
        self._fourth[held] += torch.linalg.vector_norm(squares.flatten(1), dim=1).double().square().cpu().numpy()
        self._sum_map[held] += stack.sum(dim=1).double().cpu().numpy()
        small = thumbs(stack, self._thumb, self._room)
        self._square[held] += torch.bmm(small.transpose(1, 2), small).double().cpu()
        self._thumb_sum[held] += small.sum(dim=1).double().cpu()
        chosen = np.flatnonzero((self._shape_images >= span.start) & (self._shape_images < span.stop))
        if len(chosen):
            tiny = small[:, self._shape_images[chosen] - span.start]
            self._shape[held, chosen] = (tiny @ self._coarser).cpu().numpy()
        if self.commons:
            self._cross[held] += products.cross(stack, rows).double().cpu().numpy()
            half = 0 if self._first[span.start] else 1
            self._sums[half, :, held] += torch.stack(sums_on(stack, self.commons, self._room)).cpu().numpy()

    def profile(self, features: "Sequence[tuple[Float64, Float64]]") -> LayerProfile:
        """The profile over all images.

        Parameters
        ----------
        features
            For each common grid the features' means and standard deviations, (feature,) each.
        """
        height, width = self.layer.grid
        positions = np.array([common[0] * common[1] for common in self.commons], dtype=np.float64)
        count = self.images * positions
        sums, squares = self._sums.sum(axis=0)
        mean_on = sums / count
        variance = squares / count - mean_on**2
        std_on = np.sqrt(np.where(self._dead[:, None] | (variance <= 0), np.nan, variance))
        means = np.array([mean for mean, _ in features]).reshape(len(self.commons), -1)
        deviations = np.array([std for _, std in features]).reshape(len(self.commons), -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance = self._cross / count[None, :, None] - mean_on[:, :, None] * means
            pixels = covariance / (std_on[:, :, None] * np.where(deviations > 0, deviations, np.nan))
        centred = self._square - self._thumb_sum[:, :, None] * self._thumb_sum[:, None, :] / self.images
        upper = torch.triu_indices(centred.shape[1], centred.shape[1])
        return LayerProfile(
            np.where(self._dead, np.nan, self._fourth / (self.images * height * width)),
            half_share(self._mass),
            (self._sum_map / self.images).astype(np.float32),
            (centred[:, upper[0], upper[1]] / self.images).clamp(-_LARGEST, _LARGEST).half().numpy(),
            np.clip(self._shape, -_LARGEST, _LARGEST).astype(np.float16),
            mean_on,
            std_on,
            self._halves_on(positions),
            pixels,
        )

    def _halves_on(self, positions: Float64) -> Float64:
        """(channel, G, 4) means and mean squares of either half; NaN of a half without images."""
        images = np.array([self._first.sum(), (~self._first).sum()])
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self._sums / (images[:, None, None, None] * positions)
        return means.transpose(2, 3, 0, 1).reshape(*means.shape[2:], 4)
