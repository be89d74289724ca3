"""Models as wholes on the page about trust: how alike their layers are, and fair counts of what they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from rosetta.mining.shape.power_law import PowerLaw, over_models, over_units
from rosetta.view.numbers import count, counted
from rosetta.view.plots import svg
from rosetta.view.plots.labels import short
from rosetta.view.plots.panels import name_ticks
from rosetta.view.trust.contents import TrustStory
from rosetta.view.trust.plots import SIDE, Picture, label

_NUMBERED = 300
"""Cells of a panel that have their numbers written into them, at most."""
_CELL, _SMALL, _LOW = (0.4, 0.27), 0.1, 0.03
"""Inches of a cell with a number, wide and high; of the side of one without, and of its least side."""
_WIDEST = 3.6
"""Inches of a panel, at most."""
_NARROWEST = 1.0
"""The same, at least: its title stands above it."""
_DEEPEST = 0.62
"""Opacity of a full cell; it stays light enough for the page's ink."""
_LAYER = 22
"""Characters of a layer's name."""
_DASHES: tuple[Literal["-"] | tuple[float, Sequence[float]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (8, 3)),
)

Float64 = npt.NDArray[np.float64]


def layers(story: TrustStory) -> list[Picture]:
    """Of each model, layer by layer with the anchor's, CKA and RSA less their nulls."""
    frame = story.whole.layers
    if frame is None:
        return [Picture("", story.why_not("layers"))]
    names = [name for name in story.whole.sizes if (frame["model_b"] == name).any()]
    pictures = [_layers_with(story, name, frame[frame["model_b"] == name]) for name in names]
    return pictures or [Picture("", "There is no other model to compare layers with.")]


def _layers_with(story: TrustStory, model: str, frame: pd.DataFrame) -> Picture:
    rows, columns = ([*story.whole.layer_names.get(name, ())] for name in (story.anchor, model))
    rows, columns = rows or [*frame["layer_a"].unique()], columns or [*frame["layer_b"].unique()]
    values = {
        title: _matrix(frame, name, rows, columns) - _matrix(frame, f"{name}_null", rows, columns)
        for title, name in (("CKA less null", "cka"), ("RSA less null", "rsa"))
    }
    numbered = len(rows) * len(columns) <= _NUMBERED and len(columns) * _CELL[0] <= _WIDEST
    cell = _CELL if numbered else (min(_SMALL, _WIDEST / len(columns)), max(_LOW, min(_SMALL, _WIDEST / len(rows))))
    cell = max(cell[0], _NARROWEST / len(columns)), cell[1]
    wide, high = len(columns) * cell[0], len(rows) * cell[1]
    gap = 0.25 / wide
    title = f"CKA and RSA less their nulls, layers of {story.anchor} and of {model}"

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        share = 1.0 / (2.0 + gap)
        for place, (name, panel) in enumerate(values.items()):
            inner = axes.inset_axes((place * (1.0 + gap) * share, 0.0, share, 1.0))
            _panel(inner, panel, numbered)
            inner.set_title(name, loc="left")
            name_ticks(inner.xaxis, range(len(columns)), columns, cell[0], _LAYER)
            name_ticks(inner.yaxis, range(len(rows)), rows if place == 0 else [""] * len(rows), cell[1], _LAYER)
            inner.tick_params(length=0, pad=3)
            inner.spines[:].set_visible(False)

    plot = svg.drawn(((2.0 + gap) * wide, high), title, draw)
    note = f"{short(model, 40)}: " + " ".join(
        f"{name.partition(' ')[0]} is highest, {_best(panel, rows, columns)}" + ("," if place == 0 else ".")
        for place, (name, panel) in enumerate(values.items())
    )
    return Picture(plot, note)


def _best(values: Float64, rows: list[str], columns: list[str]) -> str:
    if not np.isfinite(values).any():
        return "– (none could be had)"
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return f"{values[row, column]:.2f}, between {short(rows[row], _LAYER)} and {short(columns[column], _LAYER)}"


def _matrix(frame: pd.DataFrame, name: str, rows: list[str], columns: list[str]) -> Float64:
    table = frame.pivot_table(index="layer_a", columns="layer_b", values=name, aggfunc="first", dropna=False)
    return table.reindex(index=rows, columns=columns).to_numpy(np.float64)


