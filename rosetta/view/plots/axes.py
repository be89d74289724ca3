"""Plots of a run on matplotlib axes, for notebooks and for print.

Colours are those of Okabe and Ito, which readers with any colour vision tell apart, and lines differ in their stroke as
well, so that they are told apart in grey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.ticker import MaxNLocator

from rosetta.view.numbers import correlation
from rosetta.view.plots.labels import finite, short
from rosetta.view.plots.overview import BIN

Values = npt.NDArray[np.floating]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Wong, Nature Methods 8, 441 (2011), without the yellow, which is too light for a line on white."""
_STROKES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5, 1.2)), (0, (6, 1.2, 1, 1.2)), (0, (8, 2)))
_CONTROL = (0, (1, 1.2))
_GREY = "#767676"
_TICKS = 24
"""Layers that an axis names; of more, every so many."""


def literal(name: str, longest: int = 30) -> str:
    """A name that matplotlib shows as it is: one line, not too long, and no formula."""
    return short(name, longest).replace("$", r"\$")


@dataclass(frozen=True)
class Style:
    """How one model's line looks."""

    colour: str
    stroke: str | tuple[int, tuple[float, ...]]


def styles(models: Sequence[str], controls: Sequence[str]) -> dict[str, Style]:
    """A colour and a stroke for each model; controls are dotted and grey."""
    found, colours = {}, cycle(OKABE_ITO)
    shades = cycle((_GREY, "#B0B0B0"))
    strokes = cycle(_STROKES)
    for name in models:
        control = name in controls
        found[name] = Style(next(shades), _CONTROL) if control else Style(next(colours), next(strokes))
    return found


def draw_correlations(
    axes: Axes, best: Mapping[str, Values], buddies: Mapping[str, Values], controls: Sequence[str], anchor: str
) -> Axes:
    """Histograms of the best correlation of each unit of the anchor in each model, as shares of the units.

    Parameters
    ----------
    best
        Model → (unit of the anchor,) its highest correlation with any unit of the model; NaN where it has none.
    buddies
        Model → (buddy,) correlations, of those models whose buddies are to be drawn beside, filled.
    controls
        The models that are controls.
    """
    values = [finite(array) for array in (*best.values(), *buddies.values())]
    lowest = min((float(array.min()) for array in values if array.size), default=0.0)
    edges = BIN * np.arange(np.floor(min(lowest, 0.0) / BIN), round(1 / BIN) + 1)
    looks = styles(list(best), controls)
    for name, array in best.items():
        held, look = finite(array), looks[name]
        counts, _ = np.histogram(np.clip(held, edges[0], 1.0), edges)
        told = f"{literal(name)}{' (control)' if name in controls else ''}"
        told += f", median {correlation(float(np.median(held)))}" if held.size else ", no correlation"
        if name in buddies:
            matched = finite(buddies[name])
            among, _ = np.histogram(np.clip(matched, edges[0], 1.0), edges)
            axes.stairs(
                100 * among / max(held.size, 1), edges, fill=True, color=look.colour, alpha=0.25,
                label=f"buddies of {literal(name)}: {matched.size:,}",
            )  # fmt: skip
        axes.stairs(
            100 * counts / max(held.size, 1), edges, color=look.colour, linestyle=look.stroke, linewidth=1.6, label=told
        )
    axes.set_xlabel(f"best Pearson correlation of a unit of {literal(anchor)}")
    axes.set_ylabel(f"units of {literal(anchor)} per {BIN:g} of correlation (%)")
    shown = max((float(array.max()) for array in values if array.size), default=1.0)
    axes.set_xlim(edges[0], min(1.0, BIN * np.ceil(shown / BIN + 1)))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return _open(axes)


