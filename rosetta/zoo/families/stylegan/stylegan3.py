"""StyleGAN3 (Karras et al., 2021, arXiv 2106.12423): generators whose details move with what they belong to.

Two configurations are published: T, equivariant to translation, and R, equivariant to rotation as well. Modules
and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

import math
from collections.abc import Mapping
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.filtered import filtered_lrelu
from rosetta.zoo.families.stylegan.fit import channel_base, compare, layers_in, shape_of
from rosetta.zoo.families.stylegan.kaiser import Signal, Step, lowpass, radial_lowpass, schedule
from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE, Dense, each_style, normalise
from rosetta.zoo.weights.statedict import MisfitError

_SLOPE = 0.2
"""Of every leaky ReLU below 0."""
_FILTER_SIZE = 6
"""Taps of a filter per sample of the coarser of its two grids."""
_OVERSAMPLING = 2
"""The nonlinearity's rate over the higher of those before and after it."""
_CLAMP = 256.0
"""Largest magnitude on the nonlinearity's grid."""
_OUTPUT_SCALE = 0.25
"""From what to-RGB puts out to images in −1..1."""


class Arguments(TypedDict, total=False):
    """What :class:`StyleGAN3` takes; what is left out has its default."""

    resolution: int
    rotation: bool
    channel_base: int
    channel_max: int
    layers: int
    z_dim: int
    w_dim: int
    c_dim: int


_R = Arguments(rotation=True, channel_base=65536, channel_max=1024)
"""Twice the channels of T, where a convolution sees a ninth of the positions."""
PUBLISHED: dict[str, Arguments] = {
    "t-ffhqu-256": Arguments(resolution=256, channel_base=16384),
    "t-ffhqu-1024": Arguments(resolution=1024),
    "t-ffhq-1024": Arguments(resolution=1024),
    "t-metfacesu-1024": Arguments(resolution=1024),
    "t-metfaces-1024": Arguments(resolution=1024),
    "t-afhqv2-512": Arguments(resolution=512),
    "r-ffhqu-256": Arguments(resolution=256, rotation=True, channel_base=32768, channel_max=1024),
    "r-ffhqu-1024": Arguments(resolution=1024, **_R),
    "r-ffhq-1024": Arguments(resolution=1024, **_R),
    "r-metfacesu-1024": Arguments(resolution=1024, **_R),
    "r-metfaces-1024": Arguments(resolution=1024, **_R),
    "r-afhqv2-512": Arguments(resolution=512, **_R),
}
"""The released generators: configuration, data set (u: unaligned) and resolution."""


class StyleGAN3(nn.Module):
    """A generator.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    rotation
        Configuration R: convolutions of a single position, and filters that treat all directions alike.
    channel_base, channel_max
        A layer has `channel_base / (2 · cutoff)` channels, but never more than `channel_max`.
    layers
        How many there are before to-RGB.
    z_dim, w_dim, c_dim
        Lengths of latents, styles and conditions; `c_dim` is 0 where the network has no condition.
    psi
        Truncation: styles go from their mean (0) to what the mapping makes of the latents (1).
    """

    def __init__(
        self,
        resolution: int,
        *,
        rotation: bool = False,
        channel_base: int = 32768,
        channel_max: int = 512,
        layers: int = 14,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim = resolution, z_dim
        self.synthesis = Synthesis(schedule(resolution, layers, channel_base, channel_max), w_dim, rotation)
        self.mapping = StyleMapping(z_dim, w_dim, c_dim, self.synthesis.styles, psi)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the synthesis layers, whose outputs are maps, in forward order."""
        return tuple(f"synthesis.{name}" for name in self.synthesis.names)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z) standard normal, and (image, c) if there is a condition → (image, rgb, y, x) in −1..1."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


class StyleMapping(nn.Module):
    """From latents to styles: normalisation, two layers, truncation."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, c_dim: int, styles: int, psi: float) -> None:
        super().__init__()
        self.styles, self.psi = styles, psi
        self.embed = Dense(c_dim, w_dim) if c_dim else None
        self.fc0 = Dense(z_dim + (w_dim if c_dim else 0), w_dim, lrelu=True, rate=MAPPING_RATE)
        self.fc1 = Dense(w_dim, w_dim, lrelu=True, rate=MAPPING_RATE)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z), and a condition (image, c) or classes (image,) int64 if there is one → (image, style, w).

        Raises
        ------
        ValueError
            There is a condition and `c` is left out.
        """
        inputs = normalise(z)
        if self.embed is not None:
            length = self.embed.weight.shape[1]
            if c is None:
                raise ValueError(f"the network is conditional; give it c, (image, {length})")
            condition = F.one_hot(c, length) if c.ndim == 1 else c
            inputs = torch.cat([inputs, normalise(self.embed(condition.to(z.dtype)))], 1)
        w = self.w_avg.lerp(self.fc1(self.fc0(inputs)), self.psi)
        return w[:, None].repeat(1, self.styles, 1)


class Synthesis(nn.Module):
    """From styles to images: Fourier features, then layer after layer.

    Parameters
    ----------
    steps
        The layers.
    w_dim
        Length of a style.
    rotation
        As in :class:`StyleGAN3`.
    """

    def __init__(self, steps: tuple[Step, ...], w_dim: int, rotation: bool = False) -> None:
        super().__init__()
        self.w_dim = w_dim
        self.names = tuple(step.name for step in steps)
        self.styles = 1 + len(steps)
        """The first turns and shifts the Fourier features, each other one is a layer's."""
        self.input = FourierFeatures(steps[0].before, w_dim)
        for step in steps:
            self.add_module(step.name, Layer(step, w_dim, rotation))
        self.frames = {f"synthesis.{step.name}": step.after.frame for step in steps}
        """By path in the generator: which part of the image a layer's grid covers."""
        self.frames["synthesis.input"] = steps[0].before.frame

    def forward(self, styles: Tensor) -> Tensor:
        """(image, style, w) → (image, rgb, y, x) in −1..1.

        Raises
        ------
        ValueError
            The styles have another shape.
        """
        first, *others = each_style(styles, self.styles, self.w_dim)
        maps = self.input(first)
        for name, w in zip(self.names, others, strict=True):
            maps = self.get_submodule(name)(maps, w)
        return maps * _OUTPUT_SCALE


