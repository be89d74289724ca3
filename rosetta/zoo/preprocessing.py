"""What a discriminative model wants done to an image before it looks."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta.errors import UserError

Interpolation = Literal["bicubic", "bilinear", "nearest"]
RGB = tuple[float, float, float]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize the whole image, then normalise its colours.

    Nothing is ever cropped: a position in one model's map must show the same part of the image as that
    position in another's.
    """

    size: tuple[int, int]
    """Height and width that the model sees, in pixels."""
    interpolation: Interpolation = "bilinear"
    """How pixels are resampled."""
    mean: RGB = IMAGENET_MEAN
    """Subtracted from red, green and blue, on the scale 0..1."""
    std: RGB = IMAGENET_STD
    """Then divided by."""

    def __post_init__(self) -> None:
        if self.interpolation not in ("bicubic", "bilinear", "nearest"):
            raise UserError(f"interpolation {self.interpolation!r} is unknown; use 'bicubic', 'bilinear' or 'nearest'")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size {self.size!r} is no height and width; write it like (224, 224)")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UserError(f"mean {self.mean} and std {self.std} must be three numbers each, std above 0")

    def __call__(self, images: Tensor) -> Tensor:
        """Prepare a batch; differentiable.

        Parameters
        ----------
        images
            (image, rgb, y, x), floating point, 0..1.

        Returns
        -------
        Tensor
            (image, rgb, *size), normalised; a new tensor.
        """
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        return (self._resize(images) - mean) / std

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of :meth:`as_dict`.

        Raises
        ------
        UserError
            A field is unknown or has no sensible value.
        """
        try:
            values: dict[str, Any] = {key: tuple(v) if isinstance(v, list | tuple) else v for key, v in plain.items()}
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise UserError(f"preprocessing {dict(plain)!r} is not valid: {error}") from None

    @classmethod
    def published(cls, size: tuple[int, int], interpolation: str, mean: Any, std: Any) -> "Preprocessing":
        """As a library states it; of its interpolations, the nearest that tensors can have."""
        return cls(size, _known_interpolation(interpolation), _as_rgb(mean), _as_rgb(std))

    def _resize(self, images: Tensor) -> Tensor:
        source = (images.shape[-2], images.shape[-1])
        if source == self.size:
            return images
        if self.interpolation == "nearest":
            return F.interpolate(images, self.size, mode="nearest-exact")
        shrinks = self.size[0] < source[0] or self.size[1] < source[1]
        resized = F.interpolate(images, self.size, mode=self.interpolation, align_corners=False, antialias=shrinks)
        # A cubic overshoots at edges; no photograph a model was trained on has colours outside 0..1.
        return resized.clamp(0, 1) if self.interpolation == "bicubic" else resized


def require_patches(size: tuple[int, int], patch: tuple[int, int]) -> None:
    """
    Raises
    ------
    UserError
        Images of this size cannot be cut into such patches: a network would leave out a strip at their border.
    """
    if any(side % part for side, part in zip(size, patch, strict=True)):
        near = [max(1, round(side / part)) * part for side, part in zip(size, patch, strict=True)]
        raise UserError(
            f"cannot take images of {size[0]} × {size[1]}: its patches are {patch[0]} × {patch[1]}; "
            f"state size = {near}, for example"
        )


def differing(several: Iterable[Preprocessing]) -> tuple[str, ...]:
    """The fields in which they are not all the same."""
    found = list(several)
    return tuple(
        field.name for field in fields(Preprocessing) if len({getattr(each, field.name) for each in found}) > 1
    )


def _known_interpolation(name: str) -> Interpolation:
    """The nearest of the interpolations that tensors can have, for the name a library gives."""
    if name in ("bicubic", "bilinear", "nearest"):
        return cast(Interpolation, name)
    return "nearest" if name.startswith("nearest") else "bicubic"


def _as_rgb(values: Any) -> RGB:
    """Three numbers out of whatever sequence a library gives; one number (grey) stands for all three."""
    numbers = [float(value) for value in torch.as_tensor(values, dtype=torch.float64, device="cpu").flatten().tolist()]
    if len(numbers) == 1:
        numbers *= 3
    red, green, blue = numbers
    return red, green, blue
