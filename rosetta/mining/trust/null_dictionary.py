"""How much of a dictionary chance would make: what it counts, against the same counts with images exchanged.

With the images of every model exchanged nothing is left to find, so whatever is counted then is chance: the *null* of
the run's own counts. Found over null says how many times more there is, null over found how much of it is false.

Both come with intervals of 95 % that hold for a few exchanges. Given their sum, of two Poisson counts one is binomial,
and the interval of Clopper and Pearson (1934) for its share is one for their ratio; it stands where the null counts
nothing, too. But units of a layer resemble each other, so that they gain and lose neighbours together, and counts may
scatter more than Poisson's. The few null counts say by how much, and may well underrate it: their variance over their
mean is multiplied by the square of what Student's t makes of two standard deviations with so few of them. By that,
where it is more than 1, all counts are divided.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

NEURONS, CONCEPTS = "Rosetta neurons", "concepts"
"""What is counted beside the buddies with each model, as the table of the null calls it."""
_TAIL = 0.025
"""Of a distribution, on either side of an interval of 95 %."""


@dataclass(frozen=True)
class NullCount:
    """One count of a run beside its null. What the run has no exchanges for is NaN."""

    of: str
    """A model's name for buddies of the anchor with it, :data:`NEURONS` or :data:`CONCEPTS`."""
    found: int
    """By the run itself."""
    null_mean: float
    """Mean count with images exchanged."""
    ratio: float
    """Found over null; infinite where the null has none, NaN where neither has any."""
    ratio_low: float
    """Lower end of its interval."""
    ratio_high: float
    """Upper end of its interval, which may be infinite."""
    fdr: float
    """False discovery rate: null over found, at most 1."""
    fdr_low: float
    """Lower end of its interval."""
    fdr_high: float
    """Upper end of its interval, at most 1."""


def null_counts(frame: pd.DataFrame) -> list[NullCount]:
    """Every count of a run beside its null, in the order of the table.

    Parameters
    ----------
    frame
        `tables/null.parquet`: a row for each `exchange` (0 is the run itself), and what its `count` is `of`.
    """
    # A model may be called `concepts`, too.
    what = list(zip(frame["of"], frame.groupby(["exchange", "of"]).cumcount(), strict=True))
    found, null = dict[tuple[str, int], int](), dict[tuple[str, int], list[int]]()
    for key, exchange, count in zip(what, frame["exchange"], frame["count"], strict=True):
        if exchange == 0:
            found[key] = int(count)
        else:
            null.setdefault(key, []).append(int(count))
    return [_compared(key[0], count, np.array(null.get(key, []), np.float64)) for key, count in found.items()]


def _compared(of: str, found: int, null: npt.NDArray[np.float64]) -> NullCount:
    if not len(null):
        return NullCount(of, found, *[np.nan] * 7)
    mean = float(null.mean())
    low, high = _interval(found, null)
    return NullCount(
        of, found, mean, _over(found, mean), low, high, *(_rate(one) for one in (_over(found, mean), high, low))
    )


def _interval(found: int, null: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Of the ratio of the expected counts."""
    # Heavy to import, for a page that may have no null to show.
    from scipy.special import betaincinv, ndtri, stdtrit

    total, times = float(null.sum()), len(null)
    dispersion = 1.0
    if times > 1:
        scatter = null.var(ddof=1) / null.mean() if total else 0.0
        dispersion = max(1.0, float(scatter * (stdtrit(times - 1, _TAIL) / ndtri(_TAIL)) ** 2))
    own, other = found / dispersion, total / dispersion
    low = float(betaincinv(own, other + 1, _TAIL)) if found else 0.0
    high = float(betaincinv(own + 1, other, 1 - _TAIL)) if total else 1.0
    return times * _over(low, 1 - low), times * _over(high, 1 - high)


def _over(one: float, other: float) -> float:
    if other:
        return one / other
    return np.inf if one else np.nan


def _rate(ratio: float) -> float:
    """The false discovery rate at a ratio."""
    return float(np.minimum(1.0, 1.0 / ratio)) if ratio else 1.0
