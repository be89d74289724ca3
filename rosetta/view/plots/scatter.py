"""Two units' values, position by position."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from rosetta.view.numbers import correlation
from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal
from rosetta.view.plots.panels import tidy

Values = npt.NDArray[np.floating]


def draw_scatter(axes: Axes, x: Values, y: Values, names: tuple[str, str]) -> Axes:
    """Two units' map values against each other, position by position, as a density.

    Parameters
    ----------
    x, y
        (image, y, x) maps of both on one grid.
    names
        Of the two units.
    """
    a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    whole = np.isfinite(a) & np.isfinite(b)
    a, b = a[whole], b[whole]
    drawn = axes.hexbin(a, b, gridsize=60, cmap="viridis", norm=LogNorm(vmin=1), mincnt=1, linewidths=0.1)
    if a.std() > 0 and b.std() > 0:
        pearson = float(np.corrcoef(a, b)[0, 1])
        slope, ends = pearson * b.std() / a.std(), np.array([a.min(), a.max()])
        axes.plot(ends, b.mean() + slope * (ends - a.mean()), color=svg.CONTROL, linewidth=1.6,
                  label=f"least squares, r {correlation(pearson)}")  # fmt: skip
        room = 0.04 * float(np.ptp(b))
        axes.set_ylim(b.min() - room, b.max() + 3 * room)
        axes.legend(frameon=True, framealpha=0.9, fontsize="small", loc="upper left")
    axes.set_xlabel(f"{literal(names[0], 50)}, activation (arbitrary units)")
    axes.set_ylabel(f"{literal(names[1], 50)}, activation (arbitrary units)")
    axes.figure.colorbar(drawn, ax=axes, label="positions (count)", pad=0.02)
    return tidy(axes)
