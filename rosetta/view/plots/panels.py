"""What plots have in common: panels within given axes, and axes with little around the data."""

from collections.abc import Sequence
from typing import Literal

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.font_manager import FontProperties

from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal, short


def panels(axes: Axes, count: int, across: int, above: float, beside: float = 0.0) -> list[Axes]:
    """Axes within given ones, which keep their names alone: rows from the top, each from the left.

    Parameters
    ----------
    across
        Panels to a row.
    above, beside
        What is left free above each and on its right, as shares of a panel's room.
    """
    axes.set(xticks=[], yticks=[])
    axes.set_frame_on(False)
    # The names lie beyond the numbers of the outer panels.
    letter = points(rcParams["xtick.labelsize"])
    axes.xaxis.labelpad, axes.yaxis.labelpad = 6.0 + 1.4 * letter, 6.0 + 2.8 * letter
    down = -(-count // across)
    found = []
    for place in range(count):
        row, column = divmod(place, across)
        corner = column / across, 1.0 - (row + 1) / down
        panel = axes.inset_axes((*corner, (1.0 - beside) / across, (1.0 - above) / down))
        panel.tick_params(labelleft=column == 0, labelbottom=place + across >= count)
        found.append(panel)
    return found


def points(size: float | str) -> float:
    """A size of letters in points, where matplotlib may have it in words."""
    return float(FontProperties(size=size).get_size_in_points())


def tidy(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> Axes:
    """No line without a meaning, and a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.set_axisbelow(True)
        axes.grid(axis=grid, color=svg.FAINT, linewidth=0.5, alpha=0.7)
    return axes


def name_ticks(axis: Axis, places: Sequence[float], names: Sequence[str], room: float, longest: int = 30) -> float:
    """Names at an axis, every so many where all have no room, slanted where neighbours would touch.

    Parameters
    ----------
    places
        Where each stands.
    room
        Inches from one to the next.

    Returns
    -------
    float
        Inches that the names reach out from a horizontal axis.
    """
    # A line is 0.15 inches high, a letter 0.06 wide.
    step = max(1, -int(-0.15 // room))
    axis.set_ticks(list(places[::step]), [literal(name, longest) for name in names[::step]])
    widest = 0.06 * max((len(short(name, longest)) for name in names[::step]), default=0)
    if not isinstance(axis, XAxis) or len(names) < 2 or widest < room * step:
        return 0.15
    for label in axis.get_ticklabels():
        label.set(rotation=45, ha="right", va="top", rotation_mode="anchor")
    return 0.15 + 0.7 * widest


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of axes as they are laid out now."""
    box = axes.get_window_extent()
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi
