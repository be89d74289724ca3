"""Two plots of the overview: how strong the matches are, and between which layers they lie."""

from collections.abc import Mapping, Set
from math import ceil

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, short

BIN = 0.025
"""Width of a bin of the histogram, in correlation."""

_TOLD = 600
"""Cells of a heat map that have their numbers written into them, at most."""
_SMALL = 0.085
"""Inches of a cell's side where there are more."""
_TINT = 0.28
"""Opacity of a filled histogram; what lies behind stays visible."""


def _edges(values: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(bins + 1,) float64 up to 1, down to 0 or as far below as the values go."""
    lowest = min((float(array.min()) for array in values if array.size), default=0.0)
    bins = 1.0 / BIN + np.ceil(max(0.0, -lowest) / (4 * BIN)) * 4
    return 1.0 - BIN * np.arange(round(bins), -1, -1)


def _counts(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(bins,) how many values lie in each; NaN for none, so that no line runs along the axis."""
    # Rounding leaves some correlations a hair above 1.
    counts, _ = np.histogram(np.clip(values, edges[0], 1.0), edges)
    return np.where(counts > 0, counts, np.nan)


def _row(
    axes: Axes, name: str, best: npt.NDArray[np.float64], matched: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64], colour: str, control: bool, right: bool,
) -> None:  # fmt: skip
    """Draw one pair: all units behind, buddies before them, their median as a line."""
    axes.stairs(_counts(best, edges), edges, fill=True, color=svg.REST, alpha=0.75)
    axes.stairs(_counts(matched, edges), edges, fill=True, color=colour, alpha=_TINT, linewidth=0)
    axes.stairs(
        _counts(matched, edges), edges, color=colour, linewidth=1.2,
        linestyle=(0, (3, 1.5)) if control else "solid",
    )  # fmt: skip
    heading = f"{short(name)}  (control)" if control else short(name)
    x, side = (0.992, "right") if right else (0.008, "left")
    axes.text(x, 0.93, heading, transform=axes.transAxes, ha=side, va="top", weight="bold", color=svg.INK)
    told = "no buddies"
    if matched.size:
        median = float(np.median(matched))
        axes.axvline(median, color=colour, linewidth=1.0, ymax=0.9, linestyle=(0, (1, 1.5)))
        told = f"{matched.size:,} {'buddy' if matched.size == 1 else 'buddies'}, median {median:.2f}"
    axes.text(x, 0.73, told, transform=axes.transAxes, ha=side, va="top", color=svg.QUIET, size=7.5)
    axes.set_xlim(edges[0], 1.0)
    axes.tick_params(length=2.5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=svg.FAINT, linewidth=0.5, alpha=0.7)


def correlation_histogram(
    all_values: Mapping[str, npt.NDArray[np.floating]],
    buddies: Mapping[str, npt.NDArray[np.floating]],
    controls: Set[str],
) -> str:
    """How high correlations are, pair by pair, on one scale.

    Parameters
    ----------
    all_values
        Pair → (unit of the anchor,) its highest correlation with any unit of the other model; NaN where it has none.
    buddies
        Pair → (buddy,) their correlations. A pair that is absent has none.
    controls
        The pairs whose other model is a control; drawn last, apart and in another colour.

    Returns
    -------
    str
        SVG text, see :func:`rosetta.view.plots.svg.text`.
    """
    names = [name for name in all_values if name not in controls]
    apart = [name for name in all_values if name in controls]
    best = {name: finite(values) for name, values in all_values.items()}
    matched = {name: finite(buddies.get(name, np.empty(0))) for name in all_values}
    edges = _edges([*best.values(), *matched.values()])
    # Names stand where there is least to cover, on one side in all rows.
    counts = sum((np.histogram(values, edges)[0] for values in (*best.values(), *matched.values())), np.zeros(1))
    quarter = len(edges) // 4
    right = bool(counts[:quarter].sum() >= counts[-quarter:].sum())
    # A blank row sets the controls off.
    rows = [*names, *([None] if names and apart else []), *apart]
    heights = [0.36 if name is None else 1.0 for name in rows] or [1.0]
    top, bottom, row_height = 0.34, 0.46, 0.86
    height = top + bottom + row_height * sum(heights)
    with svg.style():
        figure = Figure(figsize=(7.2, height))
        grid = figure.add_gridspec(
            len(heights), 1, height_ratios=heights, hspace=0.16, left=0.085, right=0.985,
            top=1.0 - top / height, bottom=bottom / height,
        )  # fmt: skip
        drawn: list[Axes] = []
        for index, name in enumerate(rows):
            if name is None:
                continue
            share = drawn[0] if drawn else None
            axes = figure.add_subplot(grid[index, 0], sharex=share, sharey=share)
            control = name in controls
            colour = svg.CONTROL if control else svg.ACCENT
            _row(axes, name, best[name], matched[name], edges, colour, control, right)
            drawn.append(axes)
        for axes in drawn[:-1]:
            axes.tick_params(labelbottom=False)
        if drawn:
            tallest = max(float(np.histogram(values, edges)[0].max()) for values in (*best.values(), *matched.values()))
            drawn[0].set_ylim(0.0, max(tallest, 1.0) * 1.08)
            drawn[-1].set_xlabel("Pearson correlation with a unit of the anchor")
            figure.supylabel(f"count per bin of {BIN:g}", size=8.5, color=svg.QUIET, x=0.004)
        handles = [
            Patch(color=svg.REST, alpha=0.75, label="best of each anchor unit"),
            Patch(facecolor=(svg.ACCENT, _TINT), edgecolor=svg.ACCENT, label="buddies"),
        ]
        if apart:
            handles.append(Patch(facecolor=(svg.CONTROL, _TINT), edgecolor=svg.CONTROL, label="buddies of a control"))
        figure.legend(
            handles=handles, loc="upper left", ncols=3, bbox_to_anchor=(0.079, 1.0), borderaxespad=0.1,
            handlelength=1.4, columnspacing=3.0, fontsize=8.5,
        )  # fmt: skip
        return svg.text(figure, f"Histogram of correlations for {', '.join(all_values) or 'no pair'}")


