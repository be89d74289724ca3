"""How alike the anchor each model's layers are, from its first to its last."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rosetta.view.plots import svg
from rosetta.view.plots.labels import finite, literal
from rosetta.view.plots.panels import inches, name_ticks, panels, points, tidy

_ACROSS = 3
"""Panels side by side."""
_WIDE, _HIGH = 2.4, 1.65
"""Inches that a panel takes on the page, with the room beside it and the title above."""
_QUANTILES = (0.25, 0.5, 0.75, 1.0)
_BAND = 0.22
"""Opacity of the middle half."""


def _panel(axes: Axes, title: str, role: str, layers: Sequence[npt.NDArray[np.float64]]) -> None:
    """One model: the middle half of its units as a band, the median as a line, the best as dots."""
    colour, stroke = (svg.CONTROL, (0, (3, 1.5))) if role == "control" else (svg.ACCENT, "solid")
    places = _places(len(layers))
    alive = [place for place, values in enumerate(layers) if values.size]
    if alive:
        low, median, high, best = np.array([np.quantile(layers[place], _QUANTILES) for place in alive]).T
        depth = places[alive]
        axes.fill_between(depth, low, high, color=colour, alpha=_BAND, linewidth=0)
        dot = "o" if len(depth) == 1 else None
        axes.plot(depth, median, color=colour, linewidth=1.5, linestyle=stroke, marker=dot, markersize=3.5)
        axes.plot(depth, best, color=svg.QUIET, linewidth=0, marker=".", markersize=3.5)
    else:
        axes.text(0.5, 0.5, "no correlations", transform=axes.transAxes, ha="center", color=svg.QUIET, size="small")
    axes.set_title(title, loc="left")
    tidy(axes, grid="y")


def _places(layers: int) -> npt.NDArray[np.float64]:
    """(layer,) relative depth: 0 the first, 1 the last; ½ of a single one."""
    return np.linspace(0.0, 1.0, layers) if layers > 1 else np.full(layers, 0.5)


def draw_depth(
    axes: Axes, best: Mapping[str, Sequence[npt.NDArray[np.floating]]], controls: Collection[str], anchor: str,
    layers: Sequence[str] = (),
) -> Axes:  # fmt: skip
    """Each unit's best correlation over the depth of its layer, a panel for each model, on one scale.

    Parameters
    ----------
    axes
        What the panels are drawn within; it keeps the names of the axes and the legend.
    best
        Model → per layer, in forward order, (unit,) its highest correlation with any unit of the anchor; for the
        anchor itself with any unit of another model. NaN where it has none.
    controls
        The models that are controls; in another colour and stroke.
    anchor
        The model that the others are compared with.
    layers
        Of a single model: the names of its layers, written at the axis in place of their depth.
    """
    values = {name: [finite(part) for part in parts] for name, parts in best.items()}
    lowest = min((float(part.min()) for parts in values.values() for part in parts if part.size), default=0.0)
    across = min(_ACROSS, len(values)) or 1
    wide = inches(axes)[0]
    # A bold letter is a hundredth of an inch wide for each point of its size, and a notebook's letters are larger.
    letters = int(wide / across / (0.01 * points(rcParams["axes.titlesize"])))
    for (name, parts), panel in zip(
        values.items(), panels(axes, len(values), across, above=0.2, beside=0.06), strict=True
    ):
        role = "control" if name in controls else "anchor" if name == anchor else ""
        told = f"  ({role})" if role else ""
        _panel(panel, literal(name, max(letters - len(told), 6)) + told, role, parts)
        panel.set_xlim(-0.03, 1.03)
        panel.set_ylim(min(0.0, lowest), 1.0)
        if layers:
            reach = name_ticks(panel.xaxis, _places(len(layers)).tolist(), layers, wide / len(layers), 20)
            axes.xaxis.labelpad = 10.0 + 72.0 * reach
    axes.set_xlabel("layer, first to last" if layers else "depth of the layer: 0 the first, 1 the last")
    axes.set_ylabel("best Pearson correlation")
    handles = [
        Line2D([], [], color=svg.ACCENT, linewidth=1.5, label="median of the layer’s units"),
        Patch(facecolor=svg.ACCENT, alpha=_BAND, label="their middle half"),
        Line2D([], [], color=svg.QUIET, linewidth=0, marker=".", label="the best of them"),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False)
    return axes


def correlation_over_depth(
    best: Mapping[str, Sequence[npt.NDArray[np.floating]]], controls: Collection[str], anchor: str
) -> str:
    """The same for a page: SVG text, see :func:`rosetta.view.plots.svg.text`; empty when there is no model."""
    if not best:
        return ""
    size = _WIDE * min(_ACROSS, len(best)), _HIGH * -(-len(best) // _ACROSS)
    label = f"Best correlation over depth, for {', '.join(best)}"
    return svg.drawn(size, label, lambda axes: draw_depth(axes, best, controls, anchor))
