"""StyleGAN2 (Karras et al., CVPR 2020, arXiv 1912.04958) in the layout of NVIDIA's `.pkl` files, `G_ema`.

Modules and tensors have the names that they have there. The two parts of the network are modules: `mapping`, and
`synthesis` with a block for each grid, `b4`, `b8`, ….
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.filters import BINOMIAL, lowpass, upfirdn
from rosetta.zoo.families.stylegan.mapping import MappingConfig, StyleGenerator, StyleMapping
from rosetta.zoo.families.stylegan.modulation import (
    ACTIVATIONS,
    Dense,
    activate,
    each_style,
    modulated,
    spread,
)
from rosetta.zoo.families.stylegan.modulation import widths as config_f


@dataclass(frozen=True, kw_only=True)
class Config(MappingConfig):
    """What a generator is built with; as published by default."""

    resolution: int
    """Side of its images in pixels, a power of two."""
    widths: Mapping[int, int] | None = None
    """Channels by the side of the grid, from 4 to the resolution; left out, those of config F."""
    clamp: float = math.inf
    """Largest magnitude of what a convolution gives in the end. Infinite in networks converted from TensorFlow's
    config F; 256 in those trained in half precision by NVIDIA's PyTorch code. Weights do not tell."""
    activation: str = "lrelu"
    """Of convolutions."""
    taps: tuple[float, ...] = BINOMIAL
    """Four, of the filter after a change of grids, before it is scaled."""
    noise: bool = True
    """Whether there is any."""


class Generator(StyleGenerator):
    """A generator of the skip architecture (section 4.1), with constant noise.

    Its layers are those of the other layout, from 8 × 8 on. Of a convolution the map is what is after its activation;
    of a to-RGB layer its own part of the image, before it is added to that of the coarser grids. Other than in the
    other layout this part has its bias already.
    """

    def __init__(self, config: Config, psi: float = 1.0) -> None:
        super().__init__(config, config.resolution)
        self.synthesis = Synthesis(config)
        self.mapping = StyleMapping(config, self.synthesis.styles, psi)


class Synthesis(nn.Module):
    """From styles to images, block after block."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = config.widths or config_f(config.resolution)
        self.sides, self.w_dim = tuple(widths), config.w_dim
        parts = ("conv0", "conv1", "torgb")
        self.names = tuple(f"b{side}.{part}" for side in self.sides[1:] for part in parts)
        self.styles = 2 * len(widths)
        """One for each convolution, and one for the last to-RGB layer; each other one has that of the next block."""
        for side, channels in widths.items():
            self.add_module(f"b{side}", Block(side, widths.get(side // 2), channels, config))

    def forward(self, styles: Tensor) -> Tensor:
        """(image, style, w) → (image, rgb, y, x) in −1..1, not clamped.

        Raises
        ------
        ValueError
            The styles have another shape.
        """
        first, *others = each_style(styles, self.styles, self.w_dim)
        maps, images = self.get_submodule("b4")(None, None, first, first, others[0])
        for block, side in enumerate(self.sides[1:]):
            maps, images = self.get_submodule(f"b{side}")(maps, images, *others[2 * block : 2 * block + 3])
        return images


class Block(nn.Module):
    """All that is done on one grid: two convolutions, the first of which comes from the grid before, and to-RGB.

    The first block has a learnt constant in place of the first convolution.
    """

    resample_filter: Tensor

    def __init__(self, side: int, before: int | None, channels: int, config: Config) -> None:
        super().__init__()
        if before is None:
            self.const = nn.Parameter(torch.randn(channels, side, side))
        self.register_buffer("resample_filter", lowpass(config.taps))
        self.conv0 = None if before is None else Layer(side, before, channels, config, up=True)
        self.conv1 = Layer(side, channels, channels, config)
        self.torgb = ToRGB(channels, config)

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        return {"architecture": "skip"}

    def forward(
        self, maps: Tensor | None, images: Tensor | None, w0: Tensor, w1: Tensor, w_rgb: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps (image, channel, y, x), images so far, and a style (image, w) for each layer → maps and images."""
        maps = spread(self.const, len(w1)) if self.conv0 is None else self.conv0(maps, w0)
        maps = self.conv1(maps, w1)
        own = self.torgb(maps, w_rgb)
        if images is None:
            return maps, own
        return maps, upfirdn(images, self.resample_filter, up=2, padding=(2, 1), gain=4.0) + own


class Layer(nn.Module):
    """A modulated convolution, noise and the nonlinearity."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, side: int, inputs: int, outputs: int, config: Config, up: bool = False) -> None:
        super().__init__()
        self.up, self.config = up, config
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        if config.noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", lowpass(config.taps))
        if config.noise:
            self.register_buffer("noise_const", torch.randn(side, side))
        self.affine = Dense(config.w_dim, inputs, bias=1.0)

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        activation = self.config.activation
        bent = {"activation": activation, "act_gain": ACTIVATIONS[activation].gain, "conv_clamp": self.config.clamp}
        return {"up": 1 + self.up, "padding": 1, "use_noise": self.config.noise, **bent}

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, in, y, x) and (image, w) → (image, out, y, x), on the finer grid where the layer goes up."""
        maps = modulated(maps, self.weight, self.affine(w), up=self.up)
        if self.up:
            maps = upfirdn(maps, self.resample_filter, padding=(1, 1), gain=4.0)
        if self.config.noise:
            maps = maps + self.noise_const * self.noise_strength
        return _clamped(activate(maps, self.bias, self.config.activation), self.config.clamp)


class ToRGB(nn.Module):
    """A modulated convolution of single positions, without demodulation, noise or a nonlinearity."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Dense(config.w_dim, inputs, bias=1.0)

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        return {"conv_clamp": self.clamp, "weight_gain": 1 / math.sqrt(self.weight.shape[1])}

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, channel, y, x) and (image, w) → (image, rgb, y, x)."""
        styles = self.affine(w) / math.sqrt(maps.shape[1])
        images = modulated(maps, self.weight, styles, demodulate=False) + self.bias[:, None, None]
        return _clamped(images, self.clamp)


def _clamped(maps: Tensor, clamp: float) -> Tensor:
    return maps if math.isinf(clamp) else maps.clamp(-clamp, clamp)
