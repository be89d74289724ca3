"""Activation maps rounded to few significant bits, so few that no unit's correlations suffer.

Rounding adds noise. Of two units whose noise is at most ε of their standard deviations, the correlation on the native
grid is off by 2 ε at most, whatever the noise looks like: each moves by an angle of at most ε. What it is off by in
fact is far less, as the noise follows nothing. A value x that keeps m bits behind its first is off by at most
2⁻ᵐ⁻¹ |x|, evenly, so that m follows from a unit's mean square and its variance. Ten bits, those of float16, do where
the mean is not far above the standard deviation; a unit that varies little around a large mean keeps more.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Float64 = npt.NDArray[np.float64]

LARGEST_NOISE = 2.0**-11
"""ε: root mean square of the errors over the standard deviation."""
FEWEST_BITS = 10
"""Of a value behind its first; as many as float16 has."""
_ALL_BITS = 23
_GROUP_BYTES = 2 * 2**20
"""Maps that are looked at together: they pass several times, and are to stay in the caches."""
_SMALLEST, _LARGEST = 1e-30, 3.3e38
"""Beyond these, what bits are worth is another (subnormal numbers), or rounding up leads to infinity."""
_SMALL, _LARGE = 1e-12, 1e15
"""Between these, sums of squares and of squared errors neither overflow nor vanish in float32."""


@dataclass(frozen=True)
class Statistics:
    """Of the maps of one layer over some images, as they are stored."""

    peak: npt.NDArray[np.float32]
    """(image, channel) each map's maximum."""
    mean: Float64
    """(channel,)"""
    square: Float64
    """(channel,) sum of squared deviations from the mean."""
    noise: Float64
    """(channel,) sum of squared errors of the rounding."""

    @property
    def finite(self) -> bool:
        """Whether all maps are."""
        return bool(np.isfinite(self.mean).all())


def round_maps(maps: Tensor, channels: int, rounded: bool = True) -> Statistics:
    """Round maps in place, unit by unit, and sum them up.

    Parameters
    ----------
    maps : (column, image, channel, y, x) float32
        Chunk by chunk, as :class:`storage.artifacts.shards.Shards` cuts them; contiguous along the last three axes.
    channels
        How many there are; the last column may have room for more.
    rounded
        Whether to round them.

    Returns
    -------
    Statistics
        Of the rounded maps. Means are not finite where maps are not, and these stay as they are.
    """
    flat = maps.flatten(3)
    step = max(1, _GROUP_BYTES // (4 * max(1, flat[0].numel())))
    # Room for all groups: fresh memory comes from the system page by page.
    room = torch.empty_like(flat[:step]), torch.empty_like(flat[:step])
    parts = [_round_group(flat[start : start + step], rounded, room) for start in range(0, len(flat), step)]
    peak, mean, square, noise = (torch.cat(values) for values in zip(*parts, strict=True))
    by_image = peak.transpose(0, 1).flatten(1)[:, :channels]
    return Statistics(
        by_image.contiguous().numpy(), *(values.flatten()[:channels].numpy() for values in (mean, square, noise))
    )


def _round_group(maps: Tensor, rounded: bool, room: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Round (column, image, channel, position) in place: peak of each map; mean, square and noise of each channel."""
    kept, scratch = (one[: len(maps)] for one in room)
    # Not aminmax, which was measured to be forty times slower along an axis.
    low, high = maps.amin(dim=3), maps.amax(dim=3)
    count = maps.shape[1] * maps.shape[3]
    shift = maps.mean(dim=3).mean(dim=1)
    lowest, highest = low.amin(dim=1), high.amax(dim=1)
    largest = torch.maximum(lowest.abs(), highest.abs())
    # Where squares overflow or vanish in float32, all sums are taken in float64.
    if not ((largest < _LARGE) & ((largest > _SMALL) | (lowest == highest))).all():
        kept, scratch, shift = kept.double(), scratch.double(), shift.double().nan_to_num(posinf=0, neginf=0)
    mean, square = _moments(maps, shift, scratch)
    if not torch.isfinite(mean).all():
        return high, mean, square, torch.zeros_like(square)
    noise = torch.zeros_like(square)
    if rounded:
        bits = significant_bits(mean, square / count, largest)
        kept.copy_(maps)
        for values, by_channel in ((maps, bits[:, None, :, None]), (high, bits[:, None]), (low, bits[:, None])):
            _round(values, by_channel)
        noise = _squares(torch.sub(kept, maps, out=scratch))
        # Few values, again and again, may all be rounded by the most that there is.
        coarse = noise > LARGEST_NOISE**2 * square
        if coarse.any():
            maps.copy_(torch.where(coarse[:, None, :, None], kept, maps))
            noise[coarse] = 0
            low, high = maps.amin(dim=3), maps.amax(dim=3)
        lowest, highest = low.amin(dim=1), high.amax(dim=1)
        mean, square = _moments(maps, mean.to(scratch.dtype), scratch)
    # A unit that holds one single value does so to the last bit.
    single = lowest == highest
    return high, torch.where(single, highest.double(), mean), torch.where(single, 0.0, square), noise


def _moments(maps: Tensor, shift: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """(column, channel) float64 mean and sum of squared deviations, from sums of each map about a near value."""
    count = maps.shape[1] * maps.shape[3]
    centred = torch.sub(maps, shift[:, None, :, None], out=scratch)
    total = centred.sum(dim=3).double().sum(dim=1)
    return shift.double() + total / count, (_squares(centred) - total**2 / count).clamp_(min=0.0)


def _squares(values: Tensor) -> Tensor:
    """(column, channel) float64 sums of squares, of each map in the type of the values."""
    return torch.linalg.vector_norm(values, dim=3).double().square().sum(dim=1)


def significant_bits(mean: Tensor, variance: Tensor, largest: Tensor) -> Tensor:
    """How many bits values keep behind their first, so that the noise is at most :data:`LARGEST_NOISE`.

    Parameters
    ----------
    mean, variance, largest
        Of each unit, float64; the last is its largest absolute value.

    Returns
    -------
    Tensor of int32
        Of each unit; all 23 where its values are one and the same, or too small or too large to be rounded.
    """
    # Mean square of the errors at m bits: 4⁻ᵐ⁻¹ / 3 of the mean square of the values.
    share = 3 * LARGEST_NOISE**2 * variance / (mean**2 + variance)
    bits = torch.ceil(-1 - share.log2() / 2).nan_to_num(_ALL_BITS, _ALL_BITS).clamp(FEWEST_BITS, _ALL_BITS)
    fit = (largest > _SMALLEST) & (largest < _LARGEST)
    return torch.where(fit, bits, _ALL_BITS).to(torch.int32)


def _round(values: Tensor, bits: Tensor) -> None:
    """Round float32 values in place to so many bits behind their first; halves away from zero."""
    integers = values.view(torch.int32)
    dropped = _ALL_BITS - bits
    half = torch.where(dropped > 0, 1 << (dropped - 1).clamp(min=0), 0)
    integers.add_(half.to(torch.int32)).bitwise_and_((-1 << dropped).to(torch.int32))
