"""The dictionary as a whole on the page about trust: beside its null, and with other numbers of neighbours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rosetta.mining.shape.stability import DictionaryWith
from rosetta.mining.trust.null_dictionary import NullCount
from rosetta.view import null_words
from rosetta.view.numbers import count, counted
from rosetta.view.plots import svg
from rosetta.view.plots.labels import short
from rosetta.view.trust.contents import TrustStory
from rosetta.view.trust.plots import SIDE, Picture, label

_ROW = 0.3
"""Inches of a row of the picture of the null."""
_LONGEST = 20
"""Characters of a model's name there."""


def null_rows(nulls: Sequence[NullCount], controls: Sequence[str]) -> list[tuple[str, bool, str, str, str, str]]:
    """Of each count: what it is of, whether that is a control, found, null, found over null, false discovery rate."""
    return [
        (null.of, null.of in controls, count(null.found), null_words.mean(null), null_words.ratio(null),
         null_words.rate(null))
        for null in nulls
    ]  # fmt: skip


def null(story: TrustStory) -> Picture:
    """What is counted with images exchanged, time by time, beside what the run found."""
    frame = story.whole.null
    if frame is None:
        return Picture("", story.why_not("exchange"))
    if not len(frame):
        return Picture("", "There is nothing to count.")
    names = [null.of for null in story.whole.null_counts]
    # A model may be called like a count of the dictionary: rows of one exchange are told apart by their order.
    row = frame.groupby("exchange").cumcount().to_numpy()
    found = frame["exchange"].to_numpy() == 0
    values = frame["count"].to_numpy(np.float64)
    below, above, right = 0.42, 0.24, 0.12
    high = _ROW * len(names) + below + above
    left = 0.12 + 0.068 * max(len(short(name, _LONGEST)) for name in names)
    with svg.style():
        figure = Figure(figsize=(SIDE, high))
        axes = figure.add_axes((left / SIDE, below / high, (SIDE - left - right) / SIDE, _ROW * len(names) / high))
        for place, name in enumerate(names):
            colour = svg.CONTROL if name in _controls(story) else svg.ACCENT
            here = row == place
            axes.plot(values[here & ~found], np.full(int((here & ~found).sum()), place), "o", color=svg.QUIET,
                      markersize=4, alpha=0.6)  # fmt: skip
            axes.plot(values[here & found], np.full(int((here & found).sum()), place), "D", color=colour, markersize=5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-0.02 * values.max(), 1.05 * max(1.0, float(values.max())))
        axes.set_yticks(range(len(names)), [short(name, _LONGEST) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        label(axes, "count", "")
        times = int(frame["exchange"].max())
        handles = [
            Line2D([], [], linestyle="none", marker="D", markersize=4.5, color=svg.ACCENT, label="this run"),
            Line2D([], [], linestyle="none", marker="o", markersize=4, color=svg.QUIET, alpha=0.6,
                   label=f"images exchanged ({count(times)} times)"),
        ]  # fmt: skip
        _legend(figure, handles)
        plot = svg.text(figure, f"Counts of this run and with images exchanged, for {', '.join(names)}")
    return Picture(plot, "Buddies of the anchor with each model, and what the dictionary makes of them.")


def _controls(story: TrustStory) -> list[str]:
    return [name for name, size in story.whole.sizes.items() if size.control]


def with_neighbours(frame: pd.DataFrame) -> list[DictionaryWith]:
    """The rows of `tables/stability.parquet` by rising K."""
    rows = frame.sort_values("neighbours").to_dict("records")
    counts = ("neighbours", "neurons", "trusted", "concepts", "largest")
    return [DictionaryWith(**{name: int(row[name]) for name in counts}, jaccard=float(row["jaccard"])) for row in rows]


def percolation(found: Sequence[DictionaryWith], chosen: int) -> str:
    """A warning where one concept swallows more than a fifth of the neurons; empty where none does."""
    whole = [one.neighbours for one in found if one.percolates]
    if not whole:
        return ""
    for one in found:
        if one.neighbours == chosen and one.percolates:
            return (
                f"With K = {chosen}, as in this run, the largest concept holds {count(one.largest)} of "
                f"{counted(one.neurons, 'neuron', 'neurons')}, more than a fifth. Concepts run into one another: trust "
                "the neurons, not where one concept ends, or mine with a smaller matching.neighbours."
            )
    gapless = len(whole) == sum(whole[0] <= one.neighbours <= whole[-1] for one in found)
    some = f"{whole[0]} to {whole[-1]}" if len(whole) > 1 else f"{whole[0]}"
    return (
        f"With {'' if gapless else 'some '}K = {some} one concept holds more than a fifth of the neurons: concepts run "
        f"into one another there. This run has K = {chosen}, where none does."
    )


def stability(story: TrustStory) -> Picture:
    """Counts and overlap over K; shaded where concepts run into one another."""
    frame = story.whole.stability
    if frame is None:
        return Picture("", story.why_not("stability"))
    found = with_neighbours(frame)
    if not found:
        return Picture("", "There is nothing to count.")
    ks = np.array([one.neighbours for one in found], dtype=np.float64)
    lines = {
        "Rosetta neurons": ([one.neurons for one in found], svg.QUIET, "-"),
        "trusted": ([one.trusted for one in found], svg.ACCENT, "-"),
        "concepts": ([one.concepts for one in found], svg.ACCENT, (0, (1, 1.2))),
        "largest concept": ([one.largest for one in found], svg.CONTROL, (0, (4, 2))),
    }
    with svg.style():
        figure = Figure(figsize=(SIDE, 3.9))
        upper, lower = figure.add_axes((0.12, 0.43, 0.87, 0.445)), figure.add_axes((0.12, 0.105, 0.87, 0.245))
        handles: list[Line2D | Patch] = []
        for name, (values, colour, dash) in lines.items():
            # A logarithm has no 0.
            known = np.where(np.array(values) > 0, np.array(values, dtype=np.float64), np.nan)
            handles += upper.plot(ks, known, color=colour, linestyle=dash, linewidth=1.6, label=name)
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter("{x:,.15g}")
        lower.plot(ks, [one.jaccard for one in found], color=svg.INK, linewidth=1.4)
        lower.set_ylim(0.0, 1.04)
        for axes in (upper, lower):
            _shade(axes, ks, [one.percolates for one in found])
            axes.axvline(story.neighbours, color=svg.INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
            axes.set_xlim(ks.min() - 0.5, ks.max() + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        upper.tick_params(labelbottom=False)
        label(upper, "", "count (log scale)")
        label(lower, "K, the nearest neighbours that must be mutual", "overlap")
        if any(one.percolates for one in found):
            handles.append(Patch(color=svg.CONTROL, alpha=0.13, linewidth=0, label="a concept holds a fifth"))
        _legend(figure, handles, 3)
        plot = svg.text(figure, "The dictionary over the number of neighbours K")
    return Picture(
        plot,
        f"Dotted upright: K = {story.neighbours}, as in this run. Overlap: neurons that are in both dictionaries over "
        "those in either (Jaccard), with this K and with the run’s.",
    )


def _shade(axes: Axes, ks: np.ndarray, percolates: Sequence[bool]) -> None:
    for k, shaded in zip(ks.tolist(), percolates, strict=True):
        if shaded:
            axes.axvspan(k - 0.5, k + 0.5, color=svg.CONTROL, alpha=0.13, linewidth=0)


def _legend(figure: Figure, handles: Sequence[Line2D | Patch], columns: int = 2) -> None:
    figure.legend(
        handles=list(handles), loc="upper left", ncols=columns, bbox_to_anchor=(0.02, 1.0), borderaxespad=0.1,
        handlelength=1.4, columnspacing=1.2, fontsize=7.5,
    )  # fmt: skip
