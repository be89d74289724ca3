"""From styles to images, as StyleGAN3 and StyleGAN-XL do it (Karras et al., 2021, arXiv 2106.12423)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.filtered import filtered_lrelu
from rosetta.zoo.families.stylegan.modulation import Dense, each_style
from rosetta.zoo.families.stylegan.schedule import Signal, Step, lowpass, radial_lowpass

_SLOPE = 0.2
"""Of every leaky ReLU below 0."""
OUTPUT_SCALE = 0.25
"""From what to-RGB puts out to images in −1..1, as published."""


@dataclass(frozen=True, kw_only=True)
class Filtering:
    """How a layer convolves and bends its signal; as published for T by default."""

    kernel: int = 3
    """Side of its convolution; to-RGB always has 1."""
    radial: bool = False
    """Its downsampling filter treats all directions alike, unless it is sampled critically."""
    filter_size: int = 6
    """Taps of a filter per sample of the coarser of its two grids."""
    oversampling: int = 2
    """The nonlinearity's rate over the higher of those before and after it; that of to-RGB is 1."""
    clamp: float = 256.0
    """Largest magnitude on the nonlinearity's grid."""


class Synthesis(nn.Module):
    """From styles to images: Fourier features, then layer after layer.

    Parameters
    ----------
    layers
        What each layer does.
    w_dim
        Length of a style.
    output_scale
        From what to-RGB puts out to images in −1..1.
    """

    def __init__(
        self, layers: tuple[tuple[Step, Filtering], ...], w_dim: int, output_scale: float = OUTPUT_SCALE
    ) -> None:
        super().__init__()
        self.w_dim, self.output_scale = w_dim, output_scale
        self.names = tuple(step.name for step, _ in layers)
        self.styles = 1 + len(layers)
        """The first turns and shifts the Fourier features, each other one is a layer's."""
        self.input = FourierFeatures(layers[0][0].before, w_dim)
        for step, filtering in layers:
            self.add_module(step.name, Layer(step, w_dim, filtering))
        self.frames = {f"synthesis.{step.name}": step.after.frame for step, _ in layers}
        """By path in the generator: which part of the image a layer's grid covers."""
        self.frames["synthesis.input"] = layers[0][0].before.frame

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        return {"output_scale": self.output_scale}

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
        return maps * self.output_scale


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

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        return {"bandwidth": self.signal.cutoff, "sampling_rate": self.signal.rate}

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

    def __init__(self, step: Step, w_dim: int, filtering: Filtering) -> None:
        super().__init__()
        before, after = step.before, step.after
        kernel = 1 if step.to_rgb else filtering.kernel
        self.to_rgb, self.clamp = step.to_rgb, filtering.clamp
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.affine = Dense(w_dim, before.channels, bias=1.0)
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.up, self.down = rates_of(step, filtering)
        up_filter, down_filter = filters_of(step, filtering)
        self.register_buffer("up_filter", up_filter)
        self.register_buffer("down_filter", down_filter)
        lost = sum(len(taps) - 1 for taps in (up_filter, down_filter) if taps is not None)
        total = (after.size - 1) * self.down + 1 - (before.size + kernel - 1) * self.up + lost
        # Samples lie at the middle of what they stand for, so the finer ones begin earlier (appendix C.3).
        first = (total + self.up) // 2
        self.padding = (first, total - first)

    @property
    def settings(self) -> dict[str, Any]:
        """What NVIDIA's module that does the same holds, by its attributes' names."""
        factors = {"up_factor": self.up, "down_factor": self.down, "padding": 2 * self.padding}
        return {"conv_clamp": self.clamp, "conv_kernel": self.weight.shape[2], **factors}

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
            clamp=self.clamp,
        )


def rates_of(step: Step, filtering: Filtering) -> tuple[int, int]:
    """The nonlinearity's rate over that of what a layer takes, and over that of what it puts out."""
    before, after = step.before.rate, step.after.rate
    fine = max(before, after) * (1 if step.to_rgb else filtering.oversampling)
    return fine // before, fine // after


def filters_of(step: Step, filtering: Filtering) -> tuple[Tensor | None, Tensor | None]:
    """A layer's filters to the nonlinearity's rate, (tap,), and back, (tap,) or (tap, tap), as far as it has them."""
    before, after = step.before, step.after
    up, down = rates_of(step, filtering)
    # A critically sampled signal fills the whole square of frequencies; a disc would lose its corners.
    design = radial_lowpass if filtering.radial and not step.critical else lowpass

    def taps(make: Callable[..., npt.NDArray[np.float64]], signal: Signal, factor: int) -> Tensor | None:
        if factor == 1 or step.to_rgb:
            return None
        kernel = make(filtering.filter_size * factor, signal.cutoff, signal.half_width, factor * signal.rate)
        return torch.tensor(kernel, dtype=torch.float32)

    return taps(lowpass, before, up), taps(design, after, down)


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
