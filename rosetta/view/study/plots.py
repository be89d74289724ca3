"""The plots of a study: what the models of some families count over their size, and over their depth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from rosetta.view.numbers import count
from rosetta.view.plots import svg
from rosetta.view.plots.labels import short
from rosetta.view.plots.panels import panels, tidy
from rosetta.view.study.contents import AnchorStory, StudyPage

_COLOURS = (svg.ACCENT, svg.CONTROL, svg.INK, svg.QUIET)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDE, _HIGH = 3.1, 2.15
"""Inches of a panel with its numbers and title."""
_PREFIXES = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


@dataclass(frozen=True)
class Plot:
    """A plot, drawn on axes of its size: for the page, and for a file of its own."""

    name: str
    """Of its file."""
    label: str
    """What a reader who cannot see it is told."""
    size: tuple[float, float]
    """Inches."""
    draw: Callable[[Axes], None]
    note: str
    """What is said below it."""


@dataclass(frozen=True)
class _Panel:
    """One panel: a column over size."""

    title: str
    columns: tuple[str, ...]
    """The second one, if any, is drawn hollow."""
    logarithmic: bool = False
    percent: bool = False


_COUNTS = (
    _Panel("Buddies", ("buddies",), logarithmic=True),
    _Panel("Trusted buddies", ("buddies_trusted",), logarithmic=True),
    _Panel("Rosetta neurons", ("neurons",), logarithmic=True),
)
_SELECTIVE = (
    _Panel("Kurtosis", ("kurtosis_matched", "kurtosis_others")),
    _Panel("Half share", ("half_share_matched", "half_share_others"), percent=True),
)


def plots(page: StudyPage, story: AnchorStory) -> Iterator[Plot]:
    """All plots of one anchor. Families that are measured in different ways have plots of their own."""
    for place, measured in enumerate(dict.fromkeys(page.measured(family.name) for family in page.families)):
        families = [family.name for family in page.families if page.measured(family.name) == measured]
        suffix = f"-{place}" if place else ""
        drawn = story.models["rarefied_units"].max()
        rarefied = _Panel(f"Buddies among {drawn} units of each", ("rarefied",), logarithmic=True)
        counts = (*_COUNTS, rarefied) if drawn else _COUNTS
        yield _over_size(story, families, measured, f"counts{suffix}", counts, _counts_note(story, families))
        share = (_Panel("Share of units", ("share", "share_trusted"), percent=True), _Panel("Excess", ("excess",)))
        yield _over_size(story, families, measured, f"share{suffix}", share,
                         "Left: units of each model with a buddy, hollow with a trusted one. Right: mean excess of the "
                         "anchor’s units over rotated ones.")  # fmt: skip
        yield _over_size(story, families, measured, f"selectivity{suffix}", _SELECTIVE,
                         "Medians over the units with a buddy, and hollow over all others.")  # fmt: skip
    yield _over_depth(page, story)


def _counts_note(story: AnchorStory, families: Sequence[str]) -> str:
    rows = story.models[story.models["family"].isin(families)]
    none = rows[(rows[["buddies", "buddies_trusted", "neurons"]] == 0).any(axis=1)]["model"].unique()
    left = f" A logarithmic axis has no place for counts of 0, which {', '.join(none)} have." if len(none) else ""
    return f"Both axes are logarithmic; lines are the fitted power laws.{left}"


def _look(place: int) -> dict[str, Any]:
    return {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}


def _over_size(
    story: AnchorStory, families: Sequence[str], measured: str, name: str, shown: Sequence[_Panel], note: str
) -> Plot:
    across = 2 if len(shown) > 1 else 1
    down = -(-len(shown) // across)

    def draw(axes: Axes) -> None:
        drawn = panels(axes, len(shown), across, above=0.3, beside=0.16)
        for one, panel in zip(shown, drawn, strict=True):
            for place, family in enumerate(families):
                rows = story.models[story.models["family"] == family].sort_values("size")
                laws = story.exponents[(story.exponents["family"] == family) & (story.exponents["part"] == "all")]
                _series(panel, rows, laws, one, place)
            _finish(panel, one, story.models.loc[story.models["family"].isin(families), "size"])
        axes.set_xlabel(f"{short(measured)} (log scale)")
        handles = [
            Line2D([], [], linestyle="none", markersize=5, label=short(family), **_look(place))
            for place, family in enumerate(families)
        ]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0 - 0.1 / down), ncols=3, frameon=False)

    titles = ", ".join(one.title for one in shown)
    return Plot(name, f"{titles} over {measured}, against {story.anchor}", (_WIDE * across, _HIGH * down), draw, note)


def _series(axes: Axes, rows: pd.DataFrame, laws: pd.DataFrame, panel: _Panel, place: int) -> None:
    """The models of one family in a panel."""
    look, size = _look(place), rows["size"].to_numpy()
    for hollow, column in enumerate(panel.columns):
        values = rows[column].to_numpy(np.float64) * (100.0 if panel.percent else 1.0)
        if panel.logarithmic:
            values = np.where(values > 0, values, np.nan)
        stroke = ":" if hollow else "-"
        line: dict[str, Any] = {"linestyle": "none" if panel.logarithmic else stroke, "linewidth": 0.9}
        inside: dict[str, Any] = {"markerfacecolor": "none"} if hollow else {}
        axes.plot(size, values, markersize=5, **look, **line, **inside)
    if panel.logarithmic:
        for law in laws[laws["count"] == panel.columns[0]].itertuples():
            ends = np.array([size.min(), size.max()])
            axes.plot(ends, law.prefactor * ends**law.exponent, color=look["color"], linewidth=1.1)


def _finish(axes: Axes, panel: _Panel, sizes: "pd.Series[float]") -> None:
    axes.set_title(panel.title, loc="left")
    axes.set_xscale("log")
    axes.set_xlim(sizes.min() / 1.12, sizes.max() * 1.12)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(sizes.min(), sizes.max())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _prefixed(value)))
    axes.tick_params(labelleft=True, labelbottom=True)
    if panel.logarithmic and any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        subs = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
        room = 1.5 if high / low < 4 else 1.1
        axes.set_ylim(low / room, high * room)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.15g}"))
    elif panel.logarithmic:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=svg.QUIET, size="small")
    else:
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), high + 0.12 * (high - min(0.0, low)))
        axes.yaxis.set_major_formatter("{x:g} %" if panel.percent else "{x:g}")
    tidy(axes, grid="y")


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range of sizes, or its ends where there are none."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1.0, 2.0, 5.0) if high / low < 50 else (1.0,)
    found = [step * 10.0**power for power in powers for step in steps if low / 1.1 <= step * 10.0**power <= high * 1.1]
    return found if len(found) > 1 else [low, high]


def _prefixed(value: float) -> str:
    """`2 M` for two million."""
    for unit, prefix in _PREFIXES:
        if value >= unit:
            return f"{value / unit:.3g}{prefix}"
    return f"{value:.3g}"


def _over_depth(page: StudyPage, story: AnchorStory) -> Plot:
    families = page.families
    across = min(2, len(families))
    down = -(-len(families) // across)

    def draw(axes: Axes) -> None:
        drawn = panels(axes, len(families), across, above=0.26, beside=0.16)
        for place, (family, panel) in enumerate(zip(families, drawn, strict=True)):
            colour = _COLOURS[place % len(_COLOURS)]
            rows = story.models[story.models["family"] == family.name].sort_values("size")
            for rank, model in enumerate(rows["model"]):
                of_model = story.depths[story.depths["model"] == model].sort_values("depth")
                marker = _MARKERS[rank % len(_MARKERS)]
                opacity = 0.35 + 0.65 * (rank + 1) / len(rows)
                panel.plot(of_model["depth"], 100.0 * of_model["share"], color=colour, marker=marker, markersize=3.5,
                           linewidth=1.1, alpha=opacity, label=short(model, 18))  # fmt: skip
            panel.set_title(short(family.name), loc="left")
            panel.set_ylim(0.0, 1.2 * panel.get_ylim()[1])
            panel.set_xlim(-0.03, 1.03)
            panel.yaxis.set_major_formatter("{x:g} %")
            panel.tick_params(labelleft=True, labelbottom=True)
            panel.legend(fontsize="small", loc="best")
            tidy(panel, grid="y")
        axes.set_xlabel("depth of the layer: 0 the first, 1 the last")

    label = f"Share of units with a buddy over depth, against {story.anchor}"
    size = (_WIDE * across, _HIGH * down)
    note = "Units of each layer that have a buddy. Models of a family rise in size from pale to full."
    return Plot("depth", label, size, draw, note)


def told(value: float) -> str:
    """A count of models' sizes, in full where it is short."""
    return count(round(value)) if value == round(value) else f"{value:g}"
