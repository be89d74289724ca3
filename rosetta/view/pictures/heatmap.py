"""Activation maps as heat over an image."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from rosetta.view.pictures.colours import heat, opacity
from rosetta.view.pictures.pooling import shrink
from rosetta.view.pictures.sprite import TILE

Pixels = npt.NDArray[np.uint8]


def neighbours(
    place: npt.NDArray[np.integer], positions: int, size: int | npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Lower neighbour, upper neighbour and the upper one's share, of places on an axis that is brought to a size.

    Parameters
    ----------
    place
        (n,) of 0 … size − 1.
    positions
        Of the axis as it is.
    size
        Positions afterwards, of all places or of each.
    """
    source = np.maximum((place + 0.5) * (positions / size) - 0.5, 0.0)
    lower = np.minimum(source.astype(np.intp), positions - 1)
    return lower, np.minimum(lower + 1, positions - 1), source - lower


def resample(maps: npt.NDArray[np.generic], size: int | tuple[int, int]) -> npt.NDArray[np.float32]:
    """Bring maps to another grid, bilinearly, with half-pixel centres.

    The same as ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=False)``: what the
    picture shows lies where the correlation was taken.

    Parameters
    ----------
    maps
        (…, grid_y, grid_x), any real type, at least one position per axis.
    size
        Positions per axis afterwards, at least 1: of a square, or of y and x.

    Returns
    -------
    (…, size_y, size_x) float32

    Raises
    ------
    ValueError
        When an axis is empty, or ``maps`` has fewer than two.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if maps.ndim < 2 or 0 in maps.shape[-2:] or min(height, width) < 1:
        raise ValueError(f"cannot resample maps of shape {maps.shape} to {height} × {width}")
    values = maps.astype(np.float32)
    lower, upper, share = neighbours(np.arange(height), values.shape[-2], height)
    low, high = values[..., lower, :], values[..., upper, :]
    values = low + share.astype(np.float32)[:, None] * (high - low)
    lower, upper, share = neighbours(np.arange(width), values.shape[-1], width)
    low, high = values[..., lower], values[..., upper]
    return low + share.astype(np.float32) * (high - low)


def enlarge(maps: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.float32]:
    """Bring maps to a square of pixels in which every peak keeps its height.

    Bilinear resampling passes by the centre of a position that has an even number of pixels, and skips positions
    where there are more of them than pixels. So maps are resampled to an odd number of points a position, one of them
    at its centre, and each pixel shows the highest of its points.

    Parameters
    ----------
    maps
        (…, grid_y, grid_x), any real type, at least one position per axis.
    size
        Pixels per side.

    Returns
    -------
    (…, size, size) float32
    """
    height, width = (positions * (-(-size // positions) // 2 * 2 + 1) for positions in maps.shape[-2:])
    return shrink(resample(maps, (height, width)), size)


def _strength(activation: npt.NDArray[np.generic], low: float, high: float, size: int) -> npt.NDArray[np.float32]:
    """(size, size) float32 in 0…1: 0 at `low` and below, 1 at `high` and above."""
    span = float(high) - float(low)
    # A dead unit has no scale, and neither has one whose statistics are not finite: it shows the image alone.
    if not (np.isfinite(span) and span > 0.0):
        return np.zeros((size, size), dtype=np.float32)
    # On the unit's own scale first: infinities and NaN must not spread to their neighbours in the resampling.
    scaled = (activation.astype(np.float64) - low) / span
    finite = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), -1e6, 1e6)
    return np.clip(enlarge(finite, size), 0.0, 1.0)


def plain(image: Pixels, size: int = TILE) -> Pixels:
    """(size, size, 3) uint8 one tile: an image (y, x, 3) by itself, brought to a square."""
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8))
    # Pillow's filter widens when it shrinks: a large photograph does not alias.
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def overlay(image: Pixels, activation: npt.NDArray[np.generic], low: float, high: float, size: int = TILE) -> Pixels:
    """One tile: an image under the heat of one unit.

    Parameters
    ----------
    image
        (y, x, 3) uint8, any size; brought to the square that the maps are brought to, so positions agree.
    activation
        (grid_y, grid_x), the unit's map of this image. NaN counts as `low`.
    low, high
        Where heat starts and where it is full. Give one pair per unit, its mean and its maximum over the run, so that
        its tiles compare. Where `high` is not above `low` the unit says nothing and the image stands alone.
    size
        Pixels per side of the tile.

    Returns
    -------
    (size, size, 3) uint8
    """
    base = plain(image, size).astype(np.float32)
    strength = _strength(activation, low, high, size)
    cover = opacity(strength)[..., None]
    blended = base * (1.0 - cover) + heat(strength) * np.float32(255.0) * cover
    return np.rint(np.clip(blended, 0.0, 255.0)).astype(np.uint8)
