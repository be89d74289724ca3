"""The plot of how selective units are: those in Rosetta neurons beside all others, model by model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, short

Measured = Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]
"""Model → (unit,) kurtosis and (unit,) half share."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH, _LEFT, _RIGHT = 5.2, 1.5, 0.95
"""Inches: of the plot, of the models' names, of the medians."""
_ROW, _TITLE, _AXIS, _LEGEND = 0.47, 0.3, 0.52, 0.26
"""Inches: of a model, and what stands above and below the models of a panel, and above them all."""
_MEDIAN, _UNITS = 1.03, 1.0 + 0.95 * _RIGHT / (_WIDTH - _LEFT - _RIGHT)
"""Where the medians start and the numbers of units end, on a scale on which the axis runs from 0 to 1."""
_LONGEST = 20
"""Characters of a model's name."""

_NICE = (1, 2, 3, 5)
"""Multiples of a power of ten that may stand at a logarithmic axis."""


def _bar(axes: Axes, values: npt.NDArray[np.float64], y: float, colour: str, told: str) -> None:
    """One group of units at a height: its quantiles, and its median in words at the right."""
    end = axes.get_yaxis_transform()
    if not values.size:
        axes.text(_MEDIAN, y, "none", transform=end, va="center", size="small", color=svg.QUIET)
        return
    low, quarter, median, three_quarters, high = np.quantile(values, _QUANTILES)
    axes.plot([low, high], [y, y], color=colour, linewidth=1.1, solid_capstyle="butt")
    axes.plot([quarter, three_quarters], [y, y], color=colour, linewidth=5.0, alpha=0.55, solid_capstyle="butt")
    axes.plot([median], [y], color=svg.INK, marker="o", markersize=3.6)
    axes.text(_MEDIAN, y, told.format(median), transform=end, va="center", size="small", color=svg.INK)
    axes.text(_UNITS, y, f"{values.size:,}", transform=end, va="center", ha="right", size="small", color=svg.QUIET)


def _panel(
    axes: Axes, title: str, told: str, rosetta: dict[str, npt.NDArray[np.float64]],
    others: dict[str, npt.NDArray[np.float64]],
) -> None:  # fmt: skip
    """One measure: two bars per model, the first model on top."""
    for place, name in enumerate(rosetta):
        _bar(axes, rosetta[name], place - 0.19, svg.ACCENT, told)
        _bar(axes, others[name], place + 0.19, svg.QUIET, told)
    axes.set_ylim(max(len(rosetta), 1) - 0.5, -0.5)
    names = [short(name, _LONGEST) for name in rosetta]
    axes.set_yticks(range(len(names)), names, size=8.5, color=svg.INK, weight="bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=2.5, labelsize="small")
    axes.spines["left"].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=svg.FAINT, linewidth=0.5, alpha=0.7)
    axes.set_title(title, loc="left", size=8.5, weight="bold", pad=6)
    for x, side, word in ((_MEDIAN, "left", "median"), (_UNITS, "right", "units")):
        axes.text(x, 1.0, word, transform=axes.transAxes, ha=side, va="bottom", size="small", color=svg.QUIET)


def _logarithmic(axes: Axes, values: list[npt.NDArray[np.float64]]) -> None:
    """A logarithmic axis around what is drawn, with plain numbers at it."""
    drawn = [np.quantile(array, (_QUANTILES[0], _QUANTILES[-1])) for array in values if array.size]
    low = 0.9 * min((float(ends[0]) for ends in drawn), default=1.0)
    high = 1.12 * max((float(ends[1]) for ends in drawn), default=10.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    few = _NICE if high / low < 30 else (1, 3) if high / low < 1000 else (1,)
    ticks = [multiple * 10.0**decade for decade in decades for multiple in few]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.15g}"))


def selectivity_plot(rosetta: Measured, others: Measured) -> str:
    """How selective the units of Rosetta neurons are beside all other units.

    Parameters
    ----------
    rosetta
        Model → for its units in Rosetta neurons, (unit,) kurtosis of the activation over images and positions (the
        fourth standardised moment, 3 for a normal distribution) and (unit,) half share, the smallest share of images
        that carries half of the positive activation, in 0…1.
    others
        The same for all other units. A model that is in one of the two only has no units in the other.

    Returns
    -------
    str
        SVG text, see :func:`rosetta.view.plots.svg.text`; empty when there is no model. Per model and group the median,
        the middle half and the 5th to 95th percentile; what is not finite, and a kurtosis that is not positive, is left
        out, and the number of units is of those that are not.
    """
    names = list(dict.fromkeys([*rosetta, *others]))
    if not names:
        return ""
    nothing = (np.empty(0), np.empty(0))
    kurtosis, share = (
        [{name: finite(group.get(name, nothing)[which]) for name in names} for group in (rosetta, others)]
        for which in (0, 1)
    )
    share = [{name: 100.0 * values for name, values in group.items()} for group in share]
    kurtosis = [{name: values[values > 0.0] for name, values in group.items()} for group in kurtosis]
    rows = _ROW * len(names)
    height = _LEGEND + 2 * (_TITLE + rows + _AXIS)
    left, wide = _LEFT / _WIDTH, (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    with svg.style():
        figure = Figure(figsize=(_WIDTH, height))
        upper = figure.add_axes((left, 1.0 - (_LEGEND + _TITLE + rows) / height, wide, rows / height))
        lower = figure.add_axes((left, _AXIS / height, wide, rows / height))
        _panel(upper, "Kurtosis", "{:.1f}", *kurtosis)
        _logarithmic(upper, [values for group in kurtosis for values in group.values()])
        upper.set_xlabel("kurtosis of the activation (log scale; normal: 3)")
        _panel(lower, "Half share", "{:.1f} %", *share)
        most = max((float(values.max()) for group in share for values in group.values() if values.size), default=50.0)
        lower.set_xlim(0.0, max(most, 2.0) * 1.04)
        lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g} %"))
        lower.set_xlabel("share of images that carries half of the activation")
        handles = [
            Line2D([], [], color=colour, linewidth=5.0, alpha=0.55, label=label)
            for colour, label in ((svg.ACCENT, "units in Rosetta neurons"), (svg.QUIET, "all other units"))
        ]
        figure.legend(
            handles=handles, loc="upper left", ncols=2, bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1,
            handlelength=1.4, columnspacing=3.0,
        )  # fmt: skip
        return svg.text(figure, f"Kurtosis and half share of units, for {', '.join(names)}")
