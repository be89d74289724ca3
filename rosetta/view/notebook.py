"""How a run, a concept and a unit show themselves in a notebook: small HTML with its pictures inside."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.pictures.sprite import webp
from rosetta.view.templating import environment

TILE = 80
"""Pixels of a tile's side; a notebook's column is narrow, and its file keeps every picture."""


@dataclass(frozen=True)
class Strip:
    """A line of tiles with what it shows written before it."""

    title: str
    """A model's name, say."""
    lines: Sequence[str]
    """Written below the title."""
    tiles: npt.NDArray[np.uint8]
    """(image, y, x, rgb) square tiles."""

    @property
    def address(self) -> str:
        """The picture as a data URI."""
        return f"data:image/webp;base64,{b64encode(webp(self.tiles[None], quality=75)).decode()}"


@dataclass(frozen=True)
class Cell:
    """What a notebook shows of a run, a concept or a unit."""

    title: str
    facts: Sequence[str]
    """Short, in the order of their weight."""
    images: Sequence[int]
    """Index of each image that is shown."""
    strips: Sequence[Strip]
    """The images themselves first, then maps over them."""
    near: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Of a unit, by model: its nearest neighbours there, nearest first, each with layer, channel, unit, pearson and
    mutual."""
    neighbours: int = 0
    """How many of the nearest must be mutual for a buddy."""
    models: Sequence[Any] = ()
    """Of a run: the rows of its table of models."""

    def html(self) -> str:
        """HTML of the cell; all text is escaped."""
        return environment().get_template("cell.html").render(cell=self, tile=TILE)
