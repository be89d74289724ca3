"""Where the matches lie: a heat map of buddies, layer by layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from rosetta.view.numbers import count, counted
from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal
from rosetta.view.plots.panels import inches, name_ticks

Counts = npt.NDArray[np.integer]

_NUMBERED = 600
"""Cells of a heat map that have their numbers written into them, at most."""
_DIGIT, _LINE = 0.07, 0.3
"""Inches that a digit takes, and the height of a cell with a number."""
_SMALL = 0.085
"""Inches of a cell's side where there are more."""
_DEEPEST = 0.58
"""Opacity of the fullest cell; it stays light enough for the page's ink."""


def _digits(counts: Counts) -> float:
    """Inches that the largest number takes, with room on its sides."""
    return max(0.37, _DIGIT * (len(count(counts.max(initial=0))) + 1.5))


def draw_layers(
    axes: Axes, counts: Counts, rows: Sequence[str], columns: Sequence[str],
    anchor: str = "the anchor", model: str = "the model", title: str | None = None,
) -> Axes:  # fmt: skip
    """Buddies by layer: cells with their number, or shades alone where numbers could not be read.

    Parameters
    ----------
    counts
        (anchor layer, model layer), the buddies between the two.
    rows, columns
        Names of the anchor's and the model's layers, in forward order.
    title
        Written above; how many buddies they are where none is given.

    Raises
    ------
    ValueError
        When the names do not fit the counts.
    """
    if counts.shape != (len(rows), len(columns)):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns name counts of shape {counts.shape}")
    down, across = (max(sides, 1) for sides in counts.shape)
    wide, high = inches(axes)
    most = max(int(counts.max(initial=0)), 1)
    title = counted(int(counts.sum()), "buddy", "buddies") if title is None else title
    # A square root lifts small counts off the ground.
    shades = np.where(counts > 0, 0.06 + (_DEEPEST - 0.06) * np.sqrt(np.maximum(counts, 0) / most), 0.0)
    if counts.size <= _NUMBERED and wide / across > 0.8 * _digits(counts) and high / down > 0.5 * _LINE:
        _numbered_cells(axes, counts, shades)
    else:
        _small_cells(axes, shades)
        title = f"{title}, darkest: {count(most)}"
    axes.set_xlim(-0.5, across - 0.5)
    axes.set_ylim(down - 0.5, -0.5)
    name_ticks(axes.xaxis, range(len(columns)), columns, wide / across)
    name_ticks(axes.yaxis, range(len(rows)), rows, high / down)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"layer of {literal(model)}")
    axes.set_ylabel(f"layer of {literal(anchor)}")
    # Wide names of layers push the cells to the right; the title starts where they do.
    axes.set_title(literal(title, 60), loc="left")
    return axes


def layer_matches(counts: Counts, rows: list[str], columns: list[str], title: str) -> str:
    """The same for a page: SVG text, see :func:`rosetta.view.plots.svg.text`; cells are as large as they need be."""
    numbered = counts.size <= _NUMBERED
    cell = (_digits(counts), _LINE) if numbered else (_SMALL, _SMALL)
    size = max(len(columns), 1) * cell[0], max(len(rows), 1) * cell[1]
    return svg.drawn(size, title, lambda axes: draw_layers(axes, counts, rows, columns, title=title))


def _numbered_cells(axes: Axes, counts: Counts, shades: npt.NDArray[np.float64]) -> None:
    """Each cell with its number; shades are the accent at an opacity, so they suit either theme."""
    for (row, column), buddies in np.ndenumerate(counts):
        colour, alpha = (svg.ACCENT, float(shades[row, column])) if buddies else (svg.FAINT, 0.35)
        corner = column - 0.47, row - 0.46
        axes.add_patch(Rectangle(corner, 0.94, 0.92, linewidth=0, facecolor=colour, alpha=alpha))
        ink, told = (svg.INK, count(int(buddies))) if buddies else (svg.QUIET, "·")
        axes.text(column, row, told, ha="center", va="center", color=ink, size="small")


def _small_cells(axes: Axes, shades: npt.NDArray[np.float64]) -> None:
    """All cells as one picture: thousands of shapes would make a page slow."""
    # A picture cannot take the theme's accent; this blue is seen on light and dark alike.
    blue = np.broadcast_to(to_rgb("#2e87b8"), (*shades.shape, 3))
    axes.imshow(np.dstack([blue, np.minimum(shades / _DEEPEST, 1.0)]), aspect="auto", interpolation="none")
    axes.set_facecolor((0.5, 0.5, 0.5, 0.08))
