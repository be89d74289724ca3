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
from rosetta.zoo.families.stylegan.mapping import StyleMapping
from rosetta.zoo.families.stylegan.modulation import (
    ACTIVATIONS,
    MAPPING_RATE,
    Dense,
    activate,
    each_style,
    modulated,
    spread,
    with_noise,
)
from rosetta.zoo.families.stylegan.modulation import widths as config_f


@dataclass(frozen=True)
class Options:
    """What the layers of a network have in common; as published by default."""

    clamp: float = math.inf
    """Largest magnitude of what a convolution gives in the end. Infinite in networks converted from TensorFlow's
    config F; 256 in those trained in half precision by NVIDIA's PyTorch code. Weights do not tell."""
    activation: str = "lrelu"
    """Of convolutions."""
    taps: tuple[float, ...] = BINOMIAL
    """Four, of the filter after a change of grids, before it is scaled."""
    noise: bool = True
    """Whether there is any."""


class Generator(nn.Module):
    """A generator of the skip architecture (section 4.1), with constant noise.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    widths
        Channels by the side of the grid, from 4 to the resolution; left out, those of config F.
    z_dim, w_dim, c_dim
        Lengths of latents and of styles, and number of classes; `c_dim` is 0 where there are none.
    mapping_layers, mapping_rate, mapping_activation, mapping_width, embedding
        Of the mapping, see :class:`StyleMapping`.
    psi
        Truncation: styles go from the stored mean (0) to what the mapping makes of the latents (1).
    options
        Of all layers.
    """

    def __init__(
        self,
        resolution: int,
        widths: Mapping[int, int] | None = None,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        mapping_layers: int = 8,
        mapping_rate: float = MAPPING_RATE,
        mapping_activation: str = "lrelu",
        mapping_width: int | None = None,
        embedding: int | None = None,
        psi: float = 1.0,
        options: Options = Options(),
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim, self.classes = resolution, z_dim, c_dim or None
        self.synthesis = Synthesis(widths or config_f(resolution), w_dim, options)
        self.mapping = StyleMapping(
            z_dim,
            w_dim,
            self.synthesis.styles,
            mapping_layers,
            c_dim=c_dim,
            embedding=embedding,
            width=mapping_width,
            activation=mapping_activation,
            rate=mapping_rate,
            psi=psi,
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the layers whose maps are looked at, in forward order; as in the other layout, from 8 × 8 on.

        Of a convolution what is after its activation; of a to-RGB layer its own part of the image, before it is added
        to that of the coarser grids. Other than in the other layout this part has its bias already.
        """
        sides = (side for side in self.synthesis.sides if side > 4)
        return tuple(f"synthesis.b{side}.{part}" for side in sides for part in ("conv0", "conv1", "torgb"))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z) standard normal, and classes if there are any → (image, rgb, y, x) in −1..1, not clamped."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


class Synthesis(nn.Module):
    """From styles to images, block after block."""

    def __init__(self, widths: Mapping[int, int], w_dim: int, options: Options) -> None:
        super().__init__()
        self.sides, self.w_dim = tuple(widths), w_dim
        self.styles = 2 * len(widths)
        """One for each convolution, and one for the last to-RGB layer; each other one has that of the next block."""
        for side, channels in widths.items():
            self.add_module(f"b{side}", Block(side, widths.get(side // 2), channels, w_dim, options))

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

    def __init__(self, side: int, before: int | None, channels: int, w_dim: int, options: Options) -> None:
        super().__init__()
        if before is None:
            self.const = nn.Parameter(torch.randn(channels, side, side))
        self.register_buffer("resample_filter", lowpass(options.taps))
        self.conv0 = None if before is None else Layer(side, before, channels, w_dim, options, up=True)
        self.conv1 = Layer(side, channels, channels, w_dim, options)
        self.torgb = ToRGB(channels, w_dim, options.clamp)

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

    def __init__(self, side: int, inputs: int, outputs: int, w_dim: int, options: Options, up: bool = False) -> None:
        super().__init__()
        self.up, self.options = up, options
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        if options.noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", lowpass(options.taps))
        if options.noise:
            self.register_buffer("noise_const", torch.randn(side, side))
        self.affine = Dense(w_dim, inputs, bias=1.0)

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        activation = self.options.activation
        bent = {"activation": activation, "act_gain": ACTIVATIONS[activation].gain, "conv_clamp": self.options.clamp}
        return {"up": 1 + self.up, "padding": 1, "use_noise": self.options.noise, **bent}

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, in, y, x) and (image, w) → (image, out, y, x), on the finer grid where the layer goes up."""
        maps = modulated(maps, self.weight, self.affine(w), up=self.up)
        if self.up:
            maps = upfirdn(maps, self.resample_filter, padding=(1, 1), gain=4.0)
        if self.options.noise:
            maps = with_noise(maps, self.noise_const, self.noise_strength)
        return _clamped(activate(maps, self.bias, self.options.activation), self.options.clamp)


class ToRGB(nn.Module):
    """A modulated convolution of single positions, without demodulation, noise or a nonlinearity."""

    def __init__(self, inputs: int, w_dim: int, clamp: float) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Dense(w_dim, inputs, bias=1.0)

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
