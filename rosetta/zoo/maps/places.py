"""Places inside a model at which maps can be taken, and how recipes name them.

A module's path by itself, `blocks.0.mlp.act`, is what the module puts out. More may follow it:

`#2`
    the second of several runs of a module for one image
`@in`
    what goes into the module
`@0`, `@last_hidden_state`
    one of the tensors that it puts out, by its index in a tuple or its name in a mapping
`@heads`
    what the heads of an attention module read, one head after the other, before they are projected
`@pattern`
    what the class token attends to, one map for each head of an attention module
`@t=250`
    at this one of several timesteps at which a diffusion model looks at an image

as in `layer1.0.relu#2`, `blocks.0.mlp.fc2@in`, `encoder#1@last_hidden_state` or `mid_block@t=250`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rosetta.zoo.maps.layout import NoMapError, tensor_in

IN, HEADS, PATTERN = "in", "heads", "pattern"
_PLACE = re.compile(r"(?P<path>.+?)(?:#(?P<run>[1-9]\d*))?(?:@(?P<part>\w+))?(?:@t=(?P<timestep>\d+))?")


@dataclass(frozen=True)
class Place:
    """One place; a glob of them where the path is a glob."""

    path: str
    """Of the module."""
    run: int | None = None
    """Which of its runs for one image, from 1; None of a module that runs once."""
    part: str | None = None
    """`in`, `heads`, `pattern`, or which tensor of its output; None for the tensor that the output stands for."""
    timestep: int | None = None
    """At which of several timesteps; None of what runs at none, or of a model that looks at one only."""

    def __str__(self) -> str:
        return f"{self.path}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What follows the path."""
        run = "" if self.run is None else f"#{self.run}"
        part = "" if self.part is None else f"@{self.part}"
        return run + part + ("" if self.timestep is None else f"@t={self.timestep}")


def parse_place(name: str) -> Place:
    """The place of a name, or the glob of places."""
    found = _PLACE.fullmatch(name)
    if found is None:
        return Place(name)
    run, timestep = (None if found[name] is None else int(found[name]) for name in ("run", "timestep"))
    return Place(found["path"], run, found["part"], timestep)


def tensor_at(part: str | None, output: Any) -> Tensor:
    """The tensor that a part names in a module's output.

    Raises
    ------
    NoMapError
        There is none.
    """
    if part is None:
        return tensor_in(output)
    parts = tensors_of(output)
    if part not in parts:
        raise NoMapError(f"gives no tensor @{part}" + (f"; it gives {_listed(parts)}" if parts else ""))
    return parts[part]


def tensors_of(output: Any) -> dict[str, Tensor]:
    """The tensors that stand in a tuple, a list or a mapping, by name; none where the output is a tensor itself."""
    if isinstance(output, Tensor):
        return {}
    named: Mapping[Any, Any] = {}
    if isinstance(output, Mapping):
        named = output
    elif isinstance(output, tuple | list):
        named = dict(enumerate(output))
    elif hasattr(output, "__dataclass_fields__"):
        named = vars(output)
    return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}


def input_of(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """The first tensor that a module is given.

    Raises
    ------
    NoMapError
        It is given none, or several together before it.
    """
    for value in (*arguments, *named.values()):
        if isinstance(value, Tensor):
            return value
        if tensors_of(value):
            raise NoMapError(f"is given a {type(value).__name__}, not a tensor")
    raise NoMapError("is given no tensor")


def _listed(parts: Mapping[str, Tensor]) -> str:
    return ", ".join(f"@{name}" for name in parts)
