"""Units that hold one single value in the first half of the images, though not in all of them."""

import numpy as np
import numpy.typing as npt

from rosetta.mining.grid import common_grid
from rosetta.mining.moments import Moments, segment_order
from rosetta.units import Units
from tasks.correlate.reading import TileSide

_NOISE = 1e-5
"""Of a variance over a squared mean: what rounding leaves of a variance that is 0 is far below."""

Flags = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


def dead_in(first: Moments, a: TileSide, b: TileSide) -> tuple[Flags, Flags]:
    """(A,) and (B,): whether each unit holds one single value in all images of the first half.

    Rounding leaves such a unit a variance. So the peaks of all that vary very little are looked up: they are stored as
    they are, one an image, and have to be the same.

    Parameters
    ----------
    first
        Moments of the sides over the first half.
    """
    of_a = _dead(first.images, first.sum_a, first.square_a, a, b.units)
    return of_a, of_a if a is b else _dead(first.images, first.sum_b, first.square_b, b, a.units)


def _dead(images: int, sums: Float64, squares: Float64, side: TileSide, other: Units) -> Flags:
    own, theirs = side.units.grids(), other.grids()
    positions = np.array([[np.prod(common_grid(grid, each)) for each in theirs] for grid in own], dtype=np.float64)
    counts = images * positions[side.units.grid_index()]
    order = np.argsort(segment_order(side.units))
    mean = sums[order] / counts
    suspect = (squares[order] / counts - mean**2 <= _NOISE * mean**2).any(axis=1)
    dead, store = side.constant.copy(), side.model.store
    half, offset = side.model.first, 0
    for layer, channels in side.parts():
        for index in np.flatnonzero((suspect & ~dead)[offset : offset + layer.channels]):
            channel = channels.start + int(index)
            peaks = store.peaks(layer.name, slice(channel, channel + 1))[half]
            dead[offset + index] = np.ptp(peaks) == 0
        offset += layer.channels
    return dead
