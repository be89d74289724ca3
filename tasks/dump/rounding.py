"""Activation maps rounded to few significant bits, so few that no unit's correlations suffer.

Rounding adds noise. Of two units whose noise is at most ε of their standard deviations, the correlation on the native
grid is off by 2 ε at most, whatever the noise looks like: each moves by an angle of at most ε. What it is off by in
fact is far less, as the noise follows nothing. A value x that keeps m bits behind its first is off by at most
2⁻ᵐ⁻¹ |x|, evenly, so that m follows from a unit's mean square and its variance. Ten bits, those of float16, do where
the mean is not far above the standard deviation; a unit that varies little around a large mean keeps more.
"""

from collections.abc import Callable
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
_FEWEST_DO = 3 * LARGEST_NOISE**2 * 4.0 ** (FEWEST_BITS + 1)
"""How many times its variance a unit's mean square may be for them to do, see :func:`significant_bits`: three."""
_ALL_BITS = 23
GROUP_BYTES = 2 * 2**20
"""Maps that are looked at together: they pass several times, and are to stay in the caches."""
_LONG = 64
"""Positions from which on torch takes maxima of rows fast."""
_VARIES = 2.0**-16
"""A variance that is less, over the mean square, may be that of one single value."""
_PIECE = 512
"""Values whose squares are added up in their own type: torch adds them one after the other."""
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

    @classmethod
    def of(cls, sums: "Sums", channels: int) -> "Statistics":
        """From sums by column, in host memory."""
        peak, mean, square, noise = sums
        by_image = peak.transpose(0, 1).flatten(1)[:, :channels].contiguous()
        return cls(by_image.numpy(), *(values.flatten()[:channels].numpy() for values in (mean, square, noise)))

    @property
    def finite(self) -> bool:
        """Whether all maps are."""
        return bool(np.isfinite(self.mean).all())


