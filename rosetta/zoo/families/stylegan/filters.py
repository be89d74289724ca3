"""Changing the rate of maps with plain operations: zeros between samples, a filter, every n-th sample of the result."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
"""The low-pass of every published StyleGAN2, before it is scaled."""


def lowpass(taps: Sequence[float] = BINOMIAL, gain: float = 1.0) -> Tensor:
    """(tap, tap) float32, the product of a filter along y and the same along x, of sum `gain`."""
    line = torch.tensor(taps, dtype=torch.float32)
    line = line / line.sum()
    return line[:, None] * line * gain


def upfirdn(
    maps: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Upsample, filter, downsample; differentiable any number of times.

    Parameters
    ----------
    maps
        (image, channel, y, x).
    kernel
        (tap y, tap x), one for all channels. It is convolved, so its first tap meets the newest sample.
    up
        Each sample is followed by `up − 1` zeros along both axes, the last one too.
    down
        Of the filtered samples every `down`-th is kept, from the first on.
    padding
        Zeros before and after on the upsampled grid, along both axes; negative where samples are cut off.
    gain
        Factor; `up²` keeps the mean of maps that are upsampled with a kernel of sum 1.

    Returns
    -------
    Tensor
        (image, channel, y, x), where the kernel overlaps in full: either side is
        `(side · up + before + after − taps) // down + 1`.
    """
    channels, (rows, columns) = maps.shape[1], kernel.shape
    kernel = kernel.to(maps.dtype) * gain
    before, after = padding
    if up == 1:
        shared = max(min(padding), 0)
        maps = _framed(maps, (before - shared, after - shared), (before - shared, after - shared))
        # The convolution of torch is a correlation.
        flipped = kernel.flip((0, 1)).expand(channels, 1, rows, columns)
        return F.conv2d(maps, flipped, stride=down, padding=shared, groups=channels)
    # A transposed convolution never meets the zeros between the samples. It gives partial overlaps, too: as if padded
    # by all taps but one before, and by as many less the zeros after the last sample behind.
    full = F.conv_transpose2d(maps, kernel.expand(channels, 1, rows, columns), stride=up, groups=channels)
    margins = [(before - (taps - 1), after - (taps - up)) for taps in (rows, columns)]
    return _framed(full, *margins)[:, :, ::down, ::down]


def _framed(maps: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Maps with zeros before and after along y and x, or cut where negative; more may be cut than there was."""
    wider = [max(side, 0) for side in (*columns, *rows)]
    maps = F.pad(maps, wider) if any(wider) else maps
    (top, bottom), (left, right) = ((max(-before, 0), max(-after, 0)) for before, after in (rows, columns))
    return maps[:, :, top : maps.shape[2] - bottom, left : maps.shape[3] - right]


class Resample(nn.Module):
    """:func:`upfirdn` as a module, with the filter in the buffer `kernel`."""

    kernel: Tensor

    def __init__(self, up: int, padding: tuple[int, int], gain: float) -> None:
        super().__init__()
        self.up, self.padding = up, padding
        self.register_buffer("kernel", lowpass(gain=gain))

    def forward(self, maps: Tensor) -> Tensor:
        """(image, channel, y, x) → (image, channel, y, x)."""
        return upfirdn(maps, self.kernel, up=self.up, padding=self.padding)
