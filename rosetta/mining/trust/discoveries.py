"""False discovery rates over more p-values than anyone wants to keep.

Benjamini and Hochberg (1995) need to know of each p-value only how many are no larger. All pairs of units count, tens
of millions of them, so they are counted into bins of their logarithm, tile by tile; a bin is 1/200 of a decade wide,
and within it the upper edge stands for all: q-values come out at most 1.2 % too large, never too small.
"""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_PER_DECADE = 200
_DECADES = 38
"""Down to the smallest that float32 holds."""
_BINS = _PER_DECADE * _DECADES + 1


def _bins(p: Float32 | Float64) -> npt.NDArray[np.intp]:
    """The bin of each p-value; bin `n` reaches up to 10^(−n / 200)."""
    return np.clip(np.floor(-np.log10(p.astype(np.float64)) * _PER_DECADE + 1e-9), 0, _BINS - 1).astype(np.intp)


def p_counts(p: Float32) -> Counts:
    """(bin,) how many p-values lie in each bin; NaN is no test and does not count. Counts of parts add up."""
    return np.bincount(_bins(p[~np.isnan(p)]), minlength=_BINS)


def q_values(p: Float64, counts: Counts) -> Float64:
    """The smallest false discovery rate at which each of some of the counted p-values counts as a discovery.

    Returns
    -------
    (…,) float64
        NaN for NaN.
    """
    edges = 10.0 ** (-np.arange(_BINS) / _PER_DECADE)
    no_larger = np.cumsum(counts[::-1])[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(no_larger > 0, edges * int(counts.sum()) / no_larger, np.inf)
    # The least over all that are no smaller: bins of lower number hold larger p-values.
    rate = np.minimum(np.minimum.accumulate(rate), 1.0)
    known = ~np.isnan(p)
    result = np.full(p.shape, np.nan)
    result[known] = rate[_bins(p[known])]
    return result
