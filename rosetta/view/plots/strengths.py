"""Strengths of the same neurons in two runs, against each other."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal
from rosetta.view.plots.panels import tidy

Values = npt.NDArray[np.floating]
_MANY = 2_000
"""Points beyond which they are one picture within the drawing, and not a path each."""
_SIZE = (4.6, 4.2)
"""Inches."""


def draw_strengths(
    axes: Axes,
    strengths: tuple[Values, Values],
    trusted: npt.NDArray[np.bool_],
    names: tuple[str, str],
) -> Axes:
    """Strengths in two runs, a point each, and the line where both are the same.

    Parameters
    ----------
    strengths
        Of both runs: (neuron,) mean correlation over the models.
    trusted
        (neuron,) whether it is trusted in both runs.
    names
        Of the runs.
    """
    first, second = strengths
    ends = [min(first.min(), second.min()), max(first.max(), second.max())]
    axes.plot(ends, ends, color=svg.REST, linewidth=1.0, zorder=1, label="the same in both")
    for chosen, colour, label in ((~trusted, svg.ACCENT, "neuron"), (trusted, svg.CONTROL, "trusted in both")):
        if chosen.any():
            axes.scatter(first[chosen], second[chosen], s=9, color=(colour, 0.55), linewidths=0, label=label,
                         rasterized=len(first) > _MANY)  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"strength in {literal(names[0], 40)} (mean correlation)")
    axes.set_ylabel(f"strength in {literal(names[1], 40)} (mean correlation)")
    axes.legend(frameon=False, loc="upper left")
    return tidy(axes, grid="both")


def strength_scatter(
    strengths: tuple[Values, Values],
    trusted: npt.NDArray[np.bool_],
    names: tuple[str, str],
) -> str:
    """The same for a page: SVG text, see :func:`rosetta.view.plots.svg.text`."""
    return svg.drawn(
        _SIZE,
        f"Strengths of {len(trusted)} neurons in both runs against each other",
        lambda axes: draw_strengths(axes, strengths, trusted, names),
    )
