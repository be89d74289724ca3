"""What style-based generators are built from (StyleGAN2: Karras et al., CVPR 2020, arXiv 1912.04958).

Weights are stored at unit scale and scaled when they are used, which gives all of them the same learning rate
(Karras et al., 2018, arXiv 1710.10196, section 4.1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAPPING_RATE = 0.01
"""Learning rate of the mapping, relative to the rest; its weights are stored divided by it."""
CHANNEL_BASE = 32768
"""Channels times side of the grid, in config F."""
CHANNEL_MAX = 512
_SLOPE = 0.2
"""Of the leaky ReLU below 0."""
_EPSILON = 1e-8


@dataclass(frozen=True)
class Activation:
    """A nonlinearity."""

    function: Callable[[Tensor], Tensor]
    gain: float = 1.0
    """Factor after it, which keeps the variance where it has a meaning."""


ACTIVATIONS = {
    "linear": Activation(lambda maps: maps),
    "relu": Activation(F.relu, math.sqrt(2)),
    "lrelu": Activation(lambda maps: F.leaky_relu(maps, _SLOPE), math.sqrt(2)),
    "tanh": Activation(torch.tanh),
    "sigmoid": Activation(torch.sigmoid),
    "elu": Activation(F.elu),
    "selu": Activation(F.selu),
    "softplus": Activation(F.softplus),
    "swish": Activation(F.silu, math.sqrt(2)),
}
"""By the names that NVIDIA's constructors take."""


def widths(resolution: int, channel_base: int = CHANNEL_BASE, channel_max: int = CHANNEL_MAX) -> dict[int, int]:
    """Channels by the side of the grid, from 4 to the resolution: `channel_base / side`, at most `channel_max`.

    Config F by default; config E has half the base.

    Raises
    ------
    ValueError
        The resolution is no power of two from 8 on.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"resolution is {resolution}, not a power of two from 8 on")
    sides = (2**power for power in range(2, resolution.bit_length()))
    return {side: min(channel_base // side, channel_max) for side in sides}


class Dense(nn.Module):
    """A linear layer whose stored weights have unit scale; `weight` (out, in), `bias` (out)."""

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, activation: str = "linear", rate: float = 1.0
    ) -> None:
        super().__init__()
        self.activation, self.rate = activation, rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    @property
    def settings(self) -> dict[str, Any]:
        """What a layer of NVIDIA's that does the same holds, by its attributes' names."""
        gain = self.rate / math.sqrt(self.weight.shape[1])
        return {"weight_gain": gain, "bias_gain": self.rate, "activation": self.activation}

    def forward(self, inputs: Tensor) -> Tensor:
        """(image, in) → (image, out)."""
        outputs = F.linear(inputs, self.weight * (self.rate / math.sqrt(inputs.shape[1])))
        return activate(outputs, self.bias * self.rate, self.activation)


def modulated(maps: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, up: bool = False) -> Tensor:
    """A convolution with weights scaled by an image's styles, and brought back to unit norm (section 2.2).

    To scale weights by input channel (equation 1) is to scale the maps, and to divide them by their norm by output
    channel (equation 3) is to divide the result: all images share one convolution.

    Parameters
    ----------
    maps
        (image, in, y, x).
    weight
        (out, in, tap y, tap x), an odd number of taps; correlated with the maps, but convolved where it goes up.
    styles
        (image, in).
    demodulate
        Whether the norm is taken out.
    up
        Whether a zero is put between any two samples first; what comes out has yet to be filtered.

    Returns
    -------
    Tensor
        (image, out, y, x) of the same grid; or with `up`, where there is any overlap, of `2 · side − 2 + taps`.
    """
    maps = maps * styles[:, :, None, None]
    if up:
        maps = F.conv_transpose2d(maps, weight.transpose(0, 1), stride=2)
    else:
        maps = F.conv2d(maps, weight, padding=weight.shape[2] // 2)
    if not demodulate:
        return maps
    norms = F.linear(styles.square(), weight.square().sum((2, 3)))
    return maps * (norms + _EPSILON).rsqrt()[:, :, None, None]


def activate(maps: Tensor, bias: Tensor, activation: str = "lrelu") -> Tensor:
    """A nonlinearity of maps (image, channel, …) plus bias (channel,), times its gain."""
    biased = maps + bias.view(-1, *[1] * (maps.ndim - 2))
    if activation == "linear":
        return biased
    known = ACTIVATIONS[activation]
    if activation == "lrelu":
        # The factor passes through a leaky ReLU, and after the sum everything can be done in place.
        return F.leaky_relu(biased.mul_(known.gain), _SLOPE, inplace=True)
    return known.function(biased) * known.gain


def normalise(vectors: Tensor) -> Tensor:
    """(image, component), each vector to a mean square of 1."""
    return vectors * (vectors.square().mean(1, keepdim=True) + _EPSILON).rsqrt()


def each_style(styles: Tensor, count: int, w_dim: int) -> tuple[Tensor, ...]:
    """Styles (image, style, w) one by one, `count` of them, each (image, w).

    Raises
    ------
    ValueError
        The styles have another shape.
    """
    if styles.ndim != 3 or styles.shape[1:] != (count, w_dim):
        raise ValueError(f"styles have shape {tuple(styles.shape)}, not (image, {count}, {w_dim})")
    return styles.unbind(1)


def spread(constant: Tensor, count: int) -> Tensor:
    """The learnt input (channel, y, x) of `count` images, in the memory layout that later maps inherit."""
    maps = constant.expand(count, -1, -1, -1)
    # A CPU convolves and filters two to three times as fast where a position's channels lie side by side.
    return maps.contiguous(memory_format=torch.channels_last) if maps.device.type == "cpu" else maps
