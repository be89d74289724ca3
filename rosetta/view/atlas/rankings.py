"""Which images a unit, a concept and a whole group of models find strongest."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import nearest_neighbours
from rosetta.view.atlas.maps import on_scale

TOP = 8
"""Images of a ranking."""
SHOWN = 512
"""Images that have a file of their own, at most."""

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]


def strongest(values: Float32, count: int = TOP) -> Index:
    """The columns in which each row is highest.

    Parameters
    ----------
    values
        (row, column): a unit or concept and an image, say.

    Returns
    -------
    (row, count) int32 by falling value, ties to the lower column; fewer where there are no more columns.
    """
    # The same question as a unit's nearest neighbours: the k largest of every row of a matrix.
    return nearest_neighbours(np.ascontiguousarray(values, dtype=np.float32), min(count, values.shape[1])).unit


def percentiles(peaks: Float32) -> Float32:
    """How high each image stands among all images, for each unit.

    Parameters
    ----------
    peaks
        (image, unit) the maximum of each map.

    Returns
    -------
    (image, unit) float32 in 0…1: the share of the images whose peak is lower, equal ones counting half. A unit with
    the same peak everywhere, a dead one say, has 0.5 everywhere and sways nothing.

    Notes
    -----
    The mean of this over the models of a concept is its *agreement* on an image: high where every model's unit is
    among its own strongest, whatever their scales. It asks where the units peak at all, not whether they do so at the
    same place; that is what the correlation says.
    """
    ranks = pd.DataFrame(peaks).rank(method="average").to_numpy()
    return np.asarray((ranks - 0.5) / len(peaks), dtype=np.float32)


def strengths(peaks: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Float32:
    """Peaks on their units' scales.

    Parameters
    ----------
    peaks
        (image, unit).
    low, high
        (unit,) mean and maximum over the run.

    Returns
    -------
    (image, unit) float32 in 0…1; 0 for a unit without a scale.
    """
    return on_scale(peaks, low, high).astype(np.float32)


def choose_images(rankings: Index, images: int, most: int = SHOWN) -> Index:
    """The images to make a file of.

    Parameters
    ----------
    rankings
        (concept, place) the strongest images of each concept, the first concept first.
    images
        Images of the run.

    Returns
    -------
    (shown,) int32, rising: all, if they are not more than `most`. Else the first of each concept, then the second of
    each and so on, and then from image 0, until there are enough.
    """
    if images <= most:
        return np.arange(images, dtype=np.int32)
    wanted = dict.fromkeys([*rankings.T.ravel().tolist(), *range(min(images, most))])
    return np.sort(np.fromiter(wanted, dtype=np.int32)[:most])
