"""BigGAN-deep (Brock et al., 2019, arXiv 1809.11096): generators of ImageNet's classes.

Tensors have the names that they have in the package `pytorch-pretrained-biggan`, which converted the published
generators; there is no need to install it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State

LATENT = 128
CLASSES = 1000
BOUND = 2.0
"""Where the normal that latents are drawn from was truncated in training, in standard deviations."""
_CONDITION = 2 * LATENT
_WIDTH = 128
_STATISTICS = 51
"""Truncations 0, 0.02, …, 1 for which a batch norm keeps the moments of its input."""
_EPSILON = 1e-4
_ATTENTION_AT = 8
"""Block before which there is self-attention, on a grid of 64 × 64."""
_STEPS_OF_POWER = 8


@dataclass(frozen=True)
class Plan:
    """The blocks of a generator."""

    size: int
    """Side of its images, in pixels."""
    blocks: tuple[tuple[bool, int, int], ...]
    """Of each block: whether it doubles the resolution, and its channels before and after, in multiples of a width."""


_TOP = ((False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8))
_END = ((True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1))
_MIDDLE = ((True, 8, 8), (False, 8, 8))
PLANS = {
    "deep-128": Plan(128, (*_TOP, *_END)),
    "deep-256": Plan(256, (*_TOP, *_MIDDLE, *_END)),
    "deep-512": Plan(512, (*_TOP, *_MIDDLE, *_END, (False, 1, 1), (True, 1, 1))),
}


class _Spectral(nn.Module):
    """A weight that is divided by its largest singular value, estimated once: u · W v with unit vectors u and v."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *shape: int, bias: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.weight_orig = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.weight_orig, a=5**0.5)
        matrix = self.weight_orig.detach().flatten(1)
        v = F.normalize(torch.randn(matrix.shape[1]), dim=0)
        for _ in range(_STEPS_OF_POWER):
            u = F.normalize(matrix @ v, dim=0)
            v = F.normalize(matrix.T @ u, dim=0)
        self.register_buffer("weight_u", u)
        self.register_buffer("weight_v", v)

    @property
    def weight(self) -> Tensor:
        """What the layer multiplies with."""
        return self.weight_orig / self.weight_u.dot(self.weight_orig.flatten(1) @ self.weight_v)


