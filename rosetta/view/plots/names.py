"""What the concepts of each layer are called."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal
from rosetta.view.plots.panels import tidy

MOST = 4
"""Names that stand beside a bar, at most."""
_NAME, _ROW, _WIDE = 18, 0.32, 3.2
"""Characters of such a name; inches of a bar and its gap, and of the longest bar."""


def draw_names(axes: Axes, names: Sequence[str | None], layer: npt.NDArray[np.integer], layers: Sequence[str]) -> Axes:
    """A bar for each layer that has concepts: those with a name, those without, and the most frequent names.

    Parameters
    ----------
    names
        (concept,) what each is called; None for one without a name.
    layer
        (concept,) the layer that it lies in.
    layers
        Names of all layers, in forward order.
    """
    shown = np.unique(layer).tolist()
    of_layer = [Counter(name for name, of in zip(names, layer, strict=True) if of == one) for one in shown]
    without = np.array([counts.pop(None, 0) for counts in of_layer])
    named = np.array([counts.total() for counts in of_layer])
    places = np.arange(len(shown))
    axes.barh(places, named, height=0.62, color=svg.ACCENT, label="with a name")
    axes.barh(places, without, left=named, height=0.62, color=svg.REST, label="without")
    for place, counts in enumerate(of_layer):
        listed = [f"{literal(str(name), _NAME)} {count}" for name, count in counts.most_common(MOST)]
        more = [f"{len(counts) - MOST} more"] if len(counts) > MOST else []
        end = (named + without)[place]
        axes.annotate(", ".join(listed + more), (end, place), (5, 0), textcoords="offset points", va="center",
                      size="small", color=svg.INK, annotation_clip=False)  # fmt: skip
    axes.set_yticks(places, [literal(layers[one]) for one in shown])
    axes.invert_yaxis()
    axes.set_xlabel("concepts (count)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.0)
    return tidy(axes)


def named_by_layer(names: Sequence[str | None], layer: npt.NDArray[np.integer], layers: Sequence[str]) -> str:
    """The same for a page: SVG text, see :func:`rosetta.view.plots.svg.text`."""
    size = _WIDE, _ROW * max(2, len(np.unique(layer)))
    return svg.drawn(size, "What concepts are called, by layer", lambda axes: draw_names(axes, names, layer, layers))
