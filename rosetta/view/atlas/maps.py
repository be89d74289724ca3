"""Activation maps as bytes: small, on their unit's own scale, and never finer than they were.

A map is brought to at most so many positions a side by *area averaging*: each new position is the mean of the part of
the map that it covers, cut positions counting by the part of them that is covered. What the map has high at the top
left stays at the top left, and its mean stays its mean.
"""

import base64
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.units import Grid

SIDES = (32, 16)
"""Most positions a side of a map: the first, where all maps of a set fit into ROOM, else the last."""
ROOM = 16 * 2**20
"""Bytes of a set: one model's maps in all concepts, or those over all images."""

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def grid_within(native: Grid, most: int) -> Grid:
    """The grid that maps are brought to."""
    return min(native[0], most), min(native[1], most)


@cache
def _averaging(positions: int, size: int) -> Float32:
    """(size, positions) what each old position counts in each new one; rows sum to 1. Shared and read-only."""
    edges = np.arange(size + 1) * (positions / size)
    start = np.arange(positions)
    covered = np.minimum(edges[1:, None], start + 1) - np.maximum(edges[:-1, None], start)
    matrix = (np.clip(covered, 0.0, 1.0) * (size / positions)).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def side(native: npt.NDArray[np.integer]) -> int:
    """The most positions a side of some maps, one of SIDES.

    Parameters
    ----------
    native
        (map, 2) their own grids.
    """
    return next((most for most in SIDES if np.minimum(native, most).prod(axis=1).sum() <= ROOM), SIDES[-1])


def shrink(maps: npt.NDArray[Any], most: int) -> Float32:
    """Average maps over areas.

    Parameters
    ----------
    maps
        (…, grid_y, grid_x), any real type.
    most
        Positions per axis afterwards, at most.

    Returns
    -------
    (…, y, x) float32 on :func:`grid_within` of their grid; an axis that is short enough is left as it is.
    """
    values = maps.astype(np.float32)
    height, width = values.shape[-2:]
    if width > most:
        values = values @ _averaging(width, most).T
    if height > most:
        values = _averaging(height, most) @ values
    return values


def quantise(maps: Float32, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Bytes:
    """Maps on their units' scales.

    Parameters
    ----------
    maps
        (map, y, x).
    low, high
        (map,) what becomes 0 and what becomes 255: a unit's mean and its maximum over the run. Values beyond are cut.

    Returns
    -------
    (map, y, x) uint8; all 0 where a unit has no scale, being dead.
    """
    span = np.asarray(high, dtype=np.float64) - np.asarray(low, dtype=np.float64)
    alive = np.isfinite(span) & (span > 0.0)
    factor = np.where(alive, 255.0 / np.where(alive, span, 1.0), 0.0)
    base = np.where(alive, low, 0.0)
    scaled = np.nan_to_num((maps - base[:, None, None]) * factor[:, None, None], nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def encode(content: bytes) -> str:
    """Bytes, rows from the top and each from the left, as base64."""
    return base64.b64encode(content).decode("ascii")
