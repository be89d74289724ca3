"""The plot of a guided image: how each term of the loss went, step by step."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rosetta.view.plots import svg
from rosetta.view.plots.panels import panels, tidy

_LONGEST = 30
"""Characters of a name that a panel has room for."""

_ACROSS = 3
"""Panels side by side, at most."""

_WIDTH, _HEIGHT = 2.55, 1.6
"""Inches that a panel takes with its numbers and its name."""

_DASHES: tuple[tuple[float, ...], ...] = ((), (4.0, 1.6), (1.2, 1.4))
_LOOKS = tuple(product(_DASHES, (svg.ACCENT, svg.CONTROL, svg.INK, svg.QUIET)))
"""Dashes and colour of the first, second … guidance; after every fourth the colours repeat with other dashes."""


def _line(name: str) -> str:
    """A name on one line, cut at the end."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _pen(place: int) -> Line2D:
    """An empty line that looks like the guidance at `place`."""
    dashes, colour = _LOOKS[place % len(_LOOKS)]
    return Line2D([], [], color=colour, linewidth=1.2, linestyle=(0, dashes) if dashes else "solid")


def _panel(axes: Axes, term: str, lines: Mapping[int, npt.NDArray[np.float64]]) -> None:
    """Draw one term: a line per guidance, by the guidance's place."""
    for place, values in lines.items():
        drawn = _pen(place)
        drawn.set_data(np.arange(len(values)), values)
        # A number without neighbours makes no line.
        finite = np.isfinite(values)
        beside = np.concatenate(([False], finite, [False]))
        if np.any(finite & ~beside[:-2] & ~beside[2:]):
            drawn.set(marker="o", markersize=2.5)
        axes.add_line(drawn)
    axes.autoscale_view(scalex=False)
    # All steps, also where a line has gaps at its ends.
    last = max(len(values) for values in lines.values()) - 1
    axes.set_xlim(-max(0.03 * last, 0.3), last + max(0.03 * last, 0.3))
    axes.set_title(_line(term), loc="left")
    axes.set_xlabel("step", labelpad=1.5)
    axes.tick_params(labelleft=True, labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    tidy(axes, grid="y")


def loss_traces(traces: Mapping[str, Mapping[str, npt.NDArray[np.floating]]]) -> str:
    """How the terms of a loss went, a small panel for each, on its own scale.

    Parameters
    ----------
    traces
        Term → guidance → (step,) values. What is not finite leaves a gap; a line without any finite value is left
        out, and so is a term without lines. A guidance looks the same in all panels, and in all plots whose
        guidances come in the same order.

    Returns
    -------
    str
        SVG text, see :func:`rosetta.view.plots.svg.text`; empty when there is nothing to draw.
    """
    labels = dict.fromkeys(label for labelled in traces.values() for label in labelled)
    places = {label: place for place, label in enumerate(labels)}
    terms: dict[str, dict[int, npt.NDArray[np.float64]]] = {}
    for term, labelled in traces.items():
        for label, values in labelled.items():
            flat = np.asarray(values, dtype=np.float64).ravel()
            if np.isfinite(flat).any():
                terms.setdefault(term, {})[places[label]] = np.where(np.isfinite(flat), flat, np.nan)
    if not terms:
        return ""
    shown = [label for label, place in places.items() if any(place in lines for lines in terms.values())]
    down = -(-len(terms) // _ACROSS)
    across = -(-len(terms) // down)
    # Inches; a letter of the legend is set 0.075 wide, its sample of the line and the space around it 0.6.
    beside = int(_WIDTH * across / (0.6 + 0.075 * max(len(_line(label)) for label in shown)))

    def draw(axes: Axes) -> None:
        drawn = panels(axes, len(terms), across, above=0.4, beside=0.18)
        for (term, lines), panel in zip(terms.items(), drawn, strict=True):
            _panel(panel, term, lines)
        if len(shown) > 1:
            legend = axes.legend(
                [_pen(places[label]) for label in shown], [str(place) for place in range(len(shown))],
                loc="lower left", bbox_to_anchor=(0.0, 1.0 - 0.22 / down), ncols=max(beside, 1), fontsize="medium",
            )  # fmt: skip
            # Set afterwards: matplotlib drops a label that starts with an underscore.
            for text, label in zip(legend.get_texts(), shown, strict=True):
                text.set_text(_line(label))

    return svg.drawn((_WIDTH * across, _HEIGHT * down), f"Loss by step: {', '.join(terms)}", draw)