Sums = tuple[Tensor, Tensor, Tensor, Tensor]
"""Peak (column, image, channel); and mean, square and noise (column, channel) float64, see :class:`Statistics`."""


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
    step = max(1, GROUP_BYTES // (4 * max(1, flat[0].numel())))
    # Room for all groups: fresh memory comes from the system page by page.
    room = torch.empty_like(flat[:step]), torch.empty_like(flat[:step])
    parts: list[Sums] = []
    usual = True
    for start in range(0, len(flat), step):
        group = flat[start : start + step]
        sums = _round_usual(group, rounded, room) if usual else None
        usual = sums is not None
        parts.append(sums or round_units(group, rounded, room))
    peak, mean, square, noise = (torch.cat(values) for values in zip(*parts, strict=True))
    return Statistics.of((peak, mean, square, noise), channels)


def _round_usual(maps: Tensor, rounded: bool, room: tuple[Tensor, Tensor]) -> Sums | None:
    """Round (column, image, channel, position) in place: all units to the fewest bits, in few passes over the maps.

    Whether these do follows from the moments of the rounded maps, which are needed anyway. Units for which they do not,
    or whose scale is out of the ordinary, go through :func:`round_units`. None where most are such: nothing is changed.
    """
    kept, scratch = (one[: len(maps)] for one in room)
    count = maps.shape[1] * maps.shape[3]
    high = _highest(maps)
    if rounded:
        _round(maps, FEWEST_BITS, out=kept)
        noise = _squares(torch.sub(kept, maps, out=scratch))
        _round(high, FEWEST_BITS, out=high)
    else:
        kept, noise = maps, torch.zeros(len(maps), maps.shape[2], dtype=torch.float64)
    mean = kept.sum(dim=3).double().sum(dim=1) / count
    squares = _squares(kept)
    square = squares - count * mean**2
    # Where the mean is small like this, taking its square off costs no digits.
    usual = _FEWEST_DO * square >= squares
    usual &= (squares > _SMALL**2) & (squares < _LARGE**2)
    usual &= noise <= (LARGEST_NOISE * (1 - LARGEST_NOISE)) ** 2 * square  # which is of the rounded ones
    if (square <= _VARIES * squares).any():
        highest = high.amax(dim=1)
        single = (_lowest(kept).amin(dim=1) == highest) & (noise == 0)
        single &= (highest == 0) | (highest.abs() > _SMALL)  # no error vanished
        mean, square = torch.where(single, highest.double(), mean), square.masked_fill(single, 0)
        usual |= single
    other = ~usual
    others = int(other.sum())
    if 2 * others > other.numel():
        return None
    apart = maps.transpose(1, 2)[other][:, :, None] if others else maps[:0]  # (unit, image, 1, position), a copy
    if rounded:
        maps.copy_(kept)
    if others:
        sums = round_units(apart, rounded, (torch.empty_like(apart), torch.empty_like(apart)))
        maps.transpose(1, 2)[other] = apart.squeeze(2)
        high.transpose(1, 2)[other], mean[other], square[other], noise[other] = (one.squeeze(-1) for one in sums)
    return high, mean, square, noise


def round_units(maps: Tensor, rounded: bool, room: tuple[Tensor, Tensor] | None = None) -> Sums:
    """Round (column, image, channel, position) in place, each unit to as many bits as it needs.

    Parameters
    ----------
    room
        Two times as much as the maps take. Without it everything is summed in float64, and nothing waits for a value:
        all of it runs on the maps' device.
    """
    low, high = _lowest(maps), _highest(maps)
    count = maps.shape[1] * maps.shape[3]
    lowest, highest = low.amin(dim=1), high.amax(dim=1)
    largest = torch.maximum(lowest.abs(), highest.abs())
    shift = maps.mean(dim=3).mean(dim=1)
    # Where squares overflow or vanish in float32, all sums are taken in float64.
    if room is not None and ((largest < _LARGE) & ((largest > _SMALL) | (lowest == highest))).all():
        kept, scratch = (one[: len(maps)] for one in room)
    else:
        kept, scratch = torch.empty_like(maps), torch.empty_like(maps, dtype=torch.float64)
        shift = shift.double().nan_to_num(posinf=0, neginf=0)
    mean, square = _moments(maps, shift, scratch)
    noise = torch.zeros_like(square)
    if rounded:
        bits = significant_bits(mean, square / count, largest)
        # What is not finite is to be seen, and stays.
        bits = torch.where(torch.isfinite(mean), bits, _ALL_BITS)[:, None, :, None]
        kept.copy_(maps)
        _round(maps, bits, out=maps)
        noise = _squares(torch.sub(kept, maps, out=scratch))
        # Few values, again and again, may all be rounded by the most that there is.
        coarse = (noise > LARGEST_NOISE**2 * square)[:, None, :, None]
        if room is None or coarse.any():
            maps.copy_(torch.where(coarse, kept, maps))
        bits = torch.where(coarse, _ALL_BITS, bits).squeeze(3)
        noise = torch.where(coarse[:, 0, :, 0], 0.0, noise)
        for values in (low, high):
            _round(values, bits, out=values)
        lowest, highest = low.amin(dim=1), high.amax(dim=1)
        mean, square = _moments(maps, mean.to(scratch.dtype), scratch)
    # A unit that holds one single value does so to the last bit.
    single = lowest == highest
    return high, torch.where(single, highest.double(), mean), torch.where(single, 0.0, square), noise


def _highest(maps: Tensor) -> Tensor:
    """(column, image, channel) maxima of maps."""
    # Not aminmax, which was measured to be forty times slower along an axis.
    return maps.amax(dim=3) if maps.shape[3] >= _LONG else _folded(maps, torch.maximum)


def _lowest(maps: Tensor) -> Tensor:
    """(column, image, channel) minima of maps."""
    return maps.amin(dim=3) if maps.shape[3] >= _LONG else _folded(maps, torch.minimum)


def _folded(maps: Tensor, extreme: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The same of short maps, which torch takes value by value, by folding them in half again and again."""
    if maps.shape[3] == 1:
        return maps.squeeze(3).clone()
    while (length := maps.shape[3]) > 1:
        maps = extreme(maps[..., : (length + 1) // 2], maps[..., length // 2 :])
    return maps.squeeze(3)


def _moments(maps: Tensor, shift: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """(column, channel) float64 mean and sum of squared deviations, from sums of each map about a near value."""
    count = maps.shape[1] * maps.shape[3]
    centred = torch.sub(maps, shift[:, None, :, None], out=scratch)
    total = centred.sum(dim=3).double().sum(dim=1)
    return shift.double() + total / count, (_squares(centred) - total**2 / count).clamp_(min=0.0)


def _squares(values: Tensor) -> Tensor:
    """(column, channel) float64 sums of squares, of pieces of each map in the type of the values."""
    whole = values.shape[3] // _PIECE * _PIECE
    if whole and values.shape[3] > _PIECE:
        pieces = torch.linalg.vector_norm(values[..., :whole].unflatten(3, (-1, _PIECE)), dim=4)
        total = pieces.double().square_().sum(dim=(1, 3))
        return total + _squares(values[..., whole:]) if whole < values.shape[3] else total
    return torch.linalg.vector_norm(values, dim=3).double().square_().sum(dim=1)


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


def _round(values: Tensor, bits: Tensor | int, out: Tensor) -> None:
    """Round float32 values to so many bits behind their first; halves away from zero."""
    integers, rounded, dropped = values.view(torch.int32), out.view(torch.int32), _ALL_BITS - bits
    torch.add(integers, (1 << dropped) >> 1, out=rounded).bitwise_and_(-1 << dropped)
