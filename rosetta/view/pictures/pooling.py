"""Maps brought to fewer positions so that what is drawn at a peak is the peak.

Each new position holds the highest value of the part of the map that it stands for. A mean over the part would draw a
narrow peak far below the value that is written beside it. An old position belongs to the new one that its centre lies
in, so every value counts once, and the strongest new position is the one with the peak in it.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@cache
def _starts(positions: int, size: int) -> npt.NDArray[np.intp]:
    """(size,) the first old position of each new one: the least k with (k + ½) / positions ≥ place / size."""
    starts = -((size - 2 * positions * np.arange(size)) // (2 * size))
    starts.flags.writeable = False
    return starts


def shrink(maps: npt.NDArray[Any], most: int) -> Float32:
    """Bring maps to at most so many positions a side, keeping their peaks.

    Parameters
    ----------
    maps
        (…, grid_y, grid_x), any real type.
    most
        Positions per axis afterwards, at most.

    Returns
    -------
    (…, min(grid_y, most), min(grid_x, most)) float32; an axis that is short enough is left as it is.
    """
    values = maps.astype(np.float32)
    height, width = values.shape[-2:]
    if height > most:
        values = np.maximum.reduceat(values, _starts(height, most), axis=-2)
    if width > most:
        values = np.maximum.reduceat(values, _starts(width, most), axis=-1)
    return values
