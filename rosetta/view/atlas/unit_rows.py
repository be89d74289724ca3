"""Which images the page of a unit shows: where it is strongest, and where it is strong, middling and weak."""

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges
from rosetta.view.atlas.rankings import TOP

PERCENTILES = (90, 50, 10)
"""Of the peaks of all images: around which images are shown beside the strongest."""
AROUND = 4
"""Images around each."""
SHOWN = TOP + AROUND * len(PERCENTILES)
"""Images of a unit, at most."""

_AT_ONCE = 2**23
"""Peaks that are ordered at once."""

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]


def places(images: int) -> list[slice]:
    """The places of each row in the order by falling peak: the strongest first, then around each percentile.

    Parameters
    ----------
    images
        That there are.

    Returns
    -------
    list of slice
        Of 0…images. With few images the rows overlap.
    """
    rows = [slice(0, min(TOP, images))]
    for percentile in PERCENTILES:
        # The image of which `percentile` of the others lie below, by the nearest place.
        middle = round((images - 1) * (100 - percentile) / 100)
        start = min(max(0, middle - AROUND // 2), max(0, images - AROUND))
        rows.append(slice(start, min(start + AROUND, images)))
    return rows


def choose(peaks: Float32) -> Index:
    """The images of every unit's rows.

    Parameters
    ----------
    peaks
        (unit, image) the maximum of each map; no NaN.

    Returns
    -------
    (unit, place) int32 images, row after row as :func:`places` has them, by falling peak. Equal peaks count by their
    index: the lower first.
    """
    units, images = peaks.shape
    wanted = np.concatenate([np.arange(images)[row] for row in places(images)])
    chosen = np.empty((units, len(wanted)), dtype=np.int32)
    for part in ranges(units, max(1, _AT_ONCE // images)):
        # A partition is exact only at the places that it is asked for, and may mix equal keys: none are equal here.
        keys = np.partition(_keys(peaks[part]), np.unique(wanted), axis=1)[:, wanted]
        chosen[part] = (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)
    return chosen


def _keys(peaks: Float32) -> npt.NDArray[np.uint64]:
    """(unit, image) whole numbers that rise as peaks fall and, of equal peaks, as the image's index rises."""
    bits = (np.ascontiguousarray(peaks, dtype=np.float32) + np.float32(0.0)).view(np.uint32)  # −0 is 0
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64) << np.uint64(32) | np.arange(peaks.shape[1], dtype=np.uint64)
