"""Sheets of pictures: many small ones in one WebP file, so that a page asks for few."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rosetta.view.pictures.heatmap import overlay, plain
from rosetta.view.pictures.sprite import encoded, webp

THUMB = 128
"""Pixels of a side of a picture."""
LARGE = 512
"""Pixels of a side of an image that is shown alone, at most."""
PER_SHEET = 64
"""Pictures to a sheet."""
ACROSS = 8
"""Pictures to a row of a sheet, and rows to a sheet, without gaps. The last sheet is as large as all others."""

Pixels = npt.NDArray[np.uint8]


def thumbnail(image: Pixels) -> Pixels:
    """(THUMB, THUMB, 3) an image (y, x, rgb) brought to a square, as heat maps are laid over it."""
    return plain(image, THUMB)


def picture(image: Pixels) -> bytes:
    """A WebP file of an image (y, x, rgb), a square of its own size and of at most LARGE pixels."""
    return encoded(plain(image, min(LARGE, max(image.shape[:2]))), quality=85)


def card(thumb: Pixels, activation: Pixels) -> Pixels:
    """(THUMB, THUMB, 3) a thumbnail under a map (y, x) of bytes on its unit's scale."""
    return overlay(thumb, activation, 0.0, 255.0, THUMB)


def sheet(pictures: Sequence[Pixels]) -> bytes:
    """A WebP file of at most PER_SHEET pictures, row by row; places that are left over are black.

    Raises
    ------
    ValueError
        There is none, or there are too many.
    """
    if not 0 < len(pictures) <= PER_SHEET:
        raise ValueError(f"a sheet has 1 to {PER_SHEET} pictures, not {len(pictures)}")
    tiles = np.zeros((PER_SHEET, THUMB, THUMB, 3), dtype=np.uint8)
    tiles[: len(pictures)] = np.stack(pictures)
    return webp(tiles.reshape(-1, ACROSS, THUMB, THUMB, 3), gap=0)
