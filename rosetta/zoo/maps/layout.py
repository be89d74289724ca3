"""How a module's output becomes activation maps (image, channel, y, x)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from rosetta.units import WHOLE, Frame, Grid
from rosetta.zoo.maps.tokens import fold, is_like, pooled

_MOST_LOST = 0.5
"""Share of an image's shorter side that unpadded convolutions may lose."""


class NoMapError(Exception):
    """A module's output cannot be read as activation maps; the message says why."""


@dataclass(frozen=True)
class Traits:
    """What a model says about its own tensors, where the shapes alone do not tell."""

    channels_last: bool | None = None
    """Whether ambiguous 4-D outputs are (image, y, x, channel); None where it must be inferred."""
    sequences: bool = True
    """Sequences are of places; False where they are of states, say."""
    prefix_tokens: int | None = None
    """Class and register tokens at the head of a sequence; None where it must be inferred."""
    token_grid: Grid | None = None
    """Grid of the patch tokens; None where it must be inferred."""
    suffix_tokens: int = 0
    """Tokens without a place at the end of a sequence."""
    batch_first: bool = True
    """Sequences are (image, token, channel); otherwise (token, image, channel)."""
    orders: Mapping[int, tuple[Grid, tuple[int, ...]]] = field(default_factory=dict)
    """Of sequences that do not follow the rows: by their length, their grid and the token at each of its positions."""
    no_map: str = ""
    """Why nothing here is a map; empty where something may be."""
    frames: Mapping[str, Frame] = field(default_factory=dict)
    """By module path: which part of the image its grid covers, where it reaches beyond the image."""
    exceptions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By module path, or by path and part as `block@1`: the fields above in which what it takes and gives differs."""

    def of(self, path: str, part: str | None = None) -> "Traits":
        """What holds for one module, or for one part of what it takes and gives."""
        for name in (f"{path}@{part}", path):
            if name in self.exceptions:
                return replace(self, **self.exceptions[name])
        return self

    def below(self, path: str) -> "Traits":
        """The same of a model that is a part of another, under a path."""
        frames = {f"{path}.{inner}": frame for inner, frame in self.frames.items()}
        exceptions = {f"{path}.{inner}": fields for inner, fields in self.exceptions.items()}
        return replace(self, frames=frames, exceptions=exceptions)


@dataclass(frozen=True)
class Layout:
    """A decision, made once by the probe and then kept for every batch."""

    kind: Literal["channels first", "channels last", "tokens"]
    """Order of the axes of the raw output."""
    channels: int
    """How many maps an image has."""
    raw_grid: Grid
    """Height and width of what the module puts out, in positions."""
    prefix: int = 0
    """Tokens dropped from the head of a sequence."""
    suffix: int = 0
    """Tokens dropped from its end."""
    batch_first: bool = True
    """Whether a sequence is (image, token, channel) and not (token, image, channel)."""
    frame: Frame = WHOLE
    """Which part of the image the raw grid covers; maps are cropped to the image."""
    order: tuple[int, ...] | None = None
    """Which token, those at the head not counted, lies at each position; None where they follow the rows."""
    runs: int = 1
    """How often the module runs for an image."""

    @property
    def grid(self) -> Grid:
        """Height and width of a map, in positions: those of the raw grid that lie in the image."""
        (top, bottom), (left, right) = self._margins
        return self.raw_grid[0] - top - bottom, self.raw_grid[1] - left - right

    def arrange(self, output: Tensor) -> Tensor:
        """A raw output as (image, channel, y, x), of what lies in the image."""
        if self.kind == "channels first":
            maps = output
        elif self.kind == "channels last":
            maps = output.permute(0, 3, 1, 2)
        else:
            tokens = output if self.batch_first else output.transpose(0, 1)
            placed = tokens[:, self.prefix : tokens.shape[1] - self.suffix]
            if self.order is not None:
                placed = placed[:, torch.tensor(self.order, device=placed.device)]
            maps = placed.transpose(1, 2).unflatten(2, self.raw_grid)
        # Counted from both ends, so that a grid of another size than the probe's does not pass for it.
        rows, columns = (slice(before, -after if after else None) for before, after in self._margins)
        return maps[:, :, rows, columns]

    @cached_property
    def _margins(self) -> tuple[Grid, Grid]:
        """Positions before and after the image, in y and in x."""
        y0, x0, y1, x1 = self.frame
        return _margin(self.raw_grid[0], y0, y1), _margin(self.raw_grid[1], x0, x1)


def tensor_in(output: Any) -> Tensor:
    """The tensor that a module's output stands for: of a tuple the first, as what follows is beside it by custom.

    Attention weights, hidden states and grid sizes are returned so. A list holds equals, of which none stands for all.

    Raises
    ------
    NoMapError
        There is none.
    """
    found = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(found, Tensor):
        inside = f" that begins with a {type(found).__name__}" if found is not output else ""
        raise NoMapError(f"gives a {type(output).__name__}{inside}, not a tensor")
    return found


def layout_of(
    shape: Sequence[int],
    traits: Traits,
    image: Grid,
    frame: Frame = WHOLE,
    before: Sequence[Grid] = (),
) -> Layout:
    """Decide the layout from the output for a single image.

    Parameters
    ----------
    shape
        Shape of the raw output, (1, …) for one image.
    traits
        What the model declares.
    image
        Height and width of that image.
    frame
        Which part of it the grid covers.
    before
        Grids of the maps that came before, which tell a sequence's where the model declares none.

    Raises
    ------
    NoMapError
        The output has no (image, channel, y, x) reading.
    """
    if traits.no_map:
        raise NoMapError(traits.no_map)
    if len(shape) not in (3, 4):
        raise NoMapError(f"gives a tensor of shape {tuple(shape)}, which is no map")
    if len(shape) == 3 and not traits.batch_first:
        shape = (shape[1], shape[0], shape[2])
    if shape[0] != 1:
        raise NoMapError(f"gives {shape[0]} rows for a single image (shape {tuple(shape)})")
    if min(shape) < 1:
        raise NoMapError(f"gives an empty tensor of shape {tuple(shape)}")
    y0, x0, y1, x1 = frame
    covered = round(image[0] * (y1 - y0)), round(image[1] * (x1 - x0))
    if len(shape) == 4:
        return _axes(shape, traits, covered, frame)
    if not traits.sequences:
        raise NoMapError(f"gives a sequence of shape {tuple(shape)}, which in this model is not one of places")
    return _tokens(shape[1], shape[2], traits, covered, frame, before)


def readable_both_ways(shape: Sequence[int], image: Grid) -> bool:
    """Whether the channels of a 4-D output may be its second axis as well as its last."""
    return len(shape) == 4 and _may_cover((shape[2], shape[3]), image) and _may_cover((shape[1], shape[2]), image)


def _axes(shape: Sequence[int], traits: Traits, image: Grid, frame: Frame) -> Layout:
    _, a, b, c = shape
    first, last = _may_cover((b, c), image), _may_cover((a, b), image)
    if not first and not last:
        height, width = image
        raise NoMapError(
            f"gives a tensor of shape {tuple(shape)}, in which no two axes fit an image of {height} × {width}"
        )
    if not last or (first and not traits.channels_last):
        return Layout("channels first", a, (b, c), frame=frame)
    # Such are computed by patch. Windows are padded where they do not fit, and are then no maps.
    if traits.token_grid is not None and (a, b) not in pooled(traits.token_grid):
        rows, columns = traits.token_grid
        raise NoMapError(f"gives a tensor of shape {tuple(shape)}, while the model has {rows} × {columns} patches")
    return Layout("channels last", c, (a, b), frame=frame)


def _may_cover(grid: Grid, image: Grid) -> bool:
    """Whether a grid may cover an image.

    It has the image's proportions, or those of an image that lost as much in either direction, as unpadded
    convolutions make it.
    """
    (rows, columns), (height, width) = grid, image
    if is_like(grid, image) or rows == columns or height == width:
        return is_like(grid, image)
    stride = (height - width) / (rows - columns)
    return stride > 0 and 0 <= height - rows * stride <= _MOST_LOST * min(height, width)


def _tokens(tokens: int, channels: int, traits: Traits, image: Grid, frame: Frame, before: Sequence[Grid]) -> Layout:
    suffix = traits.suffix_tokens
    if traits.token_grid is not None and tokens - (traits.prefix_tokens or 0) == prod(traits.token_grid):
        suffix = 0  # these tokens come later than this sequence
    if tokens <= suffix:
        raise NoMapError(f"gives {tokens} of its {suffix} tokens at the end, which have no place")
    if traits.orders:
        if tokens not in traits.orders:
            raise NoMapError(f"gives {tokens} tokens, of which the model does not say where they lie")
        grid, order = traits.orders[tokens]
        return Layout("tokens", channels, grid, batch_first=traits.batch_first, frame=frame, order=order)
    found = fold(tokens - suffix, image, prefix=traits.prefix_tokens, declared=traits.token_grid, before=before)
    if isinstance(found, str):
        raise NoMapError(found)
    prefix, grid = found
    return Layout("tokens", channels, grid, prefix, suffix, traits.batch_first, frame)


def _margin(positions: int, start: float, end: float) -> Grid:
    """How many positions of an axis lie before the image and after it, where it covers `start` to `end` of it."""
    side = positions / (end - start)
    return round(-start * side), round((end - 1) * side)
