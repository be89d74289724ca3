"""Small generators, statistics and networks that the tests of guidance share."""

import torch
from torch import nn

from rosetta import zoo
from rosetta.guidance.matches import Statistics
from rosetta.model_spec import ModelSpec
from rosetta.units import Layer, Units


def _livelier(module):
    """Larger weights: what torch initialises to makes almost the same image of all latents."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)


class Painter(nn.Module):
    """A generator with no latent space but z."""

    latent = 4
    image_size = (8, 12)
    default_layers = ("start", "grow")

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.ConvTranspose2d(4, 6, (4, 6))
        self.grow = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.colours = nn.Conv2d(5, 3, 3, padding=1)
        _livelier(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        early = torch.tanh(self.start(latents[:, :, None, None]))
        result: torch.Tensor = self.colours(torch.tanh(self.grow(early)))
        return result


class _Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 5)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.dense(latents))[:, None].repeat(1, 3, 1)


class _Synthesis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.scales = nn.ModuleList(nn.Linear(5, 6) for _ in range(3))
        self.steps = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.colours = nn.Conv2d(6, 3, 1)

    def forward(self, styles: torch.Tensor) -> torch.Tensor:
        scales = [dense(style)[:, :, None, None] for dense, style in zip(self.scales, styles.unbind(1), strict=True)]
        maps = torch.tanh(self.steps[0](self.constant * scales[0]))
        maps = nn.functional.interpolate(maps, scale_factor=2) * scales[1]
        result: torch.Tensor = self.colours(torch.tanh(self.steps[1](maps)) * scales[2])
        return result


class Styled(nn.Module):
    """A generator of two parts, as style-based ones are published."""

    latent = 4
    image_size = (8, 8)
    default_layers = ("synthesis.steps.*",)

    def __init__(self) -> None:
        super().__init__()
        self.mapping = _Mapping()
        self.synthesis = _Synthesis()
        _livelier(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.synthesis(self.mapping(latents))
        return result


class Labelled(nn.Module):
    """A conditional generator with no latent space but z: the class chooses the colours that z may paint with."""

    latent = 4
    classes = 3
    image_size = (8, 12)
    default_layers = ("start", "grow")

    def __init__(self) -> None:
        super().__init__()
        self.known = nn.Embedding(3, 4)
        self.start = nn.ConvTranspose2d(8, 6, (4, 6))
        self.grow = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.colours = nn.Conv2d(5, 3, 3, padding=1)
        _livelier(self)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        told = torch.cat([latents, self.known(classes)], dim=1)
        early = torch.tanh(self.start(told[:, :, None, None]))
        result: torch.Tensor = self.colours(torch.tanh(self.grow(early)))
        return result


class _LabelledMapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.known = nn.Embedding(3, 4)
        self.dense = nn.Linear(8, 5)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        told = torch.cat([latents, self.known(classes)], dim=1)
        return torch.tanh(self.dense(told))[:, None].repeat(1, 3, 1)


class LabelledStyled(nn.Module):
    """A conditional generator of two parts: the mapping alone takes classes, as in StyleGAN-XL."""

    latent = 4
    classes = 3
    image_size = (8, 8)
    default_layers = ("synthesis.steps.*",)

    def __init__(self) -> None:
        super().__init__()
        self.mapping = _LabelledMapping()
        self.synthesis = _Synthesis()
        _livelier(self)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.synthesis(self.mapping(latents, classes))
        return result


class Eye(nn.Module):
    """A discriminative model."""

    image_size = (8, 8)
    default_layers = ("first", "second")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 1, 1)
        self.second = nn.Conv2d(4, 5, 3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.second(torch.tanh(self.first(images)))
        return result


def load(name, seed=0):
    """One of the models above."""
    return zoo.load(ModelSpec(name=name.lower(), model=f"python:tiny:{name}", weights=f"random:{seed}"))


def statistics(layers, random, constant=0.0):
    """Units of layers (channels, grid), named l0, l1, …, with means and spreads out of the air.

    Parameters
    ----------
    constant
        How probable it is that a unit is constant.
    """
    units = Units(tuple(Layer(f"l{i}", channels, grid) for i, (channels, grid) in enumerate(layers)))
    std = random.uniform(0.5, 2, len(units)) * (random.random(len(units)) >= constant)
    mean = random.normal(size=len(units))
    return Statistics(units, mean, std, mean + 2 * std)


def maps_of(held, images, random):
    """(image, channel, y, x) noise for every layer, about the mean of its units."""
    return {
        layer.name: torch.from_numpy(
            held.mean[span][:, None, None] + random.normal(size=(images, layer.channels, *layer.grid))
        )
        for layer, span in held.units.spans()
    }
