"""How much of one map others explain: a Grad-CAM map, say, by the maps of a dictionary's concepts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.grid import upsampling

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """A map in terms of `C` others."""

    pearson: Float64
    """(C,) correlation with each over the positions of both maps' common grid; NaN where one is constant."""
    weight: Float64
    """(C,) what each has in the best sum of all of them, no less than 0, with the map's maximum as 1."""
    share: float
    """Share of the map's variance that this sum explains, at most 1; NaN of a constant map."""


def explained(target: Float32, maps: Sequence[Float32]) -> Explained:
    """Fit a map by others, none of which may count negatively.

    Least squares with weights no less than 0 (Lawson and Hanson, *Solving Least Squares Problems*, 1974), on the finest
    grid of all. What lies below a map's 0 does not count: a concept is not there.

    Parameters
    ----------
    target
        (y, x), no less than 0.
    maps
        Each (y, x), on any grid, 0 at its unit's mean.
    """
    from scipy.optimize import nnls  # slow to import

    pearson = np.array([_correlation(target, one) for one in maps])
    fine = tuple(max(one.shape[axis] for one in (target, *maps)) for axis in (0, 1))
    top = float(target.max()) if target.size else 0.0
    if top <= 0 or np.ptp(target) == 0:
        return Explained(pearson, np.zeros(len(maps)), float("nan"))
    wanted = (_resampled(target, fine) / top).ravel()
    present = [np.maximum(_resampled(one, fine), 0.0).ravel() for one in maps]
    columns = np.stack(present, axis=1) if present else np.zeros((len(wanted), 0))
    weight, residue = nnls(columns, wanted) if present else (np.zeros(0), float(np.linalg.norm(wanted)))
    return Explained(pearson, weight, 1.0 - residue**2 / float(((wanted - wanted.mean()) ** 2).sum()))


def likest_first(pearson: Float64, weight: Float64) -> npt.NDArray[np.intp]:
    """(C,) the maps in the order of their correlation with the one that is explained, those without one last.

    Weights decide between equals alone: where maps are alike, a sum may take any of them.
    """
    return np.lexsort((-weight, -np.nan_to_num(pearson, nan=-2.0)))


def _correlation(a: Float32, b: Float32) -> float:
    common = max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1])
    one, other = (_resampled(each, common) for each in (a, b))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _resampled(values: Float32, grid: tuple[int, ...]) -> Float64:
    down, across = (upsampling(old, new) for old, new in zip(values.shape, grid, strict=True))
    return np.asarray(down @ values.astype(np.float64) @ across.T)
