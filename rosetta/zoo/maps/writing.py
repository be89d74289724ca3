"""Setting channels of a layer in the tensor that its module takes or gives: the way back from maps.

What stands beside the maps stays as it is: class and register tokens, other channels, other images.
"""

import copy
import dataclasses
from collections.abc import Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rosetta.zoo.maps.layout import Layout, NoMapError


@dataclass(frozen=True)
class Change:
    """What some channels of a layer become, each in one image of a batch; `k` of them, none twice."""

    images: Tensor
    """(k,) int64 positions in the batch."""
    channels: Tensor
    """(k,) int64 indices in the layer."""
    values: Tensor
    """(k, y, x) or (k, 1, 1), on the module's own grid: beyond the image, too, where that reaches further."""
    adds: bool = False
    """Whether the values are added to what is there, and do not replace it."""


def written(layout: Layout, raw: Tensor, change: Change) -> Tensor:
    """A changed copy of a raw tensor that is read by a layout."""
    images, channels = change.images.to(raw.device), change.channels.to(raw.device)
    values = change.values.to(raw.dtype).to(raw.device).expand(-1, *layout.raw_grid)
    where: tuple[Any, ...]
    if layout.kind == "channels first":
        where = images, channels
    elif layout.kind == "channels last":
        # Indices on both sides of slices: their axis comes first, as in `values`.
        where = images, slice(None), slice(None), channels
    else:
        count = layout.raw_grid[0] * layout.raw_grid[1]
        tokens = torch.arange(count) if layout.order is None else torch.tensor(layout.order)
        tokens = tokens.to(raw.device)[None] + layout.prefix
        first = (images[:, None], tokens) if layout.batch_first else (tokens, images[:, None])
        where = *first, channels[:, None]
        values = values.flatten(1)
    result = raw.clone()
    result[where] = raw[where] + values if change.adds else values
    return result


def with_tensor_at(part: str | None, output: Any, tensor: Tensor) -> Any:
    """A module's output with another tensor in the place of :func:`rosetta.zoo.maps.places.tensor_at`.

    Raises
    ------
    NoMapError
        The output is of a kind that cannot be changed.
    """
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, tuple):
        return _with_item(output, int(part or 0), tensor)
    if part is not None and isinstance(output, MutableMapping | MutableSequence):
        changed: Any = copy.copy(output)
        changed[part if isinstance(output, MutableMapping) else int(part)] = tensor
        return changed
    if part is not None and dataclasses.is_dataclass(output) and not isinstance(output, type):
        return dataclasses.replace(output, **{part: tensor})
    raise NoMapError(f"gives a {type(output).__name__}, in which nothing can be set")


def with_input(
    arguments: tuple[Any, ...], named: Mapping[str, Any], tensor: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a module is given, with another tensor in the place of :func:`rosetta.zoo.maps.places.input_of`."""
    for index, value in enumerate(arguments):
        if isinstance(value, Tensor):
            return _with_item(arguments, index, tensor), dict(named)
    name = next(name for name, value in named.items() if isinstance(value, Tensor))
    return arguments, {**named, name: tensor}


def _with_item(items: tuple[Any, ...], index: int, item: Any) -> Any:
    changed = (*items[:index], item, *items[index + 1 :])
    return type(items)(*changed) if hasattr(items, "_fields") else changed
