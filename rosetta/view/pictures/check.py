"""What a model makes of one image, as a picture: the image, its likeliest classes, and maps of strong units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rosetta.view.numbers import significant
from rosetta.view.pictures.heatmap import overlay, plain
from rosetta.view.pictures.sheet import DPI, heat_on_white
from rosetta.view.plots import svg
from rosetta.view.plots.labels import literal
from rosetta.zoo.check import Checked, Class, Response

_TILE, _GAP = 1.1, 0.12
"""Inches: of a map's side, and between two."""
_NAME, _CAPTION = 0.3, 0.2
"""Of a layer's name above its maps, and of the line below each map."""
_LEFT, _MARGIN, _HEAD, _FOOT = 2.6, 0.25, 0.62, 0.5
"""Of the image's side, around everything, of the title and of the colour scale."""
_BAR = 0.34
"""Of a class with its bar."""
_LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue: heat is seen on a grey image, whatever its colours."""
_PIXELS = round(_TILE * DPI)


def draw_check(checked: Checked, title: str, subtitle: str, name: str) -> Figure:
    """The whole figure.

    Parameters
    ----------
    title
        The model.
    subtitle
        A line below it: the weights, and how many of their tensors were used.
    name
        What the image is called.
    """
    rows = checked.layers
    columns = max(map(len, rows))
    row = _NAME + _TILE + _CAPTION
    width = 3 * _MARGIN + _LEFT + columns * (_TILE + _GAP) - _GAP
    bars = 0.6 + _BAR * len(checked.classes or ())
    height = _HEAD + max(row * len(rows), _LEFT + bars) + _FOOT
    with svg.style():
        figure = Figure(figsize=(width, height), dpi=DPI)

        def axes(left: float, top: float, wide: float, high: float) -> Axes:
            return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))

        def text(left: float, top: float, words: str, **style: Any) -> None:
            figure.text(left / width, 1 - top / height, words, va="top", **style)

        text(_MARGIN, 0.14, literal(title, 70), fontsize=11, fontweight="bold", color=svg.INK)
        text(_MARGIN, 0.36, literal(subtitle, 120), fontsize=7.5, color=svg.QUIET)
        _picture(axes(_MARGIN, _HEAD, _LEFT, _LEFT), plain(checked.image, round(_LEFT * DPI)))
        text(_MARGIN, _HEAD + _LEFT + 0.05, literal(name, 48), fontsize=7.5, color=svg.QUIET)
        _show_classes(axes(_MARGIN, _HEAD + _LEFT + 0.35, _LEFT, bars - 0.35), checked.classes)
        start = 2 * _MARGIN + _LEFT
        for place, responses in enumerate(rows):
            top = _HEAD + row * place
            grid = responses[0].map.shape
            text(start, top, literal(responses[0].layer, 60), fontsize=8, fontweight="bold", color=svg.INK)
            text(width - _MARGIN, top, f"{grid[0]} × {grid[1]}", fontsize=7.5, color=svg.QUIET, ha="right")
            for column, response in enumerate(responses):
                left = start + column * (_TILE + _GAP)
                _picture(axes(left, top + 0.17, _TILE, _TILE), _tile(checked, response))
                words = f"unit {response.channel}, peak {significant(response.peak)}"
                text(left, top + 0.17 + _TILE + 0.04, words, fontsize=6.5, color=svg.QUIET)
        _scale(axes(start, height - _FOOT + 0.1, 2.6, 0.09))
    return figure


def _tile(checked: Checked, response: Response) -> np.ndarray:
    grey = np.repeat((checked.image @ _LUMINANCE)[..., None], 3, axis=2)
    return overlay(grey, response.map, float(response.map.mean()), response.high, _PIXELS)


def _picture(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _show_classes(axes: Axes, classes: Sequence[Class] | None) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(max(len(classes or ()), 1) * _BAR + 0.25, 0))
    if not classes:
        why = "" if classes is None else "No classes: the weights hold no classifier."
        axes.text(0, 0.08, why, fontsize=8, va="top", color=svg.QUIET)
        return
    axes.text(0, 0, "Likeliest classes", fontsize=8.5, fontweight="bold", va="top", color=svg.INK)
    for place, one in enumerate(classes):
        top = 0.25 + place * _BAR
        name = one.name or f"class {one.index}"
        axes.text(0, top + 0.12, literal(name, 34), fontsize=8, va="center", color=svg.INK)
        axes.text(1, top + 0.12, f"{one.probability:.1%}", fontsize=8, va="center", ha="right", color=svg.INK)
        axes.barh(top + 0.25, 1, 0.05, color=svg.FAINT)
        axes.barh(top + 0.25, one.probability, 0.05, color=svg.ACCENT)


def _scale(axes: Axes) -> None:
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=heat_on_white(), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(yticks=[])
    axes.spines[:].set_linewidth(0.4)
    axes.set_xticks([0, 1], ["mean of the map", "mean of its strongest 1 %"], fontsize=7)
    axes.tick_params(length=2, pad=2)
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
