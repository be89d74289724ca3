"""A generator that draws shapes with known units, and models whose known units see them.

Each unit of the layer `shapes` draws a blob wherever its factor of the latents says, in a texture of its own. A
detector's map is the scalar product of a texture with each patch of the image. Textures are drawn at random, so a unit
moves the detectors of others a little, up or down. The units of :data:`UNDRAWN` have the factors of the first
units, and leave no trace in the image: what sees those correlates with them, and has another cause.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH, GRID = 8, 4
SIDE = PATCH * GRID
NEURONS, RANDOM, CONFOUNDED = 30, 50, 6
"""Units that are drawn and seen; those that are drawn and not seen; those that are not drawn, with another's factor."""
UNITS = NEURONS + RANDOM + CONFOUNDED
UNDRAWN = range(NEURONS + RANDOM, UNITS)
CLASSES = 8
"""Of the classifier; class `k` is what detector `k` sees."""
FACTOR = [*range(NEURONS + RANDOM), *range(CONFOUNDED)]
"""(unit,)"""


def textures() -> Tensor:
    """(unit, rgb, y, x) of length 1."""
    drawn = torch.randn(UNITS, 3 * PATCH * PATCH, generator=torch.Generator().manual_seed(11))
    return functional.normalize(drawn, dim=1).unflatten(1, (3, PATCH, PATCH))


class Shapes(nn.Module):
    """(image, z) → (image, unit, y, x)."""

    def forward(self, latents: Tensor) -> Tensor:
        y, x, amount = latents.unflatten(1, (-1, 3))[:, FACTOR].unbind(2)
        centres = (torch.arange(GRID, device=latents.device) + 0.5) / GRID
        at_y, at_x = (torch.special.ndtr(place)[..., None] - centres for place in (y, x))
        far = at_y.square()[..., :, None] + at_x.square()[..., None, :]
        return torch.exp(-8 * far) * (1 + 0.3 * amount.tanh())[..., None, None]


class Drawer(nn.Module):
    """The generator."""

    latent = 3 * (NEURONS + RANDOM)
    image_size = (SIDE, SIDE)
    default_layers = ("shapes",)

    def __init__(self) -> None:
        super().__init__()
        self.shapes = Shapes()
        drawn = 0.25 * textures()
        drawn[list(UNDRAWN)] = 0
        self.paint = nn.ConvTranspose2d(UNITS, 3, PATCH, PATCH, bias=False)
        self.paint.weight.data = drawn

    def forward(self, latents: Tensor) -> Tensor:
        return self.paint(self.shapes(latents))


class Seer(nn.Module):
    """A network whose first units are detectors; others look at finer and at coarser grids."""

    image_size = (SIDE, SIDE)
    default_layers = ("fine", "see", "coarse")

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = {"size": (SIDE, SIDE), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        self.fine = nn.Conv2d(3, 5, 4, 4)
        self.see = nn.Conv2d(3, NEURONS, PATCH, PATCH, bias=False)
        self.see.weight.data = textures()[:NEURONS]
        self.coarse = nn.Conv2d(NEURONS, 4, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        fine, seen = self.fine(images), self.see(images)
        return self.read(fine, seen, torch.tanh(self.coarse(seen)))

    def read(self, *maps: Tensor) -> Tensor:
        """An embedding."""
        return torch.cat([one.square().mean((2, 3)) for one in maps], dim=1)


class Classifier(Seer):
    """The same with scores: class `k` is as likely as detector `k` is high anywhere."""

    class_names = tuple(f"shape {number}" for number in range(CLASSES))

    def read(self, *maps: Tensor) -> Tensor:
        """Scores."""
        return 10 * maps[1][:, :CLASSES].amax((2, 3))


def drawer() -> nn.Module:
    """The generator."""
    return Drawer()


def seer() -> nn.Module:
    """A model without classes."""
    return Seer()


def classifier() -> nn.Module:
    """A model with classes."""
    return Classifier()
