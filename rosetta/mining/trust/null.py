"""The shape of the null: how a correlation is distributed when images are exchanged, unit by unit.

Mean and variance of a pair's null are exact (:mod:`~rosetta.mining.trust.chance`); how heavy its tail is depends on how
unevenly a unit's activation is spread over the images. For each unit it is found from circular shifts of the image
order against some partners in the other model. All shifts of a pair are one cross-correlation along the image axis:
with Fourier transforms it costs little more than one of them.

Each pair's shifted correlations are standardised by their own mean and deviation and pooled over the partners. Beyond
the highest two in a hundred a generalised Pareto distribution stands for the tail (Knijnenburg et al., 2009), so that a
p-value may be smaller than one over the number of shifts. Its shape is kept at 0 or above: a bounded tail would make
p-values of exactly 0. The fit is tested on shifts that had no part in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import product_grid
from rosetta.mining.trust.thumbs import coarsening
from rosetta.units import Grid

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

PARTNERS = 32
"""Units of the other model that a unit's null is pooled over."""
TAIL = 0.02
"""Share of the null that the tail is fitted to."""
_SORTED = 2048
"""Samples that the body of a null is found from, about."""
_KEPT = 512
"""Order statistics that stand for the body of a null."""
_WORK = 1 << 22
"""Shifted correlations that are held at once."""
_DOUBT = 4.0
"""Standard errors by which unseen shifts may go beyond the tail before it is not believed."""
_FAR = 1e-3
"""Tail probability at which they are counted."""


@dataclass(frozen=True)
class Null:
    """Nulls of some units; `M` samples each."""

    body: Float32
    """(unit, quantile) evenly spaced order statistics of the standardised correlations, rising."""
    samples: int
    """How many each unit has; 0 where nothing can be said."""
    threshold: Float64
    """(unit,) where the tail begins."""
    scale: Float64
    """(unit,) of the generalised Pareto distribution."""
    shape: Float64
    """(unit,) of it, 0 or above."""
    believed: npt.NDArray[np.bool_]
    """(unit,) whether unseen shifts bear the tail out; where not, no p-value is below 1 / (M + 1)."""

    def of(self, units: slice) -> "Null":
        """Those of some of the units."""
        return replace(self, **{name: getattr(self, name)[units] for name in _ARRAYS})

    def p_values(self, deviation: Float32) -> Float32:
        """(unit, other) how probable a correlation at least so many standard deviations above its mean is by chance.

        Parameters
        ----------
        deviation
            (unit, other) NaN stays NaN.
        """
        unknown = np.isnan(deviation)
        known = np.where(unknown, np.float32(0.0), deviation)
        place = torch.searchsorted(torch.from_numpy(self.body), torch.from_numpy(known)).numpy()
        last = self.body.shape[1] - 1
        above = np.clip(place, 1, last)
        high, low = (np.take_along_axis(self.body, index, axis=1) for index in (above, above - 1))
        gap = high - low
        share = np.divide(known - low, gap, out=np.ones_like(gap), where=gap > 0)
        np.clip(share, 0.0, 1.0, out=share)
        p = (1.0 - (above - 1 + share) / last).astype(np.float32)
        row, column = np.nonzero(known > self.threshold[:, None])
        excess = known[row, column] - self.threshold[row]
        tail = TAIL * _survival(excess, self.scale[row], self.shape[row])
        p[row, column] = np.where(self.believed[row], tail, np.maximum(tail, 1.0 / (self.samples + 1)))
        # The smallest that float32 holds: a logarithm will be taken.
        p = np.maximum(p, np.finfo(np.float32).tiny)
        p[unknown | np.isnan(self.body[:, :1])] = np.nan
        return p


_ARRAYS = ("body", "threshold", "scale", "shape", "believed")
"""Fields of a null with an entry for each unit."""


def _survival(excess: Float64, scale: Float64, shape: Float64) -> Float64:
    """P(X > excess) of generalised Pareto distributions."""
    heavy = np.maximum(shape, 1e-9)
    with np.errstate(over="ignore"):
        return np.where(shape > 1e-9, (1.0 + heavy * excess / scale) ** (-1.0 / heavy), np.exp(-excess / scale))


@dataclass(frozen=True)
class Shapes:
    """Small thumbs of some units that share a grid, over the same images as their partners'."""

    grid: Grid
    units: npt.NDArray[np.intp]
    """(unit,) where they stand among all."""
    thumbs: Float32
    """(unit, image, position)"""


