"""How the values of each unit are spread, counted while maps pass by: no value is seen twice, none is kept."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from rosetta.mining.plan import ranges

LEVELS = 256
"""Parts of a unit's range in which values are counted."""
BARS = 64
"""Bars of a histogram, at most."""
BELOW = 8.0
"""Standard deviations from the mean down to the foot of the range. At most 1 value in 64 lies lower (Chebyshev)."""

_AT_ONCE = 2**18
"""Values that are brought to levels at once: they stay close to the processor."""

Float64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def span(mean: Float64, std: Float64, maximum: npt.NDArray[Any]) -> tuple[Float64, Float64]:
    """Where the values of each unit are counted: the foot and the top of its range.

    Parameters
    ----------
    mean, std, maximum
        (unit,) over the run.

    Returns
    -------
    low, high
        (unit,) each. Both are the same for a unit that holds one single value.
    """
    high = np.asarray(maximum, dtype=np.float64)
    return np.where(std > 0, mean - BELOW * std, high), high


def level_counts(maps: npt.NDArray[np.float32], low: Float64, high: Float64) -> Counts:
    """Count the values of some maps.

    Parameters
    ----------
    maps
        (image, channel, y, x)
    low, high
        (channel,) see :func:`span`.

    Returns
    -------
    (channel, LEVELS) int64. Level k holds what lies from ``low + k·(high − low)/LEVELS`` on and below the next. Lower
    values are in the first level, `high` and above in the last. Levels are found in float32.
    """
    images, channels, height, width = maps.shape
    width_of_level = (high - low) / LEVELS
    factor = np.divide(1.0, width_of_level, out=np.zeros_like(width_of_level), where=width_of_level > 0)
    foot, steep = (values.astype(np.float32)[:, None, None, None] for values in (low, factor))
    counts = np.empty((channels, LEVELS), dtype=np.int64)
    for part in ranges(channels, max(1, _AT_ONCE // max(1, images * height * width))):
        of_channel = maps[:, part].swapaxes(0, 1)
        scaled = np.empty(of_channel.shape, dtype=np.float32)  # channel by channel, unlike the maps
        np.subtract(of_channel, foot[part], out=scaled)
        scaled *= steep[part]
        levels = np.clip(scaled, 0, LEVELS - 1, out=scaled).astype(np.uint8).reshape(len(scaled), -1)
        # Pillow counts bytes as they are. np.bincount makes eight of each first, and takes five times as long.
        for channel, row in enumerate(levels, start=part.start):
            counts[channel] = Image.frombuffer("L", (row.size, 1), row, "raw", "L", 0, 1).histogram()
    return counts


def bars(counts: Counts, low: float, high: float) -> dict[str, Any] | None:
    """The histogram of one unit, without the empty foot of its range.

    Parameters
    ----------
    counts
        (LEVELS,) see :func:`level_counts`.

    Returns
    -------
    dict or None
        `low`, `high` and `counts`, at most BARS of equal width between them; None for a unit with one single value.
    """
    if not high > low or not counts.any():
        return None
    used = LEVELS - int(np.argmax(counts > 0))
    together = -(-used // BARS)
    number = -(-used // together)
    whole = np.concatenate([np.zeros(together, dtype=np.int64), counts])[-number * together :]
    foot = high - number * together * (high - low) / LEVELS
    return {"low": foot, "high": high, "counts": whole.reshape(number, together).sum(axis=1).tolist()}