def layer_matches(counts: npt.NDArray[np.integer], rows: list[str], columns: list[str], title: str) -> str:
    """Where the buddies lie: a heat map of their number, layer by layer.

    Parameters
    ----------
    counts
        (anchor layer, model layer), the buddies between the two.
    rows, columns
        Names of the anchor's and the model's layers, in forward order.
    title
        Written above.

    Returns
    -------
    str
        SVG text, see :func:`rosetta.view.plots.svg.text`. Shades are the accent at an opacity, so they suit either
        theme.

    Raises
    ------
    ValueError
        When the names do not fit the counts.
    """
    if counts.shape != (len(rows), len(columns)):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns name counts of shape {counts.shape}")
    most = max(int(counts.max(initial=0)), 1)
    # A square root lifts small counts off the ground. Even the deepest shade stays light enough for the page's ink.
    shades = np.where(counts > 0, 0.06 + 0.52 * np.sqrt(np.maximum(counts, 0) / most), 0.0)
    told = counts.size <= _TOLD
    # Inches; a digit is set 0.07 wide. Whatever stands around the cells is added by the crop.
    cell_x, cell_y = (max(0.37, 0.07 * (len(f"{most:,}") + 1.5)), 0.3) if told else (_SMALL, _SMALL)
    wide, high = max(len(columns), 1) * cell_x, max(len(rows), 1) * cell_y
    with svg.style():
        figure = Figure(figsize=(wide, high))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        if told:
            _told_cells(axes, counts, shades)
        else:
            _small_cells(axes, shades)
            title = f"{title}, darkest: {most:,}"
        axes.set_xlim(-0.5, max(len(columns), 1) - 0.5)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        # A name needs a line's height; where cells are lower, only some have one.
        step_x, step_y = (ceil(0.15 / cell) for cell in (cell_x, cell_y))
        _ticks(axes.xaxis, columns, step_x)
        _ticks(axes.yaxis, rows, step_y)
        # Slanted where two neighbours would touch.
        if len(columns) > 1 and max(len(short(name)) for name in columns) * 0.06 > cell_x * step_x:
            for tick in axes.get_xticklabels():
                tick.set(rotation=45, ha="right", va="top", rotation_mode="anchor")
        axes.tick_params(length=0, pad=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("layer of the model", size=7.5)
        axes.set_ylabel("layer of the anchor", size=7.5)
        # Wide layer names push the cells to the right; the title starts where they do.
        axes.set_title(short(title, 60), loc="left", size=9, weight="bold", pad=6)
        return svg.text(figure, title, crop=True)


def _ticks(axis: Axis, names: list[str], step: int) -> None:
    """Names at an axis, or every so many of them."""
    axis.set_ticks(list(range(0, len(names), step)), [short(name) for name in names[::step]], size=7.5)


def _told_cells(axes: Axes, counts: npt.NDArray[np.integer], shades: npt.NDArray[np.float64]) -> None:
    """Each cell with its number."""
    for (row, column), count in np.ndenumerate(counts):
        axes.add_patch(
            Rectangle(
                (column - 0.47, row - 0.46), 0.94, 0.92, linewidth=0,
                facecolor=svg.ACCENT if count else svg.FAINT, alpha=float(shades[row, column]) if count else 0.35,
            )
        )  # fmt: skip
        axes.text(
            column, row, f"{int(count):,}" if count else "·",
            ha="center", va="center", color=svg.INK if count else svg.QUIET, size=7.5,
        )  # fmt: skip


def _small_cells(axes: Axes, shades: npt.NDArray[np.float64]) -> None:
    """All cells as one picture: thousands of shapes would make a page slow, and their numbers could not be read."""
    # A picture cannot take the theme's accent; this blue is seen on light and dark alike.
    cells = np.concatenate([np.broadcast_to([0.18, 0.53, 0.72], (*shades.shape, 3)), shades[..., None] / 0.58], axis=2)
    axes.imshow(cells, aspect="auto", interpolation="none")
    axes.set_facecolor((0.5, 0.5, 0.5, 0.08))
