"""StyleGAN2 (Karras et al., CVPR 2020, arXiv 1912.04958) in the layout of `rosinality/stylegan2-pytorch`, `g_ema`.

Modules and tensors have the names that they have there; the networks of TensorFlow's release were converted to it.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.filters import Resample
from rosetta.zoo.families.stylegan.modulation import (
    MAPPING_RATE,
    Dense,
    activate,
    each_style,
    modulated,
    normalise,
    spread,
)
from rosetta.zoo.families.stylegan.modulation import widths as config_f

MEAN_DRAWS = 4096
"""Latents whose styles are averaged where no mean is given; as many as that repository takes."""
_SEED = 0


class Generator(nn.Module):
    """A generator of the skip architecture (section 4.1), with constant noise.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    widths
        Channels by the side of the grid, from 4 to the resolution; left out, those of config F.
    w_dim
        Length of latents and of styles.
    mapping_layers
        How many layers the mapping has.
    psi
        Truncation: styles go from their mean (0) to what the mapping makes of the latents (1).
    truncation_latent
        That mean, (w,) or (1, w), which is no part of the state dict: converted files have it beside, as `latent_avg`.
        Left out, it is the mean over 4096 fixed latents, taken when first needed.
    """

    truncation_latent: Tensor | None

    def __init__(
        self,
        resolution: int,
        widths: Mapping[int, int] | None = None,
        *,
        w_dim: int = 512,
        mapping_layers: int = 8,
        psi: float = 1.0,
        truncation_latent: Tensor | None = None,
    ) -> None:
        super().__init__()
        widths = widths or config_f(resolution)
        self.resolution, self.z_dim, self.w_dim, self.psi = resolution, w_dim, w_dim, psi
        self.classes = None
        self.styles = 2 * len(widths)
        """One for each convolution, and one for the last to-RGB layer; each other one has the next convolution's."""
        denses = (Dense(w_dim, w_dim, activation="lrelu", rate=MAPPING_RATE) for _ in range(mapping_layers))
        self.style = nn.Sequential(_PixelNorm(), *denses)
        sides = tuple(widths)
        self.input = _Constant(widths[4])
        self.conv1 = StyledConv(widths[4], widths[4], w_dim)
        self.to_rgb1 = ToRGB(widths[4], w_dim, up=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for side in sides[1:]:
            self.convs.append(StyledConv(widths[side // 2], widths[side], w_dim, up=True))
            self.convs.append(StyledConv(widths[side], widths[side], w_dim))
            self.to_rgbs.append(ToRGB(widths[side], w_dim))
        self.noises = nn.Module()
        for index, side in enumerate((4, *(side for side in sides[1:] for _ in range(2)))):
            self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))
        given = None if truncation_latent is None else truncation_latent.detach().reshape(w_dim)
        self.register_buffer("truncation_latent", given, persistent=False)
        if given is None:
            self.register_load_state_dict_post_hook(_forget_mean)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the layers whose maps are looked at, in forward order, from 8 × 8 on.

        Of a style block its activation; of a to-RGB layer its convolution, before its bias and before it is added to
        the image of the coarser grids.
        """
        return tuple(
            name
            for block in range(len(self.to_rgbs))
            for name in (f"convs.{2 * block}.activate", f"convs.{2 * block + 1}.activate", f"to_rgbs.{block}.conv")
        )

    def mapping(self, z: Tensor) -> Tensor:
        """(image, z) → (image, style, w), the same for every style."""
        w = self.style(z)
        if self.psi != 1:
            w = self.mean_style().lerp(w, self.psi)
        return w[:, None].repeat(1, self.styles, 1)

    def synthesis(self, styles: Tensor) -> Tensor:
        """(image, style, w) → (image, rgb, y, x) in −1..1, not clamped.

        Raises
        ------
        ValueError
            The styles have another shape.
        """
        first, *others = each_style(styles, self.styles, self.w_dim)
        first_noise, *noises = self.noises.buffers()
        maps = self.conv1(self.input(len(styles)), first, first_noise)
        images: Tensor = self.to_rgb1(maps, others[0])
        for index, conv in enumerate(self.convs):
            maps = conv(maps, others[index], noises[index])
            if index % 2:
                images = self.to_rgbs[index // 2](maps, others[index + 1], images)
        return images

    def forward(self, z: Tensor) -> Tensor:
        """(image, z) standard normal → (image, rgb, y, x) in −1..1, not clamped."""
        return self.synthesis(self.mapping(z))

    def mean_style(self) -> Tensor:
        """(w,) the mean that styles are truncated to."""
        if self.truncation_latent is None:
            # What is kept must serve a differentiable pass, too, which a tensor made in inference mode could not.
            with torch.inference_mode(False), torch.no_grad():
                generator = torch.Generator().manual_seed(_SEED)
                draws = torch.randn(MEAN_DRAWS, self.w_dim, generator=generator, device="cpu")
                self.truncation_latent = self.style(draws.to(self.input.input)).mean(0)
        return self.truncation_latent


class StyledConv(nn.Module):
    """A modulated convolution, noise and the nonlinearity."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, w_dim, up=up)
        self.noise = _Noise()
        self.activate = _Activation(outputs)

    def forward(self, maps: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """(image, in, y, x), (image, w) and (1, 1, y, x) → (image, out, y, x), on the grid of the noise."""
        raised: Tensor = self.activate(self.noise(self.conv(maps, w), noise))
        return raised


class ToRGB(nn.Module):
    """The image of one grid, added to that of the coarser ones."""

    def __init__(self, inputs: int, w_dim: int, up: bool = True) -> None:
        super().__init__()
        self.upsample = Resample(up=2, padding=(2, 1), gain=4.0) if up else None
        self.conv = ModulatedConv(inputs, 3, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, maps: Tensor, w: Tensor, images: Tensor | None = None) -> Tensor:
        """(image, channel, y, x), (image, w) and images of half the side → (image, rgb, y, x)."""
        own: Tensor = self.conv(maps, w) + self.bias
        return own if self.upsample is None else own + self.upsample(images)


class ModulatedConv(nn.Module):
    """:func:`~rosetta.zoo.families.stylegan.modulation.modulated` with its weights, and a filter where it goes up."""

    def __init__(
        self, inputs: int, outputs: int, taps: int, w_dim: int, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.blur = Resample(up=1, padding=(1, 1), gain=4.0) if up else None
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, taps, taps))
        self.modulation = Dense(w_dim, inputs, bias=1.0)

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, in, y, x) and (image, w) → (image, out, y, x)."""
        weight = self.weight[0]
        styles = self.modulation(w) / math.sqrt(weight[0].numel())
        maps = modulated(maps, weight, styles, demodulate=self.demodulate, up=self.blur is not None)
        return maps if self.blur is None else self.blur(maps)


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor, noise: Tensor) -> Tensor:
        return maps + noise * self.weight


class _Activation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        return activate(maps, self.bias)


class _Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))

    def forward(self, count: int) -> Tensor:
        return spread(self.input[0], count)


class _PixelNorm(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return normalise(z)


def _forget_mean(generator: Generator, _: object) -> None:
    """Other weights have another mean."""
    generator.truncation_latent = None
