"""Pictures of the page about trust: one correlation of each match against another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MultipleLocator

from rosetta.view.numbers import count, counted, knob
from rosetta.view.plots import svg
from rosetta.view.plots.panels import tidy
from rosetta.view.trust.contents import Flags, Matches, Numbers

DRAWN = 2000
"""Points of a scatter plot, at most."""

_TOGETHER = 250
"""Points that share one stroke. A stroke covers a place once however often it passes; several show density."""

SIDE = 4.2
"""Inches of a picture's width."""


@dataclass(frozen=True)
class Picture:
    """A plot and what is said below it."""

    svg: str
    """SVG text, see :func:`rosetta.view.plots.svg.text`; empty when there is nothing to draw."""
    note: str
    """Plain text: what it counts, and what is left out."""


@dataclass(frozen=True)
class Group:
    """Points that look alike."""

    label: str
    mask: Flags
    colour: str


def spread(total: int, most: int) -> npt.NDArray[np.intp]:
    """(drawn,) places of what is drawn of so many: all, or `most` evenly over their order."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def dots(axes: Axes, x: Numbers, y: Numbers, colour: str, width: float = 2.6) -> None:
    """Points as short strokes with round ends: a tenth of the text that a marker each would take."""
    for start in range(0, len(x), _TOGETHER):
        ends = np.column_stack([x[start : start + _TOGETHER], y[start : start + _TOGETHER]]).repeat(2, axis=0)
        path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(ends) // 2))
        path.should_simplify = False
        axes.add_patch(
            PathPatch(
                path, facecolor="none", edgecolor=colour, linewidth=width, alpha=0.5, capstyle="round", clip_on=False
            )
        )  # fmt: skip


def label(axes: Axes, x: str, y: str) -> None:
    """Names of the axes, and what all pictures have in common."""
    axes.set_xlabel(x, labelpad=2)
    axes.set_ylabel(y, labelpad=2)
    tidy(axes, grid="both")


def missing(left_out: int, why: str) -> str:
    """A sentence about matches that are not in the picture; empty when all are."""
    if not left_out:
        return ""
    return f" {counted(left_out, 'match is', 'matches are')} left out: {why}."


def scatter(
    x: Numbers,
    y: Numbers,
    groups: Sequence[Group],
    names: tuple[str, str],
    below: str = "",
    floor: float = np.nan,
    note: str = "",
) -> Picture:
    """One correlation against another, on one scale, with the diagonal.

    Parameters
    ----------
    x, y
        (match,) what lies on the axes; a match without both is left out.
    groups
        Which matches look alike; a match is in one at most.
    names
        Of the axes.
    below
        What it means to lie below the diagonal; empty when nothing is to be said.
    floor
        A level of `y` to draw as a line; NaN for none.
    note
        What to add below the picture.

    Returns
    -------
    Picture
        At most :data:`DRAWN` points; the counts in the legend are of all.
    """
    here = np.isfinite(x) & np.isfinite(y)
    gone = missing(len(here) - int(here.sum()), f"no {names[0]} or no {names[1]}")
    if not here.any():
        return Picture("", f"There is no match to draw.{gone}")
    values = np.concatenate([x[here], y[here]])
    low, high = min(0.0, float(np.floor(values.min() * 10) / 10)), min(1.0, float(np.ceil(values.max() * 10) / 10))
    low, high = low - 0.02, max(high, low + 0.1) + 0.02
    places = np.flatnonzero(here)
    places = places[spread(len(places), DRAWN)]
    with svg.style():
        # A square of 0.87 of the width, with the legend's line above it.
        figure = Figure(figsize=(SIDE, SIDE))
        axes = figure.add_axes((0.12, 0.09, 0.87, 0.87))
        if below:
            axes.fill_between([low, high], low, [low, high], color=svg.REST, alpha=0.3, linewidth=0)
            axes.text(
                high - 0.02 * (high - low), low + 0.02 * (high - low), below,
                ha="right", va="bottom", size=7.5, color=svg.QUIET,
            )  # fmt: skip
        axes.plot([low, high], [low, high], color=svg.QUIET, linewidth=0.8, linestyle=(0, (4, 2)))
        if np.isfinite(floor):
            axes.axhline(floor, color=svg.INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
        handles = []
        for group in groups:
            inside = places[group.mask[places]]
            dots(axes, x[inside], y[inside], group.colour)
            total = int((group.mask & here).sum())
            dot = Line2D([], [], linestyle="none", marker="o", markersize=4, color=group.colour, alpha=0.8)
            dot.set_label(f"{group.label} ({count(total)})")
            if total:
                handles.append(dot)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(0.2 if high - low > 0.5 else 0.1))
        label(axes, *names)
        figure.legend(
            handles=handles, loc="upper left", ncols=3, bbox_to_anchor=(0.1, 1.0),
            handletextpad=0.1, borderaxespad=0.1, columnspacing=1.6,
        )  # fmt: skip
        plot = svg.text(figure, f"{names[1]} against {names[0]}")
    drawn = f" {count(DRAWN)} of them are drawn, evenly over all." if int(here.sum()) > DRAWN else ""
    return Picture(plot, f"{counted(int(here.sum()), 'match', 'matches')}.{drawn}{gone} {note}".rstrip())


def kinds(control: Flags) -> list[Group]:
    """Matches with controls above the others: they are fewer."""
    return [Group("trained models", ~control, svg.ACCENT), Group("controls", control, svg.CONTROL)]


def halves(matches: Matches) -> Picture:
    """The two halves against each other; a replicating match has the accent's colour, whatever its model."""
    replicates = matches["replicates"]
    groups = [Group("do not replicate", ~replicates, svg.QUIET), Group("replicate", replicates, svg.ACCENT)]
    return scatter(matches["pearson_half_1"], matches["pearson_half_2"], groups, ("r in half 1", "r in half 2"))


def centred(matches: Matches) -> Picture:
    """What is left without the mean maps."""
    return scatter(matches["pearson"], matches["pearson_centred"], kinds(matches["control"]), ("r", "r, centred"))


def partial(matches: Matches, level: float) -> Picture:
    """What is left without the pixels' part, and the level that a trusted match must exceed."""
    left = matches["pearson_partial"]
    note = f"{count(int((left > level).sum()))} are above the dotted line at {knob(level)}."
    return scatter(matches["pearson"], left, kinds(matches["control"]), ("r", "r, partial"), floor=level, note=note)


def lift(matches: Matches) -> Picture:
    """Each match against the best that a control does with the same unit."""
    note = f"{count(int((matches['lift'] > 0.0).sum()))} have lift above 0."
    return scatter(
        matches["control_best"], matches["pearson"], kinds(matches["control"]), ("best r of a control", "r"),
        below="no better than a control", note=note,
    )  # fmt: skip
