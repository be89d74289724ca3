"""The filtered leaky ReLU of StyleGAN3 from ordinary operations.

A nonlinearity makes frequencies that its grid cannot hold. So the signal is brought to a finer grid, bent there, and
rid of what is too high before it comes back (Karras et al., 2021, arXiv 2106.12423, section 3.2).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_PIECE = {"cpu": 2**24}
"""Bytes of the fine grid that are worked on at a time, by type of device."""
_PIECE_ELSEWHERE = 2**28
_FEWEST = 16
"""Channels in a piece: fewer would leave a CPU's vector units idle."""


def filtered_lrelu(
    maps: Tensor,
    bias: Tensor,
    up_filter: Tensor | None = None,
    down_filter: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float = math.inf,
) -> Tensor:
    """Bias, upsampling, leaky ReLU, gain, clamp and downsampling.

    The fine grid is `up · down` times as large as the maps, so it is held for some channels at a time unless
    gradients are wanted.

    Parameters
    ----------
    maps
        (image, channel, y, x).
    bias
        (channel,).
    up_filter
        (tap,) filter for either axis of the fine grid; None for a single tap of 1.
    down_filter
        The same for the way back, or (tap, tap) where it is not a product of two.
    up, down
        The fine grid's rate over that of the maps, and over that of the result.
    padding
        Samples of zeros on the fine grid before and after the maps, on either axis; where negative, samples
        that are cut off.
    gain
        Factor after the nonlinearity.
    slope
        Of the nonlinearity below 0.
    clamp
        Largest magnitude on the fine grid.

    Returns
    -------
    Tensor
        (image, channel, y, x), each side `(side · up + padding − (up taps − 1) − (down taps − 1))` over `down`,
        rounded up.
    """
    maps = maps + bias[:, None, None]
    # Depthwise filters on a CPU are several times as fast where a position's channels lie side by side.
    layout = torch.channels_last if maps.device.type == "cpu" else torch.contiguous_format

    def piece(part: Tensor) -> Tensor:
        part = part.contiguous(memory_format=layout)
        # Zeros between the samples take energy out, which the factor `up` per axis puts back; the gain is positive
        # and so may come before the nonlinearity.
        part = _upsample(part, up_filter, up, padding, math.sqrt(gain) * up)
        part = F.leaky_relu(part, slope).clamp(-clamp, clamp)
        return _downsample(part, down_filter, down)

    fine = len(maps) * (maps.shape[2] * up) * (maps.shape[3] * up) * maps.element_size()
    channels = max(_PIECE.get(maps.device.type, _PIECE_ELSEWHERE) // max(fine, 1), _FEWEST)
    if channels >= maps.shape[1]:
        return piece(maps)
    return torch.cat([piece(part) for part in maps.split(channels, 1)], 1)


def _upsample(maps: Tensor, kernel: Tensor | None, up: int, padding: tuple[int, int], factor: float) -> Tensor:
    """`up − 1` zeros after every sample, padding, and a filter where it overlaps in full; `factor` per axis."""
    kernel = (maps.new_ones(1) if kernel is None else kernel) * factor
    channels, taps = maps.shape[1], len(kernel)
    # A transposed convolution gives every overlap, the partial ones too: as if padded by all taps but one before,
    # and by as many less the zeros after the last sample behind.
    before, after = padding[0] - (taps - 1), padding[1] - (taps - up)
    down_y, across_x = (kernel.view(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((-1, 1), (1, -1)))
    maps = F.conv_transpose2d(maps, down_y, stride=(up, 1), groups=channels)
    maps = F.conv_transpose2d(F.pad(maps, (0, 0, before, after)), across_x, stride=(1, up), groups=channels)
    return F.pad(maps, (before, after))


def _downsample(maps: Tensor, kernel: Tensor | None, down: int) -> Tensor:
    """A filter where it overlaps in full, then every `down`-th sample."""
    if kernel is None:
        return maps[:, :, ::down, ::down]
    channels = maps.shape[1]
    flipped = kernel.flip(tuple(range(kernel.ndim)))  # the convolution of torch is a correlation
    if kernel.ndim == 2:
        return F.conv2d(maps, flipped.expand(channels, 1, -1, -1), stride=down, groups=channels)
    down_y, across_x = (flipped.view(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((-1, 1), (1, -1)))
    maps = F.conv2d(maps, across_x, stride=(1, down), groups=channels)
    return F.conv2d(maps, down_y, stride=(down, 1), groups=channels)
