"""How a run, a concept and a unit show themselves in a notebook: small HTML with its pictures inside."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    told: tuple[str, ...]
    """Lines below."""
    tiles: npt.NDArray[np.uint8]
    """(image, y, x, rgb) square tiles."""

    @property
    def address(self) -> str:
        """The picture as a data URI."""
        return f"data:image/webp;base64,{b64encode(webp(self.tiles[None], quality=75)).decode()}"


@dataclass(frozen=True)
class Pictured:
    """Some images, and maps over them."""

    images: tuple[int, ...]
    """Index of each."""
    strips: tuple[Strip, ...]
    """The images themselves first."""


@dataclass(frozen=True)
class Near:
    """A neighbour of a unit."""

    layer: str
    channel: int
    unit: int
    pearson: float
    mutual: bool
    """Whether each is among the other's nearest."""


@dataclass(frozen=True)
class ConceptCell:
    """What a notebook shows of a concept."""

    title: str
    facts: tuple[str, ...]
    """Short, in the order of their weight."""
    pictured: Pictured


@dataclass(frozen=True)
class UnitCell:
    """What a notebook shows of a unit."""

    title: str
    facts: tuple[str, ...]
    pictured: Pictured
    near: Mapping[str, Sequence[Near]]
    """By model: its nearest neighbours there, nearest first."""
    neighbours: int
    """How many of the nearest must be mutual for a buddy."""


@dataclass(frozen=True)
class ModelRow:
    """One model of a run; numbers as in the table of models."""

    name: str
    zoo: str
    kind: str
    layers: int
    units: int
    matched: int
    buddies: int
    median_pearson: float
    rosetta: int


@dataclass(frozen=True)
class RunCell:
    """What a notebook shows of a run."""

    title: str
    facts: tuple[str, ...]
    pictured: Pictured
    models: tuple[ModelRow, ...]


def concept_html(cell: ConceptCell) -> str:
    """HTML of a concept; all text is escaped."""
    return _render("concept", cell)


def unit_html(cell: UnitCell) -> str:
    """HTML of a unit; all text is escaped."""
    return _render("unit", cell)


def run_html(cell: RunCell) -> str:
    """HTML of a run; all text is escaped."""
    return _render("run", cell)


def _render(kind: str, cell: object) -> str:
    return environment().get_template(f"cell_{kind}.html").render(cell=cell, tile=TILE)
