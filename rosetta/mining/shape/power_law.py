"""How counts grow with size: `count ≈ prefactor · size^exponent`, fitted on logarithms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Float64 = npt.NDArray[np.float64]

_RESAMPLES = 1000
_LEAST = 3
"""Models that a regression takes, as two always lie on a line."""


@dataclass(frozen=True)
class PowerLaw:
    """A fitted power law, with a 95 % interval of its exponent."""

    exponent: float
    low: float
    high: float
    prefactor: float

    def at(self, size: float) -> float:
        """The count that it gives."""
        return float(self.prefactor * size**self.exponent)


def over_units(frame: pd.DataFrame) -> PowerLaw | None:
    """How the buddies of one model grow with the units drawn.

    The line goes through the means over draws. The interval is that of a bootstrap over draws, each with all of its
    numbers of units, as these are parts of one another.

    Parameters
    ----------
    frame
        The rows of one model in `tables/rarefaction.parquet`.

    Returns
    -------
    PowerLaw or None
        None where buddies were found with fewer than two numbers of units.
    """
    counts = frame.pivot_table(index="draw", columns="units", values="buddies", aggfunc="sum")
    sizes, found = counts.columns.to_numpy(np.float64), counts.to_numpy(np.float64)
    line = _line(sizes, found.mean(axis=0)) if len(found) else None
    if line is None:
        return None
    chosen = np.random.default_rng(0).integers(len(found), size=(_RESAMPLES, len(found)))
    lines = (_line(sizes, mean) for mean in found[chosen].mean(axis=1))
    low, high = np.quantile([one[0] for one in lines if one is not None], (0.025, 0.975))
    return PowerLaw(line[0], float(low), float(high), float(np.exp(line[1])))


def over_models(sizes: Sequence[float], counts: Sequence[float]) -> PowerLaw | None:
    """How counts grow with the size of a model, across the models of a run.

    The interval is that of the slope of a regression with normal errors.

    Parameters
    ----------
    sizes, counts
        (model,) units, and buddies with the anchor say. Models that count nothing are left out.

    Returns
    -------
    PowerLaw or None
        None with fewer than three models, or where all have the same size.
    """
    size, count = np.asarray(sizes, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    size, count = size[count > 0], count[count > 0]
    line = _line(size, count)
    if line is None or len(size) < _LEAST:
        return None
    from scipy.special import stdtrit  # slow to import

    x, y = np.log(size), np.log(count)
    freedom = len(x) - 2
    residuals = y - line[0] * x - line[1]
    error = np.sqrt((residuals**2).sum() / freedom / ((x - x.mean()) ** 2).sum())
    half = float(stdtrit(freedom, 0.975) * error)
    return PowerLaw(line[0], line[0] - half, line[0] + half, float(np.exp(line[1])))


def _line(sizes: Float64, counts: Float64) -> tuple[float, float] | None:
    """Slope and intercept of the logarithms by least squares; None with fewer than two sizes that count something."""
    known = counts > 0
    x, y = np.log(sizes[known]), np.log(counts[known])
    if len(np.unique(x)) < 2:
        return None
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    return slope, float(y.mean() - slope * x.mean())
