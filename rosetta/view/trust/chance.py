"""Pictures of the page about trust: what chance makes of one match, and the p values of all."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rosetta.view.numbers import chance as in_words
from rosetta.view.numbers import correlation, count, counted, knob, ten_to
from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite
from rosetta.view.trust.contents import Matches, NullExample
from rosetta.view.trust.plots import SIDE, Picture, label, missing

_SMALLEST = -20
"""Decimal logarithm of the smallest p value that has a bin of its own; smaller ones lie in the same."""
_DASHED = (0, (3, 1.5))


def null(example: NullExample | None) -> Picture:
    """How chance spreads one pair of units, and where the pair itself lies."""
    values = finite(example.null) if example is not None else np.empty(0)
    if example is None or not values.size or not np.isfinite(example.observed):
        return Picture("", "There is no example of a null distribution.")
    # Equal values still make a bar.
    half = 0.0 if values.min() < values.max() else 0.005
    edges = np.linspace(float(values.min()) - half, float(values.max()) + half, 41)
    low, high = min(float(edges[0]), example.observed), max(float(edges[-1]), example.observed)
    margin = 0.04 * (high - low)
    heights, _ = np.histogram(values, edges)
    with svg.style():
        figure = Figure(figsize=(SIDE, 2.4))
        axes = figure.add_axes((0.12, 0.165, 0.87, 0.73))
        handles = [Patch(color=svg.REST, label=f"images exchanged ({count(values.size)})")]
        if np.isfinite(example.tail_from):
            axes.axvspan(example.tail_from, high + margin, color=svg.ACCENT, alpha=0.13, linewidth=0)
            handles.append(Patch(facecolor=(svg.ACCENT, 0.13), label=f"fitted tail, from {example.tail_from:.3f}"))
        axes.stairs(heights, edges, fill=True, color=svg.REST)
        axes.axvline(example.observed, color=svg.ACCENT, linewidth=1.6)
        beyond = example.observed > (low + high) / 2
        axes.annotate(
            f"r = {correlation(example.observed)}", (example.observed, 0.97), (-4 if beyond else 4, 0),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha="right" if beyond else "left",
            va="top", color=svg.ACCENT, weight="bold",
        )  # fmt: skip
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(0.0, 1.08 * heights.max())
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        label(axes, "correlation of the two units", "draws per bin")
        _legend(figure, handles)
        plot = svg.text(figure, f"Null distribution of {example.label}")
    return Picture(plot, f"{example.label}: r = {correlation(example.observed)}, p = {in_words(example.p_value)}.")


def p_values(matches: Matches, q: float) -> Picture:
    """The p values of the matches on a logarithmic axis, split by whether their q value is small enough."""
    p, control, passes = matches["p_value"], matches["control"], matches["q_value"] <= q
    here = np.isfinite(p) & np.isfinite(matches["q_value"])
    gone = missing(len(here) - int(here.sum()), "no p or no q value")
    if not here.any():
        return Picture("", f"There is no p value to draw.{gone}")
    powers = np.maximum(np.log10(np.clip(p, 10.0**_SMALLEST, 1.0)), _SMALLEST)
    lowest = min(-2, int(np.floor(powers[here].min())))
    edges = np.linspace(lowest, 0, 2 * -lowest + 1)
    groups = here & ~control & passes, here & ~control & ~passes, here & control
    kept, rest, controls = (np.histogram(powers[group], edges)[0] for group in groups)
    kept_count, rest_count, control_count = (int(group.sum()) for group in groups)
    with svg.style():
        figure = Figure(figsize=(SIDE, 2.5))
        axes = figure.add_axes((0.12, 0.155, 0.87, 0.67))
        axes.stairs(kept, edges, fill=True, color=svg.ACCENT, alpha=0.7)
        axes.stairs(kept + rest, edges, baseline=kept, fill=True, color=svg.REST)
        shown = np.where(controls > 0, controls, np.nan)
        axes.stairs(shown, edges, color=svg.CONTROL, linewidth=1.2, linestyle=_DASHED)
        axes.set_xlim(lowest, 0)
        axes.set_ylim(0.0, 1.08 * max(1, int((kept + rest).max()), int(controls.max())))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{'≤ ' if value == _SMALLEST else ''}{ten_to(round(value))}")
        )
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        label(axes, "p value (log scale)", "matches per bin")
        handles = [
            Patch(color=svg.ACCENT, alpha=0.7, label=f"q ≤ {knob(q)} ({count(kept_count)})"),
            Patch(color=svg.REST, label=f"q above ({count(rest_count)})"),
        ]
        if control_count:
            text = f"controls ({count(control_count)})"
            handles.append(Patch(facecolor="none", edgecolor=svg.CONTROL, linestyle=_DASHED, label=text))
        _legend(figure, handles)
        plot = svg.text(figure, "Histogram of p values")
    return Picture(
        plot,
        f"{counted(kept_count + rest_count, 'match', 'matches')} with trained models, {count(kept_count)} with "
        f"q ≤ {knob(q)}; {count(control_count)} with controls, {count(int((here & control & passes).sum()))} with "
        f"q ≤ {knob(q)}.{gone}",
    )


def _legend(figure: Figure, handles: Sequence[Patch]) -> None:
    figure.legend(
        handles=handles, loc="upper left", ncols=2, bbox_to_anchor=(0.11, 1.0), borderaxespad=0.1,
        handlelength=1.2, columnspacing=1.6, fontsize=7.5,
    )  # fmt: skip
