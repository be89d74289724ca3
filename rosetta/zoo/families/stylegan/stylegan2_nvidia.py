"""StyleGAN2 (Karras et al., CVPR 2020, arXiv 1912.04958) in the layout of NVIDIA's `.pkl` files, `G_ema`.

Modules and tensors have the names that they have there. The two parts of the network are modules: `mapping`, and
`synthesis` with a block for each grid, `b4`, `b8`, ….
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.filters import lowpass, upfirdn
from rosetta.zoo.families.stylegan.modulation import (
    MAPPING_RATE,
    Dense,
    activate,
    each_style,
    modulated,
    normalise,
    spread,
    with_noise,
)
from rosetta.zoo.families.stylegan.modulation import widths as config_f


class Generator(nn.Module):
    """A generator without a condition, of the skip architecture (section 4.1), with constant noise.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    widths
        Channels by the side of the grid, from 4 to the resolution; left out, those of config F.
    z_dim, w_dim
        Lengths of latents and of styles.
    mapping_layers
        How many layers the mapping has.
    psi
        Truncation: styles go from the stored mean (0) to what the mapping makes of the latents (1).
    clamp
        Largest magnitude of what a convolution gives in the end. Infinite in networks converted from TensorFlow's
        config F; 256 in those trained in half precision by NVIDIA's PyTorch code. Weights do not tell.
    """

    def __init__(
        self,
        resolution: int,
        widths: Mapping[int, int] | None = None,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        psi: float = 1.0,
        clamp: float = math.inf,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim = resolution, z_dim
        self.synthesis = Synthesis(widths or config_f(resolution), w_dim, clamp)
        self.mapping = StyleMapping(z_dim, w_dim, mapping_layers, self.synthesis.styles, psi)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the layers whose maps are looked at, in forward order; as in the other layout, from 8 × 8 on.

        Of a convolution what is after its activation; of a to-RGB layer its own part of the image, before it is added
        to that of the coarser grids. Other than in the other layout this part has its bias already.
        """
        sides = (side for side in self.synthesis.sides if side > 4)
        return tuple(f"synthesis.b{side}.{part}" for side in sides for part in ("conv0", "conv1", "torgb"))

    def forward(self, z: Tensor) -> Tensor:
        """(image, z) standard normal → (image, rgb, y, x) in −1..1, not clamped."""
        images: Tensor = self.synthesis(self.mapping(z))
        return images


class StyleMapping(nn.Module):
    """From latents to styles: normalisation, layers `fc0`, `fc1`, …, truncation."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int, styles: int, psi: float) -> None:
        super().__init__()
        self.styles, self.layers, self.psi = styles, layers, psi
        self.register_buffer("w_avg", torch.zeros(w_dim))
        for layer in range(layers):
            self.add_module(f"fc{layer}", Dense(w_dim if layer else z_dim, w_dim, lrelu=True, rate=MAPPING_RATE))

    def forward(self, z: Tensor) -> Tensor:
        """(image, z) → (image, style, w), the same for every style."""
        w = normalise(z)
        for layer in range(self.layers):
            w = self.get_submodule(f"fc{layer}")(w)
        return self.w_avg.lerp(w, self.psi)[:, None].repeat(1, self.styles, 1)


class Synthesis(nn.Module):
    """From styles to images, block after block."""

    def __init__(self, widths: Mapping[int, int], w_dim: int, clamp: float) -> None:
        super().__init__()
        self.sides, self.w_dim = tuple(widths), w_dim
        self.styles = 2 * len(widths)
        """One for each convolution, and one for the last to-RGB layer; each other one has that of the next block."""
        for side, channels in widths.items():
            self.add_module(f"b{side}", Block(side, widths.get(side // 2), channels, w_dim, clamp))

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

    def __init__(self, side: int, before: int | None, channels: int, w_dim: int, clamp: float) -> None:
        super().__init__()
        if before is None:
            self.const = nn.Parameter(torch.randn(channels, side, side))
        self.register_buffer("resample_filter", lowpass())
        self.conv0 = None if before is None else Layer(side, before, channels, w_dim, clamp, up=True)
        self.conv1 = Layer(side, channels, channels, w_dim, clamp)
        self.torgb = ToRGB(channels, w_dim, clamp)

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

    def __init__(self, side: int, inputs: int, outputs: int, w_dim: int, clamp: float, up: bool = False) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", lowpass())
        self.register_buffer("noise_const", torch.randn(side, side))
        self.affine = Dense(w_dim, inputs, bias=1.0)

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, in, y, x) and (image, w) → (image, out, y, x), on the finer grid where the layer goes up."""
        maps = modulated(maps, self.weight, self.affine(w), up=self.up)
        if self.up:
            maps = upfirdn(maps, self.resample_filter, padding=(1, 1), gain=4.0)
        return _clamped(activate(with_noise(maps, self.noise_const, self.noise_strength), self.bias), self.clamp)


class ToRGB(nn.Module):
    """A modulated convolution of single positions, without demodulation, noise or a nonlinearity."""

    def __init__(self, inputs: int, w_dim: int, clamp: float) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Dense(w_dim, inputs, bias=1.0)

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, channel, y, x) and (image, w) → (image, rgb, y, x)."""
        styles = self.affine(w) / math.sqrt(maps.shape[1])
        images = modulated(maps, self.weight, styles, demodulate=False) + self.bias[:, None, None]
        return _clamped(images, self.clamp)


def _clamped(maps: Tensor, clamp: float) -> Tensor:
    return maps if math.isinf(clamp) else maps.clamp(-clamp, clamp)
