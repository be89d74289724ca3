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

    images = len(classes)
    counts = np.bincount(classes[classes >= 0])
    chosen = np.flatnonzero((counts >= LEAST) & (images - counts >= LEAST))
    inside, others = counts[chosen].astype(np.float64), images - counts[chosen].astype(np.float64)
    member = (classes[:, None] == chosen).astype(np.float64)
    ranks = rankdata(values, axis=1)
    auroc = ((ranks @ member) / np.maximum(inside, 1.0) - (inside + 1) / 2) / others
    # Of ranks with ties: their variance takes the place of (N² − 1) / 12 (Lehmann, Nonparametrics, 1975).
    spread = np.sqrt(ranks.var(axis=1)[:, None] / (inside * others * (images - 1)))
    above = np.divide(auroc - 0.5, spread, out=np.zeros_like(auroc), where=spread > 0)
    mean = (values.astype(np.float64) @ member) / np.maximum(inside, 1.0)
    return Selectivity(chosen, auroc, above, mean)
