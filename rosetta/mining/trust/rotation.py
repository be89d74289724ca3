"""Excess over rotation: whether two models share units, or only the space that their layers span.

If only the space is shared, units of a layer are nothing special: any other basis of the layer does as well. So a layer
is rotated by random orthogonal matrices `R` (Haar), in the manner of Gurnee et al. (arXiv 2401.12181, 2024), and the
rotated units are correlated with the other model's as the units are. No map is needed for that: with `P_aa` the
correlations of the layer's units among themselves, `P_ab` those with the other model's units, and `S` the units'
standard deviations on the common grid,

    P′ = diag(Rᵀ S P_aa S R)^−½ Rᵀ S P_ab.

Units are taken standardised on their own grid, since a correlation knows no scale: otherwise the few units that vary
most would be nearly all that is rotated. So `S` is 1 unless the common grid is finer than the layer's own.

The excess of a unit is its best correlation with any unit of the other model less the mean over rotations of the best
of the rotated units, *at the same rank*: the best of all is compared with the best of all rotated ones.

`P_aa` is on the layer's own grid, also where the common one is finer. `S` makes the variances of the units exact there;
only what two units share is taken to shrink by upsampling as the units themselves do. That leaves `P′` off by 0.04 to
0.6 % of itself for units that have little in common, and by 1 to 2 % (single ones by 13 %) on the layers of a DCGAN.

Units that span a space of their own in a larger layer, and of which another model has a rotated copy, do better than
rotations of the whole layer, too: that space is special, though none of its units is. So it is also asked what else the
layer knows of a unit's partner. Once the unit is taken away from the other units, one of those that share a space with
it knows as much again, and where units are shared none knows anything (:func:`best_alone`).
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LARGEST = 4096
"""Units that are rotated at once; larger layers are rotated in parts, which takes a bounded time for each unit."""
_SEEN = 2048
"""Rotated units of a layer, at least; and, as long as a layer has not more itself, at most at once."""

_SAME = 1e-3
"""Of a unit's variance: with less left once another is taken away, the two are the same but for rounding."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Correlations = Callable[[], Iterable[tuple[Float32, npt.NDArray[np.intp]]]]
"""Gives, as often as it is called, (unit, some of B's units) correlations, panel by panel, and the number of each
column's common grid."""


def rotation_count(units: int, least: int) -> int:
    """How many rotations a layer of so many units gets: of a small one more, as each shows few units."""
    return max(least, ceil(_SEEN / units))


