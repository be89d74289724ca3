"""All tiles of one concept in one picture: one file to ask for instead of dozens."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

TILE = 96
"""Pixels per side of a tile."""

GAP = 2
"""Pixels between two tiles; transparent, so that they take the page's colour in either theme."""

LARGEST = 16383
"""Pixels per side that WebP can hold."""


def extent(tiles: int, size: int = TILE, gap: int = GAP) -> int:
    """Pixels that a line of tiles takes."""
    return tiles * size + max(tiles - 1, 0) * gap


def webp(tiles: npt.NDArray[np.uint8], gap: int = GAP, quality: int = 80) -> bytes:
    """Lay tiles out in a grid and encode it.

    Parameters
    ----------
    tiles
        (rows, columns, size, size, 3) uint8: a row per image; the columns are the image, the anchor, then each model.
    gap
        Pixels between tiles.
    quality
        Of WebP, 0 to 100.

    Returns
    -------
    bytes
        A WebP file of ``rows·size + (rows − 1)·gap`` by ``columns·size + (columns − 1)·gap`` pixels, with an alpha
        channel where there are gaps to leave open. The same tiles give the same bytes.

    Raises
    ------
    ValueError
        When there is no tile, the tiles are not square, or the picture is larger than WebP allows.
    """
    if tiles.ndim != 5 or tiles.shape[4] != 3 or tiles.shape[2] != tiles.shape[3] or tiles.size == 0:
        raise ValueError(f"tiles are (rows, columns, size, size, 3), none of them 0, not {tiles.shape}")
    rows, columns, size = tiles.shape[:3]
    height, width = extent(rows, size, gap), extent(columns, size, gap)
    if max(height, width) > LARGEST:
        raise ValueError(f"a WebP picture has at most {LARGEST} pixels per side, not {height} by {width}")
    # Each tile brings the gap below it and on its right; the last ones are cut off.
    canvas = np.zeros((rows, size + gap, columns, size + gap, 4), dtype=np.uint8)
    canvas[:, :size, :, :size, :3] = tiles.swapaxes(1, 2)
    canvas[:, :size, :, :size, 3] = 255
    return encoded(canvas.reshape(rows * (size + gap), -1, 4)[:height, :width], quality)


def encoded(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A WebP file of (y, x, 3 or 4) pixels; the same ones give the same bytes."""
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "WEBP", quality=quality, method=2)
    return file.getvalue()
