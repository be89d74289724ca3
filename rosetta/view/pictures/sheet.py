"""Images under the maps of several models, laid out as a figure in print quality."""

import io
import textwrap
import warnings
from dataclasses import dataclass

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from rosetta.view.pictures.colours import heat, opacity
from rosetta.view.plots.labels import literal, short

DPI = 300
"""Dots to an inch in print."""
FORMATS = ("png", "pdf")
Bounds = tuple[float, float, float, float]
_GAP = 0.04
"""Between tiles, in tiles."""
_WIDEST, _NARROWEST, _PAGE = 1.1, 0.55, 7.0
"""Inches: of a tile at most and at least, and of all tiles where that leaves them so wide."""
_SMALL = 6.5
_LINE = 0.125
"""Inches from line to line at that size."""
_LETTER = 0.052
"""Inches that a letter of a sentence takes on the average at that size; a name may be all broad ones."""
_BROAD = 0.064
_SCALE = 2.2
"""Inches of the colour scale, which its two labels need."""


@dataclass(frozen=True)
class Heading:
    """What stands above a column."""

    title: str
    told: tuple[str, ...] = ()
    """Lines below the title."""


@dataclass(frozen=True)
class Sheet:
    """Tiles in rows and columns, each row and column with its name."""

    tiles: npt.NDArray[np.uint8]
    """(row, column, y, x, rgb)"""
    rows: tuple[str, ...]
    columns: tuple[Heading, ...]
    rows_are: str
    """What a row is: `image`, `concept`."""


def tile_pixels(columns: int) -> int:
    """Pixels of a tile's side that fill a figure of so many columns at :data:`DPI`."""
    return round(_tile_inches(columns) * DPI)


def draw_sheet(
    axes: Axes, sheet: Sheet, size: float | str = "small", letters: int = 16, scale: Bounds = (0.0, -0.06, 1.0, 0.025)
) -> Axes:
    """The tiles on given axes, names above and beside.

    Parameters
    ----------
    size
        Of the letters.
    letters
        Longest word of a column's heading; names are cut to it.
    scale
        Where the colour scale lies: left, bottom, width and height, as shares of the axes.
    """
    rows, columns = sheet.tiles.shape[:2]
    for row in range(rows):
        for column in range(columns):
            left, top = column * (1 + _GAP), row * (1 + _GAP)
            # Any other interpolation would blur one tile's edge, and a PDF keeps the pixels as they are.
            axes.imshow(sheet.tiles[row, column], extent=(left, left + 1, top + 1, top), interpolation="none")
    axes.set_xlim(0, columns * (1 + _GAP) - _GAP)
    axes.set_ylim(rows * (1 + _GAP) - _GAP, 0)
    axes.set_aspect("equal")
    axes.xaxis.tick_top()
    told = max((len(heading.told) for heading in sheet.columns), default=0)
    lines = ([heading.title, *heading.told] + [""] * (told - len(heading.told)) for heading in sheet.columns)
    names = ["\n".join(literal(line, letters) for line in heading) for heading in lines]
    axes.set_xticks([column * (1 + _GAP) + 0.5 for column in range(columns)], names, fontsize=size)
    axes.set_yticks([row * (1 + _GAP) + 0.5 for row in range(rows)], [literal(name, 24) for name in sheet.rows],
                    fontsize=size)  # fmt: skip
    axes.set_ylabel(sheet.rows_are, fontsize=size)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    bar = axes.inset_axes(scale)
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=heat_on_white(), aspect="auto", extent=(0, 1, 0, 1))
    bar.set_yticks([])
    bar.spines[:].set_linewidth(0.4)
    bar.set_xticks([0, 1], ["unit's mean", "its maximum over the run"], fontsize=size)
    bar.tick_params(length=2, pad=1.5)
    first, last = bar.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return axes


def print_sheet(sheet: Sheet, caption: str, image: npt.NDArray[np.uint8] | None = None, image_name: str = "") -> Figure:
    """A whole figure: tiles, the colour scale, the caption.

    Parameters
    ----------
    image
        (y, x, rgb) shown by itself on the left, where all rows are about one image.
    image_name
        Written below it.
    """
    rows, columns = sheet.tiles.shape[:2]
    tile = _tile_inches(columns)
    beside = 0.34 + _LETTER * max((len(short(name, 24)) for name in sheet.rows), default=0)
    above = 0.1 + _LINE * (1 + max((len(heading.told) for heading in sheet.columns), default=0))
    wide, high = (count * tile * (1 + _GAP) - tile * _GAP for count in (columns, rows))
    large = 0.0 if image is None else min(2 * tile, 1.6, high)
    left = beside + (large + 0.2 if large else 0.0)
    width = max(left + max(wide, _SCALE) + 0.1, 3.4)
    lines = textwrap.wrap(" ".join(caption.split()), int((width - 0.2) / _LETTER), break_long_words=True)
    below = 0.5 + _LINE * 1.15 * len(lines)
    height = above + high + below
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(width, height), dpi=DPI)
        axes = figure.add_axes((left / width, below / height, wide / width, high / height))
        scale = (0.0, -0.16 / high, _SCALE / wide, 0.08 / high)
        draw_sheet(axes, sheet, _SMALL, max(int(tile / _BROAD), 6), scale)
        if image is not None:
            alone = figure.add_axes((0.1 / width, (below + high - large) / height, large / width, large / height))
            alone.imshow(image, interpolation="none")
            alone.set(xticks=[], yticks=[])
            alone.set_title(literal(image_name), fontsize=_SMALL, pad=3)
            alone.spines[:].set_visible(False)
        told = "\n".join(line.replace("$", r"\$") for line in lines)
        figure.text(0.1 / width, (below - 0.46) / height, told, fontsize=_SMALL, va="top", linespacing=1.3)
    return figure


def encode(figure: Figure, kind: str) -> bytes:
    """A figure as a file, `png` or `pdf`; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    stamp = {"CreationDate": None} if kind == "pdf" else {}
    # Fonts as TrueType, which journals ask for.
    with matplotlib.style.context(["default", {"pdf.fonttype": 42}]), warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; the caption's reader sees it, and no one can mend it here.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=stamp, facecolor="white")
    return buffer.getvalue()


def _tile_inches(columns: int) -> float:
    return float(np.clip(_PAGE / max(columns, 1), _NARROWEST, _WIDEST))


def heat_on_white() -> Colormap:
    """The heat colours as they lie on white."""
    strength = np.linspace(0, 1, 256)
    cover = opacity(strength)[:, None]
    return ListedColormap(1 - cover + cover * heat(strength))