def parts_of_layer(units: int) -> list[slice]:
    """The units of a layer in parts of about the same size, which are rotated by themselves."""
    edges = np.linspace(0, units, ceil(units / LARGEST) + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def rotation_bytes(units: int) -> int:
    """Bytes that :func:`rotated_best` holds at most for a part of so many units, but for a panel of correlations."""
    at_once = units * ceil(_SEEN / units)
    # Correlations, covariances, the Gaussian, Q and R of its factors; rotations and a product of their size.
    return 4 * (5 * units**2 + 3 * units * at_once)


def rotation(units: int, seed: tuple[int, ...]) -> Tensor:
    """(unit, rotated unit) float32 a random orthogonal matrix, all alike probable (Mezzadri, 2007)."""
    gaussian = np.random.default_rng(seed).standard_normal((units, units), np.float32)
    # Without the signs Q would depend on how its algorithm chooses them.
    q, r = torch.linalg.qr(torch.from_numpy(gaussian))
    return q * r.diagonal().sign()


def rotated_best(own: Float32, std: Float64, with_b: Correlations, rotations: int, seed: tuple[int, ...]) -> Float32:
    """The best correlation of each rotated unit with any unit of B.

    Parameters
    ----------
    own
        (unit, unit) `P_aa`; NaN in the rows of constant units, which take no part.
    std
        (unit, common grid) `S` in standardised units.
    with_b
        `P_ab`; a column that is all NaN is of a unit that takes no part.

    Returns
    -------
    (rotation, unit) float32
        Under each rotation by unit, in no order that means anything; NaN for units that take no part, and where fewer
        than two do: one unit cannot be rotated.
    """
    result = np.full((rotations, len(own)), np.nan, np.float32)
    alive = ~np.isnan(own.diagonal()) & (np.nan_to_num(std) > 0).all(axis=1)
    units = int(alive.sum())
    if units < 2:
        return result
    scales = torch.from_numpy(std[alive].astype(np.float32)).T[:, :, None]
    among = torch.from_numpy(np.nan_to_num(own[np.ix_(alive, alive)]))
    batch = ceil(_SEEN / units)
    for first in range(0, rotations, batch):
        numbers = range(first, min(first + batch, rotations))
        rotated = torch.cat([rotation(units, (*seed, number)) for number in numbers], dim=1)
        norms = [_norms(among, scale, rotated) for scale in scales]
        best = torch.full((rotated.shape[1],), -torch.inf)
        for values, grids in with_b():
            values = values[alive]
            there = ~np.isnan(values).all(axis=0)
            for grid in np.unique(grids[there]):
                columns = torch.from_numpy(np.nan_to_num(values[:, there & (grids == grid)])) * scales[grid]
                best = torch.maximum(best, torch.mm(rotated.T, columns).amax(dim=1) / norms[grid])
        result[numbers.start : numbers.stop, alive] = best.view(len(numbers), units).numpy()
    result[np.isinf(result)] = np.nan
    return result


def best_alone(own: Float32, with_b: Correlations) -> tuple[Float32, Float64]:
    """The best correlation of each unit with any unit of B, and how far it is alone in that.

    Parameters
    ----------
    own, with_b
        As :func:`rotated_best` takes them.

    Returns
    -------
    best : (unit,) float32
        NaN for units that take no part.
    alone : (unit,) float64
        1 less what another unit of the layer, from which this one is taken away, correlates with the partner at most,
        over what this one does; either sign counts. NaN where no correlation is above 0, or no other unit takes part.
    """
    units = len(own)
    best = np.full(units, np.nan, np.float32)
    with_partner = np.zeros((units, units), np.float32)
    for values, _ in with_b():
        top = np.where(np.isnan(values), -np.inf, values).argmax(axis=1)
        value = values[np.arange(units), top]
        better = ~(value <= best) & ~np.isnan(value)
        best[better] = value[better]
        with_partner[:, better] = np.nan_to_num(values[:, top[better]])
    among = np.nan_to_num(own)
    left = 1 - among**2
    apart = left > _SAME
    rest = np.where(apart, np.abs(with_partner - among * best) / np.sqrt(np.where(apart, left, 1.0)), 0.0)
    np.fill_diagonal(rest, 0.0)
    above = (best > 0) & (np.count_nonzero(~np.isnan(best)) > 1)
    return best, np.where(above, 1 - rest.max(axis=0) / np.where(above, best, 1.0), np.nan).astype(np.float64)


def _norms(among: Tensor, scale: Tensor, rotated: Tensor) -> Tensor:
    """(rotated unit,) standard deviations."""
    product = torch.mm(among * scale * scale.T, rotated)
    return product.mul_(rotated).sum(dim=0).clamp_(min=torch.finfo(torch.float32).tiny).sqrt_()


def at_same_rank(best: Float32, rotated: Float32) -> Float64:
    """(unit,) mean over rotations of the best of the rotated units at the unit's rank.

    Parameters
    ----------
    best
        (unit,) the best correlation of each unit of a layer.
    rotated
        (rotation, unit) those of the rotated layer.

    Returns
    -------
    (unit,) float64
        NaN for units that take no part.
    """
    expected = np.full(len(best), np.nan)
    living = np.flatnonzero(~np.isnan(best) & ~np.isnan(rotated).any(axis=0))
    order = living[np.argsort(-best[living], kind="stable")]
    expected[order] = np.sort(rotated[:, living].astype(np.float64), axis=1)[:, ::-1].mean(axis=0)
    return expected
