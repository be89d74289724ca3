"""The max–min product: how strongly two units are linked through the best of many units between them.

Through unit k of a pivot, unit j of one generator and j′ of another are as alike as the weaker of the two
correlations, ``min(r(j, k), r(j′, k))``; through the pivot, as the best of its units. Minimum and maximum round
nothing, so the result is the same to the last bit in whatever blocks it is taken.

Nearly all of the work can be left out, exactly. With the best so far of a row known, unit k matters only if ``r(j, k)``
and the largest ``r(j′, k)`` of the columns both exceed the lowest of these. So each row begins with the units that it
correlates with most, and then takes those that may still matter by falling bound, until none does.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rosetta.units import Units

Float32 = npt.NDArray[np.float32]

_COLUMNS = 512
"""Columns worked on at once: the block of B and what is made of it stay in the caches."""
_FIRST, _STEP = 48, 96
"""Pivot units that a row begins with, and that it takes at a time afterwards."""
_AT_ONCE = 8192
"""Pivot units that are held at once, about."""


def raise_to_max_min(best: Float32, a: Float32, b: Float32) -> int:
    """Raise ``best[j, c]`` to ``max(best[j, c], max over k of min(a[j, k], b[k, c]))``, in place.

    Parameters
    ----------
    best
        (row, column) the best so far, −inf where there is nothing yet.
    a
        (row, k), −inf instead of NaN.
    b
        (k, column), −inf instead of NaN.

    Returns
    -------
    int
        How many of the row × k × column terms were computed.
    """
    units = a.shape[1]
    first = np.argpartition(-a, _FIRST - 1, axis=1)[:, :_FIRST] if units > _FIRST else None
    terms = 0
    for start in range(0, best.shape[1], _COLUMNS):
        block = np.ascontiguousarray(b[:, start : start + _COLUMNS])
        highest = block.max(axis=1)
        room = np.empty((_STEP, block.shape[1]), np.float32)
        for row, values in enumerate(a):
            own = best[row, start : start + _COLUMNS]
            bound = np.minimum(values, highest)
            if first is not None:
                some = first[row]
                terms += _raise(own, values, block, some[bound[some] > own.min()], room)
                bound[some] = -np.inf
            lowest = own.min()
            rest = np.flatnonzero(bound > lowest)
            rest = rest[np.argsort(-bound[rest], kind="stable")]
            for place in range(0, len(rest), _STEP):
                some = rest[place : place + _STEP]
                if bound[some[0]] <= lowest:
                    break
                terms += _raise(own, values, block, some, room)
                lowest = own.min()
    return terms


def _raise(own: Float32, values: Float32, block: Float32, units: npt.NDArray[np.intp], room: Float32) -> int:
    """Take some pivot units into a row; how many terms that is."""
    if not len(units):
        return 0
    taken = room[: len(units)]
    np.take(block, units, axis=0, out=taken, mode="clip")
    np.minimum(taken, values[units, None], out=taken)
    np.maximum(own, taken.max(axis=0), out=own)
    return taken.size


def pivot_spans(units: Units) -> Iterator[slice]:
    """A pivot's units in runs of whole layers, about :data:`_AT_ONCE` units each; a larger layer is a run by itself."""
    start = stop = 0
    for _, span in units.spans():
        if stop > start and span.stop - start > _AT_ONCE:
            yield slice(start, stop)
            start = span.start
        stop = span.stop
    yield slice(start, stop)


def tile_bytes(pivot: Units, side: int) -> int:
    """What one tile of `side` units a side holds at most: either side's correlations, B's turned, and what is made."""
    widest = max(span.stop - span.start for span in pivot_spans(pivot))
    return 4 * side * (3 * widest + 3 * side) + 8 * side * widest + 4 * _COLUMNS * (widest + _STEP)
