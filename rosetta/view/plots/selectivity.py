"""The plot of how selective units are: those in Rosetta neurons beside all others, model by model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, short
from rosetta.view.plots.panels import tidy

Measured = Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]
"""Model → (unit,) kurtosis and (unit,) half share."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH, _LEFT, _RIGHT = 5.2, 1.5, 0.95
"""Inches: of the plot, of the models' names, of the medians."""
_ROW, _TITLE, _AXIS = 0.47, 0.3, 0.52
"""Inches: of a model, and what stands above and below the models of a panel."""
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
    axes.set_yticks(range(len(names)), names, size="medium", color=svg.INK, weight="bold")
    axes.tick_params(axis="y", length=0)
    tidy(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.set_title(title, loc="left")
    for x, side, word in ((_MEDIAN, "left", "median"), (_UNITS, "right", "units")):
        axes.text(x, 1.0, word, transform=axes.transAxes, ha=side, va="bottom", size="small", color=svg.QUIET)


def _logarithmic(axes: Axes, values: list[npt.NDArray[np.float64]]) -> None:
    """A logarithmic axis around what is drawn, with plain numbers at it."""
    drawn = [np.quantile(array, (_QUANTILES[0], _QUANTILES[-1])) for array in values if array.size]
    low = 0.9 * min((float(ends[0]) for ends in drawn), default=1.0)
    high = 1.12 * max((float(ends[1]) for ends in drawn), default=10.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    few = _NICE if high / low < 30 else (1, 3) if high / low < 1000 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=few, numticks=99))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,.15g}")


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
    panel = _TITLE + _ROW * len(names) + _AXIS

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        upper, lower = (axes.inset_axes((0.0, bottom, 1.0, 0.5 * (1.0 - (_TITLE + _AXIS) / panel)))
                        for bottom in (0.5 + 0.5 * _AXIS / panel, 0.5 * _AXIS / panel))  # fmt: skip
        _panel(upper, "Kurtosis", "{:.1f}", *kurtosis)
        _logarithmic(upper, [values for group in kurtosis for values in group.values()])
        upper.set_xlabel("kurtosis of the activation (log scale; normal: 3)")
        _panel(lower, "Half share", "{:.1f} %", *share)
        most = max((float(values.max()) for group in share for values in group.values() if values.size), default=50.0)
        lower.set_xlim(0.0, max(most, 2.0) * 1.04)
        lower.xaxis.set_major_formatter("{x:.3g} %")
        lower.set_xlabel("share of images that carries half of the activation")
        handles = [
            Line2D([], [], color=colour, linewidth=5.0, alpha=0.55, label=label)
            for colour, label in ((svg.ACCENT, "units in Rosetta neurons"), (svg.QUIET, "all other units"))
        ]
        axes.legend(handles=handles, loc="lower left", ncols=2, bbox_to_anchor=(-0.5, 1.0))

    size = _WIDTH - _LEFT - _RIGHT, 2 * panel
    return svg.drawn(size, f"Kurtosis and half share of units, for {', '.join(names)}", draw)
