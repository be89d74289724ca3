"""What trust needs to know of one layer's units.

Everything here belongs to one model. Maps are standardised by each unit's own mean and standard deviation, so that no
layer's scale matters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SHAPE_SIDE = 4
"""Positions a side of the thumbs that the shape of the null is found from, at most."""
SHAPE_IMAGES = 256
"""Images that it is found from, at most. With more the null would only come nearer to a normal distribution."""


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
