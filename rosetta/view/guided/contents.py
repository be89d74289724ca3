"""What the page of a guided inversion or edit shows, as plain values: nothing but what a reader will see."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Panel:
    """One large picture."""

    caption: str
    """``target``, ``start``, ``result`` or the name of the guidance."""
    picture: str
    """Relative address."""
    numbers: tuple[str, ...]
    """Short lines below it, such as ``PSNR 28.1 dB``."""


@dataclass(frozen=True)
class Film:
    """The generator's image on its way from start to result: one picture of frames in a row."""

    caption: str
    """Which guidance it shows."""
    picture: str
    """Relative address of the sprite: tiles of :data:`rosetta.view.pictures.sprite.TILE` pixels and gaps between
    them."""
    frames: int
    """How many tiles it has, at least 1."""
    steps: tuple[int, ...]
    """(frames,) after how many steps each was taken."""


@dataclass(frozen=True)
class MapSheet:
    """Maps as heat over the image: a row per unit, a column per model and moment."""

    columns: tuple[str, ...]
    """What the columns show, the moment last: ``dcgan before``, ``dcgan asked``, ``dcgan after``, ``lite0 before``."""
    rows: tuple[str, ...]
    """What the rows show, such as ``concept 3 · main.5:12``."""
    picture: str
    """Relative address of the sprite; heat starts at a unit's mean over the run and is full at its maximum."""


@dataclass(frozen=True)
class GuidedImage:
    """All that was made for one image."""

    title: str
    """Its name."""
    panels: tuple[Panel, ...]
    """What it should be, what it was and what it became, side by side."""
    films: tuple[Film, ...]
    """How it became so, a strip per guidance."""
    maps: MapSheet | None
    """What the units did; None where there is nothing to show."""
    trace: str
    """SVG text of :func:`rosetta.view.guided.loss_plot.loss_traces`; empty when there is none."""


@dataclass(frozen=True)
class Summary:
    """Whether it worked, as a table of ready-made text."""

    columns: tuple[str, ...]
    """Headings; the first is that of the rows' names."""
    rows: tuple[tuple[str, ...], ...]
    """(row, column) as many texts as there are headings, the row's name first."""
    note: str
    """Said below the table, why a column is empty for example; may be empty."""


@dataclass(frozen=True)
class GuidedPage:
    """The whole page."""

    kind: Literal["inversion", "edit"]
    """What was done to the images."""
    name: str
    """Of this inversion or edit."""
    run: str
    """Name of the run whose Rosetta neurons guide it."""
    lede: str
    """What was done, in a sentence or two."""
    summary: Summary
    """The numbers over all images."""
    images: tuple[GuidedImage, ...]
    """In the order in which the page shows them."""
    settings: tuple[tuple[str, str], ...]
    """Name and value of what was asked for."""
    fingerprint: str
    """Of what the page was made from."""
    command: str
    """How it was made."""
    home: str
    """Relative address of the dictionary, ``../../report/index.html``."""
    trust: str | None = None
    """Relative address of the page that explains trust, where there is one."""
