"""How counts grow with size: `count ≈ prefactor · size^exponent`, fitted on logarithms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Float64 = npt.NDArray[np.float64]
Numbers = Sequence[float] | npt.NDArray[np.floating]

RESAMPLES = 1000
"""Bootstrap samples behind each interval."""
_NONE = 0.5
"""In place of a count of 0 among resamples."""
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
    chosen = np.random.default_rng(0).integers(len(found), size=(RESAMPLES, len(found)))
    lines = (_line(sizes, mean) for mean in found[chosen].mean(axis=1))
    low, high = np.quantile([one[0] for one in lines if one is not None], (0.025, 0.975))
    return PowerLaw(line[0], float(low), float(high), float(np.exp(line[1])))


def over_models(sizes: Numbers, counts: Numbers) -> PowerLaw | None:
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


def resampled(values: npt.NDArray[np.floating], random: np.random.Generator, resamples: int = RESAMPLES) -> Float64:
    """Sums over units that are drawn with replacement, as many as there are.

    Parameters
    ----------
    values
        (count, unit) what each unit adds to each count: its buddies, or 1 where it has any.
    random
        Draws the units. All counts of one call see the same draws.

    Returns
    -------
    array
        (resample, count) float64. Where none is drawn it is one half, as there is no logarithm of 0.
    """
    units = values.shape[1]
    of_unit = np.ascontiguousarray(values.T, dtype=np.float64)
    # One resample at a time, since a model may have hundreds of thousands of units.
    drawn = (np.bincount(random.integers(units, size=units), minlength=units) for _ in range(resamples))
    return np.maximum(np.stack([times @ of_unit for times in drawn]), _NONE)


def of_draws(draws: Sequence[npt.NDArray[np.floating]], random: np.random.Generator) -> Float64:
    """(resample, model) one draw of each model, as each :func:`resampled` resample is one of its units.

    A single draw of fewer units than there are spreads more than their mean, so an interval of these is on the wide
    side.

    Parameters
    ----------
    draws
        Of each model, (draw,) counts.
    """
    drawn = np.stack([random.choice(of_model, RESAMPLES) for of_model in draws], axis=1)
    return np.maximum(drawn.astype(np.float64), _NONE)


def over_family(sizes: Numbers, counts: Numbers, resamples: Float64) -> PowerLaw | None:
    """How a count grows with the size of the models of a family, with a bootstrap interval.

    The interval says what other units of these very models would give. How far models of other training or another
    design lie off the line is in the interval of :func:`over_models`.

    Parameters
    ----------
    sizes, counts
        (model,) in any units.
    resamples
        (resample, model) the same of resampled units, above 0.

    Returns
    -------
    PowerLaw or None
        None where a model counts nothing, since leaving it out would bend the line, and where all sizes are equal.
    """
    size, count = np.asarray(sizes, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    line = _line(size, count) if (count > 0).all() else None
    if line is None:
        return None
    centred = np.log(size) - np.log(size).mean()
    exponents = np.log(resamples) @ centred / (centred**2).sum()
    low, high = np.quantile(exponents, (0.025, 0.975))
    return PowerLaw(line[0], float(low), float(high), float(np.exp(line[1])))


def _line(sizes: Float64, counts: Float64) -> tuple[float, float] | None:
    """Slope and intercept of the logarithms by least squares; None with fewer than two sizes that count something."""
    known = counts > 0
    x, y = np.log(sizes[known]), np.log(counts[known])
    if len(np.unique(x)) < 2:
        return None
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    return slope, float(y.mean() - slope * x.mean())
