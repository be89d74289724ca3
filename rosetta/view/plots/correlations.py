"""How strong the matches are: histograms of correlations, a row for each model."""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rosetta.view.numbers import correlation, counted
from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, literal
from rosetta.view.plots.panels import panels, tidy

Values = npt.NDArray[np.floating]
Known = npt.NDArray[np.float64]

BIN = 0.025
"""Width of a bin, in correlation."""

_TINT = 0.28
"""Opacity of a filled histogram; what lies behind stays visible."""

_WIDE, _HIGH = 6.5, 0.86
"""Inches of a row on the page."""


def _edges(values: list[Known]) -> Known:
    """(bins + 1,) float64 up to 1, down to 0 or as far below as the values go."""
    lowest = min((float(array.min()) for array in values if array.size), default=0.0)
    bins = 1.0 / BIN + np.ceil(max(0.0, -lowest) / (4 * BIN)) * 4
    return 1.0 - BIN * np.arange(round(bins), -1, -1)


def _counts(values: Known, edges: Known) -> Known:
    """(bins,) how many values lie in each; NaN for none, so that no line runs along the axis."""
    # Rounding leaves some correlations a hair above 1.
    counts, _ = np.histogram(np.clip(values, edges[0], 1.0), edges)
    return np.where(counts > 0, counts, np.nan)


def _row(axes: Axes, name: str, best: Known, matched: Known, edges: Known, control: bool, right: bool) -> None:
    """Draw one model: all units behind, buddies before them, their median as a line."""
    colour = svg.CONTROL if control else svg.ACCENT
    counts = _counts(matched, edges)
    axes.stairs(_counts(best, edges), edges, fill=True, color=svg.REST, alpha=0.75)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=_TINT, linewidth=0)
    axes.stairs(counts, edges, color=colour, linewidth=1.2, linestyle=(0, (3, 1.5)) if control else "solid")
    heading = f"{literal(name)}  (control)" if control else literal(name)
    x, side = (0.992, "right") if right else (0.008, "left")
    axes.text(x, 0.93, heading, transform=axes.transAxes, ha=side, va="top", weight="bold", color=svg.INK)
    told = "no buddies"
    if matched.size:
        median = float(np.median(matched))
        axes.axvline(median, color=colour, linewidth=1.0, ymax=0.9, linestyle=(0, (1, 1.5)))
        told = f"{counted(matched.size, 'buddy', 'buddies')}, median {correlation(median)}"
    axes.text(x, 0.7, told, transform=axes.transAxes, ha=side, va="top", color=svg.QUIET, size="small")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    tidy(axes, grid="x")


def draw_correlations(
    axes: Axes, best: Mapping[str, Values], buddies: Mapping[str, Values], controls: Collection[str], anchor: str
) -> Axes:
    """How high correlations are, model by model, on one scale.

    Parameters
    ----------
    axes
        What the rows are drawn within; it keeps the names of the axes and the legend.
    best
        Model → (unit of the anchor,) its highest correlation with any unit of the model; NaN where it has none.
    buddies
        Model → (buddy,) their correlations. A model that is absent has none.
    controls
        The models that are controls; drawn last and in another colour and stroke.
    anchor
        What the model is called with whose units they are compared.
    """
    names = sorted(best, key=lambda name: name in controls)
    values = {name: finite(best[name]) for name in names}
    matched = {name: finite(buddies.get(name, np.empty(0))) for name in names}
    edges = _edges([*values.values(), *matched.values()])
    counts = [_counts(array, edges) for array in (*values.values(), *matched.values())]
    # Names stand where there is least to cover, on one side in all rows.
    total = np.nansum([np.zeros(len(edges) - 1), *counts], axis=0)
    quarter = len(edges) // 4
    right = bool(total[:quarter].sum() >= total[-quarter:].sum())
    tallest = max((float(np.nanmax(array, initial=1.0)) for array in counts), default=1.0)
    for name, row in zip(names, panels(axes, len(names), 1, above=0.14), strict=True):
        _row(row, name, values[name], matched[name], edges, name in controls, right)
        row.set_xlim(edges[0], 1.0)
        row.set_ylim(0.0, 1.08 * tallest)
    axes.set_xlabel(f"Pearson correlation with a unit of {literal(anchor)}")
    axes.set_ylabel(f"count per bin of {BIN:g}")
    handles = [
        Patch(color=svg.REST, alpha=0.75, label="best of each anchor unit"),
        Patch(facecolor=(svg.ACCENT, _TINT), edgecolor=svg.ACCENT, label="buddies"),
    ]
    if any(name in controls for name in names):
        handles.append(Patch(facecolor=(svg.CONTROL, _TINT), edgecolor=svg.CONTROL, label="buddies of a control"))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False)
    return axes


def correlation_histogram(best: Mapping[str, Values], buddies: Mapping[str, Values], controls: Collection[str]) -> str:
    """The same for a page: SVG text, see :func:`rosetta.view.plots.svg.text`."""
    return svg.drawn(
        (_WIDE, _HIGH * max(len(best), 1)),
        f"Histogram of correlations for {', '.join(best) or 'no pair'}",
        lambda axes: draw_correlations(axes, best, buddies, controls, "the anchor"),
    )