def null_of(units: Iterable[Shapes], partners: Sequence[Shapes], count: int) -> Null:
    """The nulls of units against partners of another model.

    Parameters
    ----------
    units
        All units of a model, grid by grid; `count` in number.
    partners
        A few units of the other that vary; without any, nothing can be said.
    """
    images = partners[0].thumbs.shape[1] if partners else 1
    others = sum(len(side.units) for side in partners)
    null = Null(
        np.full((count, _KEPT), np.nan, dtype=np.float32),
        others * (images - 1),
        np.full(count, np.inf),
        np.ones(count),
        np.zeros(count),
        np.zeros(count, dtype=bool),
    )
    if not partners:
        return null
    spectra = [_spectra(side.thumbs) for side in partners]
    size = max(1, _WORK // (images * others))
    for side in units:
        for start in range(0, len(side.units), size):
            part = Shapes(side.grid, side.units[start : start + size], side.thumbs[start : start + size])
            of_part = _spectra(part.thumbs)
            values = torch.cat(
                [
                    _shifted(of_part, part.grid, other, partner.grid, images)
                    for other, partner in zip(spectra, partners, strict=True)
                ],
                dim=1,
            )
            for name, fitted in zip(_ARRAYS, _fit(values), strict=True):
                getattr(null, name)[part.units] = fitted
    return null


def joined_nulls(nulls: Sequence[Null]) -> Null:
    """Nulls of neighbouring units, as one."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(null, name) for null in nulls]) for name in _ARRAYS}
    return replace(nulls[0], **joined)


def standardised_shifts(unit: Shapes, partner: Shapes) -> Float32:
    """(shift,) the null of a single pair, in standard deviations from its mean."""
    images = unit.thumbs.shape[1]
    shifted = _shifted(_spectra(unit.thumbs), unit.grid, _spectra(partner.thumbs), partner.grid, images)
    return np.asarray(shifted[0, 0].numpy())


def _spectra(thumbs: Float32) -> Tensor:
    """(frequency, unit, position) of each unit's thumbs along the images."""
    return torch.fft.rfft(torch.from_numpy(thumbs), dim=1).transpose(0, 1)


def _shifted(a: Tensor, grid_a: Grid, b: Tensor, grid_b: Grid, images: int) -> Tensor:
    """(unit, partner, shift) standardised correlations at all shifts but none; 0 where a pair does not vary."""
    grid = product_grid(grid_a, grid_b)
    a, b = _on(a, grid_a, grid), _on(b, grid_b, grid)
    spectrum = torch.matmul(a, b.conj().transpose(1, 2))
    shifts = torch.fft.irfft(spectrum.permute(1, 2, 0), n=images, dim=2)[:, :, 1:]
    shifts = shifts - shifts.mean(dim=2, keepdim=True)
    deviation = shifts.square().mean(dim=2, keepdim=True).sqrt()
    return torch.where(deviation > 0, shifts / deviation, 0.0)


def _on(spectra: Tensor, fine: Grid, coarse: Grid) -> Tensor:
    return spectra if fine == coarse else spectra @ coarsening(fine, coarse).to(spectra.dtype)


def _fit(values: Tensor) -> tuple[npt.NDArray[np.generic], ...]:
    """Body, threshold, scale, shape and belief of each unit, from (unit, partner, shift) standardised correlations."""
    units, partners, _ = values.shape
    # The body needs no more than some of the shifts; only the tail is short of samples.
    some = values[:, :, :: max(1, partners * values.shape[2] // _SORTED)].flatten(1)
    # Numpy sorts ten times as fast as torch, which notes where each came from.
    ordered = torch.from_numpy(np.sort(some.numpy(), axis=1))
    body = ordered[:, torch.linspace(0, ordered.shape[1] - 1, _KEPT).round().long()]
    threshold, scale, shape = _tail(values)
    # Fitted to every other shift, and counted on the rest: shift by shift, since partners are not independent.
    limit = _quantile(*_tail(values[:, :, ::2]), _FAR)
    unseen = (values[:, :, 1::2] > limit[:, None, None]).double().sum(dim=1)  # (unit, shift)
    number = unseen.shape[1]
    error = unseen.std(dim=1, correction=0).clamp_min((partners * _FAR) ** 0.5) / max(1.0, number**0.5)
    believed = (unseen.mean(dim=1) - partners * _FAR if number else torch.zeros(units)) <= _DOUBT * error
    return body.numpy(), threshold.numpy(), scale.numpy(), shape.numpy(), believed.numpy()


def _tail(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Threshold, scale and shape of each unit's tail, by probability-weighted moments (Hosking and Wallis, 1987).

    Parameters
    ----------
    values
        (unit, partner, shift)
    """
    pooled = values.flatten(1)
    count = max(2, round(TAIL * pooled.shape[1]))
    least = pooled.shape[1] - min(count + 1, pooled.shape[1])
    ordered = torch.from_numpy(np.sort(np.partition(pooled.numpy(), least, axis=1)[:, least:], axis=1)).double()
    threshold, highest = ordered[:, 0], ordered[:, -count:]
    excess = highest - threshold[:, None]
    mean = excess.mean(dim=1)
    weight = 1.0 - (torch.arange(1, count + 1, dtype=torch.float64) - 0.35) / count
    weighted = (excess * weight).mean(dim=1)
    shape = 2.0 - mean / (mean - 2.0 * weighted)
    scale = 2.0 * mean * weighted / (mean - 2.0 * weighted)
    # A bounded tail becomes an exponential one of the same mean; one without a mean is as heavy as can be fitted.
    heavy = (shape > 0) & torch.isfinite(shape)
    return threshold, torch.where(heavy, scale, mean).clamp_min(1e-12), torch.where(heavy, shape, 0.0).clamp_max(0.9)


def _quantile(threshold: Tensor, scale: Tensor, shape: Tensor, p: float) -> Tensor:
    ratio = TAIL / p
    heavy = scale / shape.clamp_min(1e-9) * (ratio ** shape.clamp_min(1e-9) - 1.0)
    return threshold + torch.where(shape > 1e-9, heavy, scale * np.log(ratio))
