"""One Pearson correlation per pair of units, over a whole image set, exact and block by block.

The textbook way upsamples both maps to a common grid, joins all images and calls ``corrcoef``. Here the same number is
reached from moments that add up over blocks of images (:mod:`rosetta.mining.moments`), with the finer map pulled back
to the coarser grid instead (:mod:`rosetta.mining.factors`), so that all layers of one grid against all layers of
another are a single matrix product.
"""

import numpy as np
import numpy.typing as npt

from rosetta.mining.grid import common_grid
from rosetta.mining.moments import Moments, segment_order
from rosetta.units import Units

_ROWS = 128
"""Rows worked on at once: bounds the temporaries."""

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def pearson(
    moments: Moments,
    units_a: Units,
    units_b: Units,
    constant_a: Flags,
    constant_b: Flags,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> Float32:
    """The correlations that the moments of all images amount to.

    Parameters
    ----------
    moments
        Of `units_a` and `units_b`; `A` and `B` in number.
    constant_a, constant_b
        (A,) and (B,): units whose maps hold one single value; they have no correlation.
    rows, columns
        Which of the units; all, if left out.

    Returns
    -------
    (row, column) float32
        Pearson correlations in [-1, 1], by unit index; NaN where one of the units is constant.
    """
    grids_a, grids_b = units_a.grids(), units_b.grids()
    positions = np.array([[np.prod(common_grid(a, b), dtype=np.int64) for b in grids_b] for a in grids_a])
    of_a, of_b = units_a.grid_index(), units_b.grid_index()
    place_a, place_b = np.argsort(segment_order(units_a)), np.argsort(segment_order(units_b))
    counts_a, counts_b = moments.images * positions[of_a], moments.images * positions.T[of_b]  # (A, Gb), (B, Ga)
    mean_a, deviation_a = _statistics(moments.sum_a[place_a], moments.square_a[place_a], counts_a, constant_a)
    mean_b, deviation_b = _statistics(moments.sum_b[place_b], moments.square_b[place_b], counts_b, constant_b)
    wanted_a, wanted_b = np.arange(len(units_a))[rows], np.arange(len(units_b))[columns]
    grid_b = of_b[wanted_b]
    result = np.empty((len(wanted_a), len(wanted_b)), dtype=np.float32)
    for start in range(0, len(wanted_a), _ROWS):
        unit = wanted_a[start : start + _ROWS]
        grid_a = of_a[unit]
        value = moments.cross[np.ix_(place_a[unit], place_b[wanted_b])]
        value /= counts_a[unit][:, grid_b]
        value -= mean_a[unit][:, grid_b] * mean_b[wanted_b][:, grid_a].T
        value /= deviation_a[unit][:, grid_b] * deviation_b[wanted_b][:, grid_a].T
        result[start : start + len(unit)] = np.clip(value, -1.0, 1.0, out=value)
    return result


def _statistics(sums: Float64, squares: Float64, counts: npt.NDArray[np.int64], constant: Flags) -> tuple[Float64, ...]:
    """Means and standard deviations, (unit, other grid); NaN for constant units, whose variance is rounding noise."""
    mean = sums / counts
    variance = squares / counts - mean**2
    return mean, np.sqrt(np.where(constant[:, None] | (variance <= 0.0), np.nan, variance))
