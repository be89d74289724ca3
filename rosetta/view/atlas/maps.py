"""Activation maps as bytes: small (see :mod:`rosetta.view.pictures.pooling`) and on their unit's own scale."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

SIDES = (32, 16)
"""Most positions a side of a map: the first, where all maps of a set fit into ROOM, else the last."""
ROOM = 16 * 2**20
"""Bytes of a set: one model's maps in all concepts, or those over all images."""

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def side(native: npt.NDArray[np.integer]) -> int:
    """The most positions a side of some maps, one of SIDES.

    Parameters
    ----------
    native
        (map, 2) their own grids.
    """
    return next((most for most in SIDES if np.minimum(native, most).prod(axis=1).sum() <= ROOM), SIDES[-1])


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
    low, high = np.asarray(low)[:, None, None], np.asarray(high)[:, None, None]
    return np.rint(on_scale(maps, low, high, 255.0)).astype(np.uint8)


def on_scale(
    values: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any], top: float = 1.0
) -> npt.NDArray[np.float64]:
    """Values on their units' scales: 0 at `low` and below, `top` at `high` and above, 0 where there is no scale."""
    span = np.asarray(high, dtype=np.float64) - low
    alive = np.isfinite(span) & (span > 0.0)
    factor = np.where(alive, top / np.where(alive, span, 1.0), 0.0)
    scaled = np.nan_to_num((values - np.where(alive, low, 0.0)) * factor, nan=0.0, posinf=top, neginf=0.0)
    return np.clip(scaled, 0.0, top)


def encode(content: bytes) -> str:
    """Bytes, rows from the top and each from the left, as base64."""
    return base64.b64encode(content).decode("ascii")