class FourierFeatures(nn.Module):
    """Plane waves of fixed frequency, turned and shifted as a style says, and mixed.

    The buffer `transform`, homogeneous (3, 3), maps a place in the image to the place whose features it shows: with
    the image in −0.5..0.5 on either axis, x before y, an offset of (−1/4, 0) moves everything to the right by a
    quarter of the image.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, signal: Signal, w_dim: int) -> None:
        super().__init__()
        self.signal = signal
        self.weight = nn.Parameter(torch.randn(signal.channels, signal.channels))
        self.affine = Dense(w_dim, 4)
        with torch.no_grad():
            # Until trained, no turn and no shift.
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        # Uniform over a disc.
        radii, angles = signal.cutoff * torch.rand(signal.channels).sqrt(), 2 * math.pi * torch.rand(signal.channels)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.stack([radii * angles.cos(), radii * angles.sin()], 1))
        self.register_buffer("phases", torch.rand(signal.channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """(image, w) → (image, channel, y, x)."""
        signal = self.signal
        places = self._places(w)
        frequencies = self.freqs @ places[:, :, :2]  # (image, channel, xy)
        phases = self.phases + (self.freqs @ places[:, :, 2:]).squeeze(2)
        # The transform may enlarge frequencies: those that the grid cannot hold fade out.
        excess = (frequencies.norm(dim=2) - signal.cutoff) / (signal.rate / 2 - signal.cutoff)
        amplitudes = (1 - excess).clamp(0, 1)
        line = (torch.arange(signal.size, device=w.device, dtype=w.dtype) + (1 - signal.size) / 2) / signal.rate
        x, y = (frequencies[:, None, None, :, axis] for axis in (0, 1))
        turns = line[:, None] * x + line[:, None, None] * y + phases[:, None, None]
        waves = (2 * math.pi * turns).sin() * amplitudes[:, None, None]  # (image, y, x, channel)
        return F.linear(waves, self.weight / math.sqrt(signal.channels)).permute(0, 3, 1, 2)

    def _places(self, w: Tensor) -> Tensor:
        """(image, xy, xy1) transform from places in the image to places among the waves."""
        motion = self.affine(w)
        cosine, sine, *shift = (motion / motion[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        rotation = torch.stack([cosine, -sine, sine, cosine], 1).unflatten(1, (2, 2))
        offset = -rotation @ torch.stack(shift, 1)[:, :, None]
        return torch.cat([rotation, offset], 2) @ self.transform


class Layer(nn.Module):
    """A modulated convolution and the filtered leaky ReLU, or for to-RGB the convolution alone."""

    magnitude_ema: Tensor
    """Mean square of what the layer was given in training; it is given unit scale."""
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, step: Step, w_dim: int, rotation: bool) -> None:
        super().__init__()
        before, after = step.before, step.after
        kernel = 1 if rotation or step.to_rgb else 3
        self.to_rgb = step.to_rgb
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.affine = Dense(w_dim, before.channels, bias=1.0)
        self.register_buffer("magnitude_ema", torch.ones(()))
        fine = max(before.rate, after.rate) * (1 if step.to_rgb else _OVERSAMPLING)
        self.up, self.down = fine // before.rate, fine // after.rate
        up_filter = down_filter = None
        if not step.to_rgb:
            # A critically sampled signal fills the whole square of frequencies; a disc would lose its corners.
            design = radial_lowpass if rotation and not step.critical else lowpass
            up_filter = lowpass(_FILTER_SIZE * self.up, before.cutoff, before.half_width, fine)
            down_filter = design(_FILTER_SIZE * self.down, after.cutoff, after.half_width, fine)
        for name, taps in (("up_filter", up_filter), ("down_filter", down_filter)):
            self.register_buffer(name, None if taps is None else torch.tensor(taps, dtype=torch.float32))
        lost = sum(len(taps) - 1 for taps in (up_filter, down_filter) if taps is not None)
        total = (after.size - 1) * self.down + 1 - (before.size + kernel - 1) * self.up + lost
        # Samples lie at the middle of what they stand for, so the finer ones begin earlier (appendix C.3).
        first = (total + self.up) // 2
        self.padding = (first, total - first)

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """(image, channel, y, x) and (image, w) → (image, channel, y, x)."""
        styles = self.affine(w)
        if self.to_rgb:
            styles = styles / math.sqrt(styles.shape[1])
        maps = modulated(maps, self.weight, styles, self.magnitude_ema.rsqrt(), demodulate=not self.to_rgb)
        return filtered_lrelu(
            maps,
            self.bias,
            self.up_filter,
            self.down_filter,
            up=self.up,
            down=self.down,
            padding=self.padding,
            gain=1.0 if self.to_rgb else math.sqrt(2),
            slope=1.0 if self.to_rgb else _SLOPE,
            clamp=_CLAMP,
        )


def modulated(maps: Tensor, weight: Tensor, styles: Tensor, gain: Tensor, *, demodulate: bool) -> Tensor:
    """A convolution with weights scaled by an image's styles; the maps grow by the kernel less 1.

    To scale weights by input channel is to scale the maps, and to bring them back to unit norm by output channel
    (demodulation) is to scale the result: all images share one convolution.

    Parameters
    ----------
    maps
        (image, in, y, x).
    weight
        (out, in, y, x).
    styles
        (image, in).
    gain
        Factor, (), that demodulation does not undo.
    demodulate
        Whether to.

    Returns
    -------
    Tensor
        (image, out, y, x).
    """
    scales = None
    if demodulate:
        # The published definition takes the styles' mean square over the whole batch. Demodulation undoes either;
        # taken by image, no image depends on another.
        weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        styles = styles * styles.square().mean(1, keepdim=True).rsqrt()
        scales = (F.linear(styles.square(), weight.square().sum((2, 3))) + 1e-8).rsqrt()
    maps = F.conv2d(maps * (styles * gain)[:, :, None, None], weight, padding=weight.shape[2] - 1)
    return maps if scales is None else maps * scales[:, :, None, None]


def recognise(state: Mapping[str, Tensor]) -> Arguments:
    """Which generator a state dict is of.

    Returns
    -------
    Arguments
        All of them; `psi` is no part of the weights.

    Raises
    ------
    MisfitError
        It is of another architecture; the message names what differs first.
    """
    layers = layers_in(state, "StyleGAN3")
    first, last = layers[0], layers[-1]
    if "mapping.embed_proj.weight" in state:
        raise MisfitError("they are StyleGAN-XL's, not StyleGAN3's: they have 'mapping.embed_proj.weight'")
    kernel = f"synthesis.L{first.index}_{first.size}_{first.channels}.weight"
    w_dim, inputs = shape_of(state, "mapping.fc0.weight", 2, "StyleGAN3")
    conditional = "mapping.embed.weight" in state
    c_dim = shape_of(state, "mapping.embed.weight", 2, "StyleGAN3")[1] if conditional else 0
    arguments = Arguments(
        resolution=last.size,
        rotation=shape_of(state, kernel, 4, "StyleGAN3")[3] == 1,
        channel_base=channel_base(layers),
        channel_max=first.channels,
        layers=last.index,
        z_dim=inputs - (w_dim if conditional else 0),
        w_dim=w_dim,
        c_dim=c_dim,
    )
    compare(lambda: StyleGAN3(**arguments), state, "StyleGAN3")
    return arguments
