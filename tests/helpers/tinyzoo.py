"""Models so small that a whole run takes a few seconds: a generator and some that look, as a user would bring them."""

import os

import torch
from torch import Tensor, nn

SIDE = 16
"""Of the images, in pixels."""


class Painter(nn.Module):
    """Images out of eight numbers."""

    latent = 8

    def __init__(self) -> None:
        super().__init__()
        body = [nn.ConvTranspose2d(8, 10, 4), nn.Tanh(), nn.ConvTranspose2d(10, 8, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*body, nn.ConvTranspose2d(8, 3, 4, 2, 1))
        self.default_layers = ("body.1", "body.3")

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.body(latents[:, :, None, None]))


class Looker(nn.Module):
    """Two convolutions over an image."""

    image_size = (SIDE, SIDE)
    default_layers = ("body.1", "body.3")

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = nn.Conv2d(3, channels, 3, 2, 1)
        self.body = nn.Sequential(first, nn.Tanh(), nn.Conv2d(channels, channels, 3, 2, 1), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean(dim=(2, 3))


def painter() -> nn.Module:
    """The generator."""
    return Painter()


class PlainPainter(Painter):
    """One colour an image, so that what is stored of the images takes little room."""

    def forward(self, latents: Tensor) -> Tensor:
        images = super().forward(latents)
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images) * 3


def plain() -> nn.Module:
    """That generator."""
    return PlainPainter()


def small() -> nn.Module:
    """Twelve units."""
    return Looker(6)


def large() -> nn.Module:
    """Twenty units."""
    return Looker(10)


class Failing(Looker):
    """Gives NaN where it sees several images at once, which only a dump shows it."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if len(images) == 1 else images * float("nan"))


def failing() -> nn.Module:
    """Twelve units of no use."""
    return Failing(6)


class Deadly(Looker):
    """Ends its process where it sees different images at once, which only a dump shows it."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if torch.equal(images[0], images[-1]) else os._exit(1)


def deadly() -> nn.Module:
    """Twelve units that nobody ever sees."""
    return Deadly(6)


MODELS = {
    "painter": ("painter", 0),
    "ada": ("small", 1),
    "bob": ("large", 2),
    "cyd": ("small", 3),
    "dan": ("large", 4),
    "bad": ("failing", 5),
    "end": ("deadly", 6),
}
"""By name in a recipe: the factory and the seed of its weights."""


def recipe_text(root: object, models: tuple[str, ...] = ("painter", "ada", "bob"), images: str = "", count: int = 20):
    """A recipe over such models."""
    tables = [
        f'[[models]]\nname = "{name}"\nmodel = "python:tinyzoo:{MODELS[name][0]}"\nweights = "random:{MODELS[name][1]}"'
        for name in models
    ]
    counted = f"count = {count}" if count else ""
    head = f'name = "tiny"\nroot = "{root}"\n[images]\n{counted}\n{images}'
    return "\n".join([head, *tables, '[compute]\nchunk_mib = 1\ndevice = "cpu"\n'])
