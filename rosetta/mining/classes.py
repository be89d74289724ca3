"""How selective units are for classes of images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEAST = 2
"""Images that a class must have, and leave."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selectivity:
    """Of some units, for the classes that have images enough; `C` of them."""

    classes: Index
    """(C,) their numbers."""
    auroc: Float64
    """(unit, C) the probability that an image of the class has a higher value than one of no class or another; ties
    count half."""
    deviation: Float64
    """(unit, C) how many standard deviations that lies above one half, were the values exchanged at random; 0 where
    all are alike."""
    mean: Float64
    """(unit, C) mean value over the class's images."""


def eligible(classes: Index) -> Index:
    """(C,) the classes that have images enough and leave enough, of (image,) classes as :func:`selectivity` takes."""
    counts = np.bincount(classes[classes >= 0])
    return np.flatnonzero((counts >= LEAST) & (len(classes) - counts >= LEAST))


def selectivity(values: Float32, classes: Index) -> Selectivity:
    """How selective units are for each class.

    The area under the receiver operating characteristic is Mann and Whitney's U over its maximum: with the ranks of
    all values, ties sharing theirs, it follows from the sum of ranks within the class.

    Parameters
    ----------
    values
        (unit, image)
    classes
        (image,) number of each image's class, below 0 where it is not known.

    Returns
    -------
    Selectivity
        Of the classes that have at least two images and leave two others.
    """
    from scipy.stats import rankdata  # slow to import

    images, chosen = len(classes), eligible(classes)
    counts = np.bincount(classes[classes >= 0])
    inside, others = counts[chosen].astype(np.float64), images - counts[chosen].astype(np.float64)
    member = (classes[:, None] == chosen).astype(np.float64)
    ranks = rankdata(values, axis=1)
    auroc = ((ranks @ member) / np.maximum(inside, 1.0) - (inside + 1) / 2) / others
    # Of ranks with ties: their variance takes the place of (N² − 1) / 12 (Lehmann, Nonparametrics, 1975).
    spread = np.sqrt(ranks.var(axis=1)[:, None] / (inside * others * (images - 1)))
    above = np.divide(auroc - 0.5, spread, out=np.zeros_like(auroc), where=spread > 0)
    mean = (values.astype(np.float64) @ member) / np.maximum(inside, 1.0)
    return Selectivity(chosen, auroc, above, mean)


def confusion(values: Float32, classes: Index, of: Index, among: Index) -> tuple[Index, Float64]:
    """Which other class units take most often for a class.

    Parameters
    ----------
    values
        (unit, image)
    classes
        (image,) number of each image's class, below 0 where it is not known.
    of
        (unit, rank) classes, of `among`.
    among
        (C,) the classes that may be confused with them.

    Returns
    -------
    tuple
        (unit, rank) the class whose images have a higher value than those of the class asked about most often, -1 where
        there is no other; and (unit, rank) the probability that an image of the one is above an image of the other,
        ties counting half, NaN where there is no other.
    """
    place = {int(number): index for index, number in enumerate(among)}
    member = (classes[:, None] == among).astype(np.float64)
    member /= np.maximum(member.sum(axis=0), 1.0)
    found, chance = np.full(of.shape, -1, np.int64), np.full(of.shape, np.nan)
    if len(among) < 2:
        return found, chance
    for unit, row in enumerate(of):
        for rank, number in enumerate(row):
            inside = np.sort(values[unit, classes == number])
            # By image: the share of the class's images that lie below it.
            below = sum(np.searchsorted(inside, values[unit], side) for side in ("left", "right")) / (2 * len(inside))
            above = below @ member
            above[place[int(number)]] = -1.0
            best = int(above.argmax())
            found[unit, rank], chance[unit, rank] = among[best], above[best]
    return found, chance
