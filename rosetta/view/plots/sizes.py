"""How large the concepts are."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rosetta.view.numbers import count
from rosetta.view.plots import svg
from rosetta.view.plots.panels import tidy


def draw_sizes(axes: Axes, sizes: npt.NDArray[np.integer], trusted: npt.NDArray[np.integer] | None) -> Axes:
    """How many concepts there are of which size, sizes in octaves.

    Parameters
    ----------
    sizes
        (concept,) Rosetta neurons.
    trusted
        (concept,) how many of them are trusted, or None where nothing was judged.
    """
    octave = np.floor(np.log2(np.maximum(sizes, 1))).astype(int)
    bins = np.arange(int(octave.max(initial=0)) + 1)
    bars = [(sizes > 0, "concepts", svg.REST, 1.0, "")]
    if trusted is not None:
        bars = [(trusted == sizes, "all neurons trusted", svg.ACCENT, 1.0, ""),
                ((trusted > 0) & (trusted < sizes), "some trusted", svg.ACCENT, 0.5, "//"),
                (trusted == 0, "none trusted", svg.REST, 1.0, "")]  # fmt: skip
    below = np.zeros(len(bins))
    for chosen, label, colour, opacity, hatch in bars:
        counts = np.bincount(octave[chosen], minlength=len(bins))
        axes.bar(bins, counts, bottom=below, color=(colour, opacity), hatch=hatch, edgecolor="white", linewidth=0.5,
                 label=label)  # fmt: skip
        below += counts
    for place, total in enumerate(below):
        axes.text(place, total, count(int(total)), ha="center", va="bottom", size="small")
    axes.margins(y=0.1)
    axes.set_xticks(bins, [f"{2**power} to {2 ** (power + 1) - 1}" if power else "1" for power in bins.tolist()])
    axes.set_xlabel("size of a concept (Rosetta neurons)")
    axes.set_ylabel("concepts (count)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return tidy(axes)