def draw_layers(
    axes: Axes, counts: npt.NDArray[np.integer], rows: Sequence[str], columns: Sequence[str], anchor: str, model: str
) -> Axes:
    """A heat map of buddies by layer.

    Parameters
    ----------
    counts
        (anchor layer, model layer), the buddies between the two.
    rows, columns
        Names of the layers, in forward order.
    """
    most = max(int(counts.max(initial=0)), 1)
    # A square root lifts small counts off the ground.
    norm = PowerNorm(0.5, vmin=0, vmax=most)
    axes.imshow(counts, norm=norm, cmap="Blues", aspect="auto", interpolation="none")
    if counts.size <= 400:
        for (row, column), held in np.ndenumerate(counts):
            shade = "white" if norm(held) > 0.6 else "black"
            told = f"{int(held):,}" if held else "·"
            axes.text(column, row, told, ha="center", va="center", color=shade, size="small")
    # A step of 0 would be none at all.
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        places = range(0, len(names), -(-len(names) // _TICKS) or 1)
        axis.set_ticks(list(places), [literal(names[place], 20) for place in places])
    if sum(len(short(name, 20)) for name in columns) > 40:
        for tick in axes.get_xticklabels():
            tick.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel(f"layer of {literal(model)}, first to last")
    axes.set_ylabel(f"layer of {literal(anchor)}, first to last")
    axes.set_title(f"{int(counts.sum()):,} buddies", loc="left", size="medium")
    bar = axes.figure.colorbar(ScalarMappable(norm, "Blues"), ax=axes, label="buddies", pad=0.02)
    bar.locator = MaxNLocator(5, integer=True)
    bar.update_ticks()
    return axes


def draw_depth(
    axes: Axes, best: Mapping[str, Sequence[Values]], layers: Mapping[str, Sequence[str]], controls: Sequence[str],
    anchor: str,
) -> Axes:  # fmt: skip
    """The best correlation of each unit with any of the anchor's, over the depth of its layer.

    Medians as lines; of a single model the tenth to the ninetieth percentile as a band, and its layers by name.

    Parameters
    ----------
    best
        Model → per layer, in forward order, (unit,) the highest correlation with any unit of the anchor.
    layers
        Model → names of these layers.
    """
    alone = len([name for name in best if name not in controls]) <= 1
    looks = styles(list(best), controls)
    for name, parts in best.items():
        look, held = looks[name], [finite(part) for part in parts]
        median = np.array([np.median(part) if part.size else np.nan for part in held])
        depth = np.linspace(0, 1, len(parts)) if len(parts) > 1 else np.full(len(parts), 0.5)
        label = f"{literal(name)} (control)" if name in controls else literal(name)
        if alone and name not in controls:
            low, high = (
                np.array([np.percentile(part, share) if part.size else np.nan for part in held]) for share in (10, 90)
            )
            told = "tenth to ninetieth percentile"
            axes.fill_between(depth, low, high, color=look.colour, alpha=0.2, linewidth=0, label=told)
            label = f"{label}, median"
            step = -(-len(parts) // _TICKS) or 1
            axes.set_xticks(depth[::step], [literal(layer, 20) for layer in layers[name][::step]])
            if sum(len(short(layer, 20)) for layer in layers[name][::step]) > 60:
                for tick in axes.get_xticklabels():
                    tick.set(rotation=45, ha="right", rotation_mode="anchor")
        axes.plot(depth, median, color=look.colour, linestyle=look.stroke, marker="o", markersize=4, label=label)
    asked = [name for name in best if name not in controls]
    axes.set_xlabel(
        f"layer of {literal(asked[0])}, first to last" if alone and asked else "depth of the layer (0 first, 1 last)"
    )
    axes.set_ylabel(f"{'' if alone else 'median '}best Pearson r with a unit of {literal(anchor)}")
    axes.legend(frameon=False, fontsize="small")
    return _open(axes)


def draw_clusters(axes: Axes, sizes: npt.NDArray[np.integer], trusted: npt.NDArray[np.integer] | None) -> Axes:
    """How many concepts there are of which size, sizes in octaves.

    Parameters
    ----------
    sizes
        (concept,) Rosetta neurons.
    trusted
        (concept,) how many of them are trusted, or None where nothing was judged.
    """
    octave = np.floor(np.log2(np.maximum(sizes, 1))).astype(int)
    most = int(octave.max(initial=0))
    bars = [(np.ones(len(sizes), dtype=bool), "no neuron trusted", "#BBBBBB", "")]
    if trusted is not None:
        some = trusted > 0
        bars = [(some & (trusted == sizes), "all neurons trusted", OKABE_ITO[0], ""),
                (some & (trusted < sizes), "some trusted", OKABE_ITO[4], "//"),
                (~some, "none trusted", "#BBBBBB", "")]  # fmt: skip
    below = np.zeros(most + 1)
    for chosen, label, colour, hatch in bars:
        counts = np.bincount(octave[chosen], minlength=most + 1)
        axes.bar(range(most + 1), counts, bottom=below, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5,
                 label=label if trusted is not None else "concepts")  # fmt: skip
        below += counts
    for place, count in enumerate(below):
        axes.text(place, count, f"{int(count):,}", ha="center", va="bottom", size="small")
    axes.margins(y=0.1)
    names = [f"{2**power}" if power == 0 else f"{2**power} to {2 ** (power + 1) - 1}" for power in range(most + 1)]
    axes.set_xticks(range(most + 1), names)
    axes.set_xlabel("size of a concept (Rosetta neurons)")
    axes.set_ylabel("concepts (count)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize="small")
    return _open(axes)


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
        axes.plot(ends, b.mean() + slope * (ends - a.mean()), color=OKABE_ITO[1], linewidth=1.6,
                  label=f"least squares, r {correlation(pearson)}")  # fmt: skip
        room = 0.04 * float(np.ptp(b))
        axes.set_ylim(b.min() - room, b.max() + 3 * room)
        axes.legend(frameon=True, framealpha=0.9, fontsize="small", loc="upper left")
    axes.set_xlabel(f"{literal(names[0], 50)}, activation (arbitrary units)")
    axes.set_ylabel(f"{literal(names[1], 50)}, activation (arbitrary units)")
    axes.figure.colorbar(drawn, ax=axes, label="positions (count)", pad=0.02)
    return _open(axes)


def _open(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes
