"""How a module's output becomes activation maps (image, channel, y, x)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor

from rosetta.units import Grid

_MOST_PREFIX_TOKENS = 8
"""More class and register tokens than this are not inferred: the sequence is then no grid."""


class NoMapError(Exception):
    """A module's output cannot be read as activation maps; the message says why."""


@dataclass(frozen=True)
class Traits:
    """What a model says about its own tensors, where the shapes alone do not tell."""

    channels_last: bool = False
    """Ambiguous 4-D outputs are (image, y, x, channel)."""
    prefix_tokens: int | None = None
    """Class and register tokens at the head of a sequence; None where it must be inferred."""
    token_grid: Grid | None = None
    """Grid of the patch tokens; None where it must be inferred."""


@dataclass(frozen=True)
class Layout:
    """A decision, made once by the probe and then kept for every batch."""

    kind: Literal["channels first", "channels last", "tokens"]
    """Order of the axes of the raw output."""
    channels: int
    """How many maps an image has."""
    grid: Grid
    """Height and width of a map, in positions."""
    prefix: int = 0
    """Tokens dropped from the head of a sequence."""

    def arrange(self, output: Tensor) -> Tensor:
        """A view of a raw output as (image, channel, y, x)."""
        if self.kind == "channels first":
            return output
        if self.kind == "channels last":
            return output.permute(0, 3, 1, 2)
        tokens = output[:, self.prefix :]
        return tokens.transpose(1, 2).unflatten(2, self.grid)


def layout_of(shape: Sequence[int], traits: Traits, image: Grid) -> Layout:
    """Decide the layout from the output for a single image.

    Parameters
    ----------
    shape
        Shape of the raw output, (1, …) for one image.
    traits
        What the model declares.
    image
        Height and width of that image.

    Raises
    ------
    NoMapError
        The output has no (image, channel, y, x) reading.
    """
    if len(shape) not in (3, 4):
        raise NoMapError(f"gives a tensor of shape {tuple(shape)}, which is no map")
    if shape[0] != 1:
        raise NoMapError(f"gives {shape[0]} rows for a single image (shape {tuple(shape)})")
    if min(shape) < 1:
        raise NoMapError(f"gives an empty tensor of shape {tuple(shape)}")
    return _tokens(shape[1], shape[2], traits) if len(shape) == 3 else _axes(shape, traits, image)


def _axes(shape: Sequence[int], traits: Traits, image: Grid) -> Layout:
    _, a, b, c = shape
    first, last = _like(image, (b, c)), _like(image, (a, b))
    if (last and not first) or (first == last and traits.channels_last):
        return Layout("channels last", c, (a, b))
    return Layout("channels first", a, (b, c))


def _like(image: Grid, grid: Grid) -> bool:
    """Whether a grid has the image's proportions, up to the rounding of one position."""
    return abs(grid[0] - grid[1] * image[0] / image[1]) < max(1.0, image[0] / image[1])


def _tokens(tokens: int, channels: int, traits: Traits) -> Layout:
    declared = traits.prefix_tokens
    prefixes = [] if declared is None else [declared]
    # A model may add its class token halfway, or pool between stages, so what it declares is tried first and
    # not believed blindly.
    if traits.token_grid is not None:
        height, width = traits.token_grid
        extra = tokens - height * width
        if extra in prefixes or (declared is None and 0 <= extra <= _MOST_PREFIX_TOKENS):
            return Layout("tokens", channels, traits.token_grid, extra)
    inferred = tokens - isqrt(tokens) ** 2
    for prefix in [*prefixes, inferred]:
        side = isqrt(max(tokens - prefix, 0))
        if side and side * side == tokens - prefix and prefix <= max(_MOST_PREFIX_TOKENS, declared or 0):
            return Layout("tokens", channels, (side, side), prefix)
    if traits.token_grid is not None and 0 <= tokens - height * width <= _MOST_PREFIX_TOKENS:
        return Layout("tokens", channels, traits.token_grid, tokens - height * width)
    raise NoMapError(f"gives {tokens} tokens, which are no square grid after up to {_MOST_PREFIX_TOKENS} others")