def _panel(axes: Axes, values: Float64, numbered: bool) -> None:
    """Cells as deep as their values in 0…1; what lies below 0 is blank, and what is not known is grey."""
    down, across = values.shape
    shades = _DEEPEST * np.clip(np.nan_to_num(values), 0.0, 1.0)
    if numbered:
        for (row, column), value in np.ndenumerate(values):
            known = bool(np.isfinite(value))
            colour, alpha = (svg.ACCENT, float(shades[row, column])) if known else (svg.FAINT, 0.5)
            axes.add_patch(
                Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, linewidth=0, facecolor=colour, alpha=alpha)
            )
            text = f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−").replace("0.", ".") if known else "–"
            axes.text(column, row, text, ha="center", va="center", size=7, color=svg.INK if value > 0.1 else svg.QUIET)
    else:
        # A picture cannot take the theme's accent; this blue is seen on light and dark alike.
        blue = np.broadcast_to(to_rgb("#2e87b8"), (*shades.shape, 3))
        axes.imshow(np.dstack([blue, shades / _DEEPEST]), aspect="auto", interpolation="none")
        axes.set_facecolor((0.5, 0.5, 0.5, 0.08))
    axes.set_xlim(-0.5, across - 0.5)
    axes.set_ylim(down - 0.5, -0.5)


@dataclass(frozen=True)
class Curve:
    """How the buddies of a model grow with the units drawn."""

    model: str
    control: bool
    units: Float64
    """(size,) units drawn, rising."""
    mean: Float64
    """(size,) buddies, over draws."""
    low: Float64
    high: Float64
    """(size,) fewest and most."""
    law: PowerLaw | None

    @property
    def exponent(self) -> str:
        """With its interval: ``0.83 (0.80–0.86)``."""
        return exponent(self.law)


def exponent(law: PowerLaw | None) -> str:
    """The exponent of a power law with its interval; a dash where there is none."""
    return "–" if law is None else f"{law.exponent:.2f} ({law.low:.2f}–{law.high:.2f})".replace("-", "−")


def curves(story: TrustStory) -> list[Curve]:
    """Of every model that was drawn from, in the order of the run."""
    frame = story.whole.rarefaction
    if frame is None:
        return []
    found = []
    for name, size in story.whole.sizes.items():
        rows = frame[frame["model_b"] == name]
        if len(rows):
            of_size = rows.groupby("units")["buddies"]
            mean, low, high = (of_size.agg(how).to_numpy(np.float64) for how in ("mean", "min", "max"))
            units = np.array(sorted(rows["units"].unique()), dtype=np.float64)
            found.append(Curve(name, size.control, units, mean, low, high, over_units(rows)))
    return found


def over_sizes(story: TrustStory) -> PowerLaw | None:
    """How the buddies of a model that is no control grow with its units."""
    trained = [size for size in story.whole.sizes.values() if not size.control]
    return over_models([size.units for size in trained], [size.buddies for size in trained])


def rarefaction(story: TrustStory) -> Picture:
    """Buddies among equally many units of the anchor and of each model."""
    if story.whole.rarefaction is None:
        return Picture("", story.why_not("rarefaction"))
    found = curves(story)
    if not any((curve.mean > 0).any() for curve in found):
        return Picture("", "Among the units that were drawn there are no buddies.")
    rows = -(-len(found) // 2)
    above, high = 0.06 + 0.16 * rows, 2.75
    with svg.style():
        figure = Figure(figsize=(SIDE, high + above))
        axes = figure.add_axes((0.12, 0.42 / (high + above), 0.87, (high - 0.46) / (high + above)))
        handles = []
        for place, curve in enumerate(found):
            colour = svg.CONTROL if curve.control else svg.ACCENT
            known = curve.mean > 0
            dash = _DASHES[place % len(_DASHES)]
            axes.fill_between(curve.units[known], np.maximum(curve.low[known], 0.5), curve.high[known], color=colour,
                              alpha=0.13, linewidth=0)  # fmt: skip
            axes.plot(curve.units[known], curve.mean[known], color=colour, linestyle=dash, linewidth=1.5, marker="o",
                      markersize=2.5)  # fmt: skip
            text = f"{short(curve.model, 18)}, {curve.exponent}"
            handles.append(Line2D([], [], color=colour, linestyle=dash, label=text))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter("{x:,.15g}")
        axes.yaxis.set_major_formatter("{x:,.15g}")
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        label(axes, "units drawn of each model (log scale)", "buddies (log scale)")
        figure.legend(
            handles=handles, loc="upper left", ncols=2, bbox_to_anchor=(0.02, 1.0), borderaxespad=0.1,
            handlelength=2.2, columnspacing=1.2, fontsize=7.5,
        )  # fmt: skip
        plot = svg.text(figure, f"Buddies over units drawn, for {', '.join(curve.model for curve in found)}")
    return Picture(
        plot, "Mean over the draws, fewest to most shaded; beside each name the exponent and its 95 % interval."
    )


def fair_sentence(story: TrustStory) -> str:
    """How counts grow with the size of models, in a sentence; empty with too few models."""
    law = over_sizes(story)
    if law is None:
        return ""
    trained = sum(not size.control for size in story.whole.sizes.values())
    return (
        f"Over the {counted(trained, 'trained model', 'trained models')} of this run, buddies grow as the number of "
        f"units to the power of {exponent(law)}."
    )


def most_drawn(curve: Curve) -> str:
    """Units of the largest draws."""
    return count(int(curve.units[-1]))