class Linear(_Spectral):
    """(image, inputs) → (image, outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(outputs, inputs, bias=bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        return F.linear(vectors, self.weight, self.bias)


class Convolution(_Spectral):
    """(image, inputs, y, x) → (image, outputs, y, x)."""

    def __init__(self, inputs: int, outputs: int, side: int = 1, bias: bool = True) -> None:
        super().__init__(outputs, inputs, side, side, bias=bias)
        self.padding = side // 2

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        return F.conv2d(maps, self.weight, self.bias, padding=self.padding)


class _Statistics(nn.Module):
    """A batch norm's moments, for each of several truncations of the latents; between two, their weighted mean.

    The package gives the farther of the two the greater weight. Its images are the same where no mean is taken, which
    is at all multiples of 0.02 but those that it misses by rounding: 0.14, 0.28, 0.56, 0.58 and 0.94.
    """

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, truncation: float) -> None:
        super().__init__()
        self.register_buffer("running_means", torch.zeros(_STATISTICS, channels))
        self.register_buffer("running_vars", torch.ones(_STATISTICS, channels))
        place = truncation * (_STATISTICS - 1)
        self._below = min(int(place), _STATISTICS - 2)
        self._share = place - self._below

    def standardise(self, maps: Tensor) -> Tensor:
        """(image, channel, y, x) less its mean, divided by its standard deviation."""
        mean, variance = (
            torch.lerp(kept[self._below], kept[self._below + 1], self._share)[:, None, None]
            for kept in (self.running_means, self.running_vars)
        )
        return (maps - mean) * (variance + _EPSILON).rsqrt()


class ConditionalNorm(_Statistics):
    """A batch norm whose scale and offset follow from latent and class."""

    def __init__(self, channels: int, truncation: float) -> None:
        super().__init__(channels, truncation)
        self.scale = Linear(_CONDITION, channels, bias=False)
        self.offset = Linear(_CONDITION, channels, bias=False)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """(image, channel, y, x) under a condition (image, z and class)."""
        scale, offset = (part(condition)[:, :, None, None] for part in (self.scale, self.offset))
        return self.standardise(maps) * (1 + scale) + offset


class Norm(_Statistics):
    """A batch norm with a scale and an offset of its own."""

    def __init__(self, channels: int, truncation: float) -> None:
        super().__init__(channels, truncation)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(image, channel, y, x)."""
        return self.standardise(maps) * self.weight[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """A residual bottleneck of four convolutions; surplus channels of its input are dropped on the way around it."""

    def __init__(self, doubles: bool, inputs: int, outputs: int, truncation: float) -> None:
        super().__init__()
        narrow = inputs // 4
        self.doubles, self.outputs = doubles, outputs
        self.bn_0 = ConditionalNorm(inputs, truncation)
        self.conv_0 = Convolution(inputs, narrow)
        self.bn_1 = ConditionalNorm(narrow, truncation)
        self.conv_1 = Convolution(narrow, narrow, 3)
        self.bn_2 = ConditionalNorm(narrow, truncation)
        self.conv_2 = Convolution(narrow, narrow, 3)
        self.bn_3 = ConditionalNorm(narrow, truncation)
        self.conv_3 = Convolution(narrow, outputs)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """(image, inputs, y, x) → (image, outputs, y, x), or twice as high and wide."""
        around = maps[:, : self.outputs]
        maps = self.conv_0(self.bn_0(maps, condition).relu())
        maps = self.bn_1(maps, condition).relu()
        if self.doubles:
            around, maps = (F.interpolate(part, scale_factor=2.0, mode="nearest") for part in (around, maps))
        maps = self.conv_1(maps)
        maps = self.conv_2(self.bn_2(maps, condition).relu())
        maps = self.conv_3(self.bn_3(maps, condition).relu())
        return maps + around


class Attention(nn.Module):
    """Self-attention (Zhang et al., 2019): every position looks at the maxima of 2 × 2 positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.snconv1x1_theta = Convolution(channels, channels // 8, bias=False)
        self.snconv1x1_phi = Convolution(channels, channels // 8, bias=False)
        self.snconv1x1_g = Convolution(channels, channels // 2, bias=False)
        self.snconv1x1_o_conv = Convolution(channels // 2, channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(image, channel, y, x) → the same shape."""
        asked = self.snconv1x1_theta(maps).flatten(2)
        keys, values = (F.max_pool2d(part(maps), 2).flatten(2) for part in (self.snconv1x1_phi, self.snconv1x1_g))
        share = (asked.transpose(1, 2) @ keys).softmax(-1)  # (image, position, coarse position)
        found = (values @ share.transpose(1, 2)).unflatten(2, maps.shape[2:])
        looked: Tensor = self.snconv1x1_o_conv(found)
        return maps + self.gamma * looked


class _Generator(nn.Module):
    """All but the embedding of the classes."""

    def __init__(self, plan: Plan, truncation: float, width: int) -> None:
        super().__init__()
        self.gen_z = Linear(_CONDITION, 4 * 4 * plan.blocks[0][1] * width)
        self.layers = nn.ModuleList()
        for place, (doubles, inputs, outputs) in enumerate(plan.blocks):
            if place == _ATTENTION_AT:
                self.layers.append(Attention(inputs * width))
            self.layers.append(Block(doubles, inputs * width, outputs * width, truncation))
        self.bn = Norm(width, truncation)
        self.conv_to_rgb = Convolution(width, width, 3)

    def forward(self, condition: Tensor) -> Tensor:
        """(image, z and class) → (image, rgb, y, x) in −1..1."""
        # The published weights count channels fastest.
        maps = self.gen_z(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2).contiguous()
        for layer in self.layers:
            maps = layer(maps, condition) if isinstance(layer, Block) else layer(maps)
        images: Tensor = self.conv_to_rgb(self.bn(maps).relu())
        return images[:, :3].tanh()  # the published to-RGB has as many channels as its input; three are an image


class BigGAN(nn.Module):
    """A generator of images of a class.

    Parameters
    ----------
    plan
        Its blocks.
    truncation
        Above 0 and up to 1: latents are drawn that much smaller than in training, which trades variety for fidelity.
    width
        Channels of the last block.
    """

    def __init__(self, plan: Plan, truncation: float = 1.0, width: int = _WIDTH) -> None:
        super().__init__()
        self.embeddings = nn.Linear(CLASSES, LATENT, bias=False)
        self.generator = _Generator(plan, truncation, width)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Make images.

        Parameters
        ----------
        z
            (image, 128), a normal truncated at ±2, times the truncation.
        labels
            (image,) int64, indices of ImageNet's classes.

        Returns
        -------
        Tensor
            (image, rgb, y, x) in −1..1.
        """
        classes = self.embeddings.weight.T[labels]
        images: Tensor = self.generator(torch.cat([z, classes], 1))
        return images


class BigGANDeep(Family):
    """The family `biggan`."""

    name = "biggan"
    description = "BigGAN-deep generators of ImageNet's classes, 128 to 512 pixels, defined here"
    generators = True
    conditions = frozenset({"classes", "truncation", "bound"})

    def names(self) -> list[str]:
        """The published generators."""
        return sorted(PLANS)

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`.

        The width is read off the weights. Layers are all its convolutions: four in each block, four in
        the attention, and to-RGB with all 128 channels, of which an image shows three. At 128 pixels that is 19,264
        units.
        """
        self.require_known(name)
        if pretrained:
            file = f"biggan-{name}-pytorch_model.bin"
            raise self.no_download(name, f"give the file {file} of pytorch-pretrained-biggan as weights")
        truncation = condition.truncation or 1.0
        return Architecture(
            BigGAN(PLANS[name], truncation, _width(state)),
            latent=LATENT,
            bound=BOUND,
            scale=truncation,
            classes=CLASSES,
            image_size=(PLANS[name].size, PLANS[name].size),
            layers=("generator.layers.*.conv_[0-3]", "generator.layers.*.snconv1x1_*", "generator.conv_to_rgb"),
        )


def _width(state: Mapping[str, Tensor] | None) -> int:
    """Channels of the last block, as far as weights tell."""
    last = None if state is None else state.get("generator.conv_to_rgb.weight_orig")
    return last.shape[0] if last is not None and last.ndim == 4 and last.shape[0] >= 8 else _WIDTH
