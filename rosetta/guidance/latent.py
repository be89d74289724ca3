"""Latent spaces of a generator: z, and for style-based ones w and w+."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.model import Model

SpaceName = Literal["z", "w", "w+"]

_MEAN_DRAWS = 4096
"""Latents whose styles are averaged to find the middle of w."""


@dataclass(frozen=True)
class Rendering:
    """What a generator makes of latents."""

    latents: Tensor
    """(row, …) in the coordinates of their space."""
    images: Tensor
    """(row, rgb, y, x), about 0…1, not clamped: a clamp has no gradient where it bites."""
    maps: Mapping[str, Tensor]
    """(row, channel, y, x) by layer name."""


@dataclass(frozen=True)
class Space:
    """A space whose points a generator turns into images; made by :func:`space_of`."""

    name: SpaceName
    model: Model
    centre: Tensor
    """(…) the middle of the space: 0 for z, the mean style for w and w+."""
    styles: int = 0
    """How many styles the generator takes, where it has them."""

    def start(self, z: Tensor) -> Tensor:
        """Points of this space for z of shape (row, z); w takes the first of the styles, which are all the same."""
        if self.name == "z":
            return z.to(self.model.device, torch.float32)
        with torch.no_grad():
            styles = self.model.styles(z)
        return styles if self.name == "w+" else styles[:, 0]

    def render(self, latents: Tensor) -> Rendering:
        """Images and maps at points of this space; differentiable."""
        if self.name == "z":
            images, maps = self.model.synthesise(latents)
        else:
            styles = latents if self.name == "w+" else latents[:, None].expand(-1, self.styles, -1)
            images, maps = self.model.synthesise_styles(styles)
        return Rendering(latents, images, maps)


def space_of(model: Model, name: SpaceName = "z") -> Space:
    """A space of a generator.

    Raises
    ------
    UserError
        The model is no generator, or has no such space.
    """
    if not model.is_generator:
        raise UserError(f"model {model.spec.name!r} makes no images, so it has no latents to search")
    if name not in model.spaces:
        raise UserError(
            f"model {model.spec.name!r} has no latent space {name!r}; it has {' and '.join(map(repr, model.spaces))}"
        )
    if name == "z":
        return Space(name, model, torch.zeros((), device=model.device))
    draws = torch.from_numpy(model.draw_latents(_MEAN_DRAWS, 0))
    with torch.no_grad():
        mean = model.styles(draws).mean(0)
    return Space(name, model, mean if name == "w+" else mean[0], len(mean))
