"""The plot of how alike the anchor each model's layers are, from its first to its last."""

from collections.abc import Mapping, Sequence, Set

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, short

_ACROSS = 3
"""Panels side by side."""
_WIDE, _HIGH = 2.3, 1.35
"""Inches of a panel."""
_LEFT, _BOTTOM, _TOP, _BETWEEN, _ABOVE = 0.5, 0.45, 0.3, 0.16, 0.3
"""Inches around the panels, between them, and above each for its title."""
_QUANTILES = (0.25, 0.5, 0.75, 1.0)
_LONGEST = 26
"""Characters of a title."""


def _panel(axes: Axes, name: str, role: str, layers: Sequence[npt.NDArray[np.float64]], colour: str) -> None:
    """One model: the middle half of its units as a band, the median as a line, the best as dots."""
    alive = [(place, values) for place, values in enumerate(layers) if values.size]
    depth = np.array([place / (len(layers) - 1) if len(layers) > 1 else 0.5 for place, _ in alive])
    found = np.array([np.quantile(values, _QUANTILES) for _, values in alive]).reshape(-1, len(_QUANTILES)).T
    if len(depth):
        axes.fill_between(depth, found[0], found[2], color=colour, alpha=0.22, linewidth=0)
        stroke = (0, (3, 1.5)) if role == "control" else "solid"
        dot = "o" if len(depth) == 1 else None
        axes.plot(depth, found[1], color=colour, linewidth=1.5, linestyle=stroke, marker=dot, markersize=3.5)
        axes.plot(depth, found[3], color=svg.QUIET, linewidth=0, marker=".", markersize=3.5)
    else:
        axes.text(0.5, 0.5, "no correlations", transform=axes.transAxes, ha="center", color=svg.QUIET, size=7.5)
    told = f"{short(name, _LONGEST)}  ({role})" if role else short(name, _LONGEST)
    axes.set_title(told, loc="left", size=8.5, weight="bold")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=svg.FAINT, linewidth=0.5, alpha=0.7)
    axes.tick_params(length=2.5, labelsize=7.5)


def correlation_over_depth(
    best: Mapping[str, Sequence[npt.NDArray[np.floating]]], controls: Set[str], anchor: str
) -> str:
    """Each unit's best correlation over the depth of its layer, a panel for each model, on one scale.

    Parameters
    ----------
    best
        Model → per layer, in forward order, (unit,) its highest correlation with any unit of the anchor; for the
        anchor itself with any unit of another model. NaN where it has none.
    controls
        The models that are controls; in another colour.
    anchor
        The model that the others are compared with.

    Returns
    -------
    str
        SVG text, see :func:`rosetta.view.plots.svg.text`; empty when there is no model.
    """
    if not best:
        return ""
    held = {name: [finite(values) for values in layers] for name, layers in best.items()}
    across = min(_ACROSS, len(held))
    down = -(-len(held) // across)
    width = _LEFT + across * _WIDE + (across - 1) * _BETWEEN + 0.1
    height = _TOP + down * (_HIGH + _ABOVE) + _BOTTOM
    lowest = min((float(values.min()) for layers in held.values() for values in layers if values.size), default=0.0)
    with svg.style():
        figure = Figure(figsize=(width, height))
        for place, (name, layers) in enumerate(held.items()):
            row, column = divmod(place, across)
            left = _LEFT + column * (_WIDE + _BETWEEN)
            bottom = height - _TOP - (row + 1) * (_HIGH + _ABOVE)
            axes = figure.add_axes((left / width, bottom / height, _WIDE / width, _HIGH / height))
            role = "control" if name in controls else "anchor" if name == anchor else ""
            _panel(axes, name, role, layers, svg.CONTROL if role == "control" else svg.ACCENT)
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(min(0.0, lowest), 1.0)
            axes.tick_params(labelleft=column == 0, labelbottom=place + across >= len(held))
        figure.supxlabel("depth of the layer: 0 the first, 1 the last", size=8.5, color=svg.QUIET, y=0.012)
        figure.supylabel("best Pearson correlation", size=8.5, color=svg.QUIET, x=0.004)
        handles = [
            Line2D([], [], color=svg.ACCENT, linewidth=1.5, label="median of the layer’s units"),
            Patch(facecolor=svg.ACCENT, alpha=0.22, label="their middle half"),
            Line2D([], [], color=svg.QUIET, linewidth=0, marker=".", label="the best of them"),
        ]
        figure.legend(
            handles=handles, loc="upper left", ncols=3, bbox_to_anchor=(_LEFT / width - 0.01, 1.0), borderaxespad=0.1,
            handlelength=1.4, columnspacing=1.6, fontsize=8.0,
        )  # fmt: skip
        return svg.text(figure, f"Best correlation over depth, for {', '.join(best)}")
