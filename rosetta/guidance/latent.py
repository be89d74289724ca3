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
    """The middle of the space: 0 for z; for w and w+ the mean style, (…), or of each image's class, (image, …)."""
    styles: int = 0
    """How many styles the generator takes, where it has them."""
    classes: Tensor | None = None
    """(image,) int64 of the images that a conditional generator is searched for, else None."""

    def start(self, z: Tensor) -> Tensor:
        """Points of this space for z of shape (row, z); w takes the first of the styles, which are all the same.

        Rows, here and below, are whole repeats of the images where there are classes.
        """
        if self.name == "z":
            return z.to(self.model.device, torch.float32)
        with torch.no_grad():
            styles = self.model.styles(z, self._told(len(z)))
        return styles if self.name == "w+" else styles[:, 0]

    def render(self, latents: Tensor) -> Rendering:
        """Images and maps at points of this space; differentiable."""
        if self.name == "z":
            images, maps = self.model.synthesise(latents, self._told(len(latents)))
        else:
            styles = latents if self.name == "w+" else latents[:, None].expand(-1, self.styles, -1)
            images, maps = self.model.synthesise_styles(styles)
        return Rendering(latents, images, maps)

    def offsets(self, latents: Tensor) -> Tensor:
        """(row, …) how far points lie from the middle."""
        if self.classes is None or self.name == "z":
            return latents - self.centre
        return (latents.unflatten(0, (-1, len(self.centre))) - self.centre).flatten(0, 1)

    def _told(self, rows: int) -> Tensor | None:
        """(row,) the class of each row.

        Raises
        ------
        ValueError
            The rows are no whole repeats of the images.
        """
        if self.classes is None:
            return None
        if rows % len(self.classes):
            raise ValueError(f"{rows} rows are no whole repeats of the {len(self.classes)} images with classes")
        return self.classes.repeat(rows // len(self.classes))


def space_of(model: Model, name: SpaceName = "z", classes: Tensor | None = None) -> Space:
    """A space of a generator.

    Parameters
    ----------
    classes
        (image,) int64 of the images that are searched for, where the generator is conditional. The middle of w is then
        the mean style of an image's own class: that of all classes is a style of none of them.

    Raises
    ------
    UserError
        The model is no generator, or has no such space.
    ValueError
        There are classes where the generator takes none, or none where it does.
    """
    require_space(model, name)
    if (classes is None) != (model.classes is None):
        raise ValueError(f"model {model.spec.name!r} takes {'no ' * (model.classes is None)}classes")
    told = None if classes is None else classes.to(model.device)
    if name == "z":
        return Space(name, model, torch.zeros((), device=model.device), classes=told)
    mean = _mean_styles(model, told)
    return Space(name, model, mean if name == "w+" else mean[..., 0, :], mean.shape[-2], told)


def require_space(model: Model, name: SpaceName) -> None:
    """
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


def _mean_styles(model: Model, classes: Tensor | None) -> Tensor:
    """(style, w) of all draws; (image, style, w) of the draws of each image's class where there are classes."""
    draws = torch.from_numpy(model.draw_latents(range(_MEAN_DRAWS), 0))
    with torch.no_grad():
        if classes is None:
            return model.styles(draws).mean(0)
        # One class after the other: the styles of a few thousand draws fill a good part of a gigabyte.
        known, place = classes.unique(return_inverse=True)
        return torch.stack([model.styles(draws, index.expand(_MEAN_DRAWS)).mean(0) for index in known])[place]
