"""Figures in print: heat where the map is high, at the resolution of print, with names as they are."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rosetta.view.pictures.heatmap import overlay
from rosetta.view.pictures.sheet import DPI, Heading, Sheet, encode, print_sheet, tile_pixels
from rosetta.view.plots import svg
from rosetta.view.plots.correlations import draw_correlations
from rosetta.view.plots.depth import draw_depth
from rosetta.view.plots.labels import literal
from rosetta.view.plots.layers import draw_layers
from rosetta.view.plots.scatter import draw_scatter
from rosetta.view.plots.sizes import draw_sizes

NAMES = ["$\\frac{", "a" * 300, "日本 🌊"]
RANDOM = np.random.default_rng(0)


def tile(y: int, x: int, size: int) -> np.ndarray:
    """A black image with a spot of heat on one of 4 × 4 positions."""
    activation = np.zeros((4, 4))
    activation[y, x] = 1
    return overlay(np.zeros((8, 8, 3), dtype=np.uint8), activation, 0.0, 1.0, size)


def sheet(rows: int, columns: int) -> Sheet:
    size = tile_pixels(columns)
    tiles = np.stack([np.stack([tile(row, column, size) for column in range(columns)]) for row in range(rows)])
    return Sheet(tiles, tuple(map(str, range(rows))), tuple(Heading(NAMES[i % 3]) for i in range(columns)), "image")


def test_heat_lies_where_the_map_is_high_in_print():
    file = Image.open(io.BytesIO(encode(print_sheet(sheet(3, 4), "A caption."), "png")))
    assert file.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
    picture = np.asarray(file.convert("L")).astype(int)
    size = tile_pixels(4)
    # The dark tiles are all there is of black areas: their grid is found by itself.
    dark = picture < 60
    rows, columns = (np.flatnonzero(dark.mean(axis=axis) > 0.3) for axis in (1, 0))
    assert columns[-1] - columns[0] + 1 == pytest.approx(4 * size * 1.04 - 0.04 * size, abs=size / 20)
    for row in range(3):
        for column in range(4):
            top, left = (round(start[0] + place * size * 1.04) for start, place in ((rows, row), (columns, column)))
            part = picture[top + 4 : top + size - 4, left + 4 : left + size - 4]
            y, x = np.unravel_index(part.argmax(), part.shape)
            assert (4 * y // part.shape[0], 4 * x // part.shape[1]) == (row, column)


def test_the_same_figure_gives_the_same_bytes():
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        once, again = (encode(print_sheet(sheet(2, 3), "$x$ & <b>"), kind) for _ in range(2))
        assert once.startswith(start)
        assert once == again


def test_an_image_may_stand_beside():
    alone = np.full((50, 50, 3), 200, dtype=np.uint8)
    wide = print_sheet(sheet(3, 2), "A caption.", alone, "image 7").get_size_inches()[0]
    assert wide > print_sheet(sheet(3, 2), "A caption.").get_size_inches()[0]


def test_controls_differ_in_colour_and_stroke():
    best = {name: RANDOM.uniform(0, 1, 50) for name in "abu"}
    axes = Figure().subplots()
    draw_depth(axes, {name: [values, values] for name, values in best.items()}, ["u"], "g")
    medians = [panel.get_lines()[0] for panel in axes.child_axes]
    assert [line.get_color() for line in medians] == [svg.ACCENT, svg.ACCENT, svg.CONTROL]
    assert [line.get_linestyle() for line in medians] == ["-", "-", "--"]
    axes = Figure().subplots()
    draw_correlations(axes, best, best, ["a"], "g")
    # A control comes last.
    assert [panel.texts[0].get_text() for panel in axes.child_axes] == ["b", "u", "a  (control)"]
    outlines = [panel.patches[2] for panel in axes.child_axes]
    assert len({outline.get_linestyle() for outline in outlines[:2]}) == 1
    assert outlines[2].get_linestyle() != outlines[0].get_linestyle()
    assert outlines[2].get_edgecolor() != outlines[0].get_edgecolor()


def test_a_model_alone_names_its_layers():
    axes = draw_depth(Figure().subplots(), {"a": [RANDOM.uniform(size=9)] * 3}, [], "g", ["one", "two", "$three"])
    (panel,) = axes.child_axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["one", "two", r"\$three"]


def test_any_name_is_drawn_as_it_is():
    assert literal("$x$") == r"\$x\$"
    best = {name: RANDOM.uniform(-0.2, 1, 50) for name in NAMES}
    parts = {name: [RANDOM.uniform(size=9), np.array([np.nan])] for name in NAMES}
    for draw in (
        lambda axes: draw_correlations(axes, best, {NAMES[0]: best[NAMES[0]][:9]}, NAMES[2:], NAMES[1]),
        lambda axes: draw_layers(axes, RANDOM.integers(0, 9, (3, 2)), NAMES, NAMES[:2], *NAMES[:2]),
        lambda axes: draw_depth(axes, parts, NAMES[2:], NAMES[0]),
        lambda axes: draw_depth(axes, {NAMES[1]: parts[NAMES[1]]}, NAMES[2:], NAMES[0], NAMES[:2]),
        lambda axes: draw_scatter(axes, *RANDOM.normal(size=(2, 3, 4, 4)), (NAMES[0], NAMES[1])),
    ):
        figure = Figure()
        axes = draw(figure.subplots())
        figure.draw_without_rendering()
        assert axes.get_xlabel()
        assert axes.get_ylabel()


def test_nothing_and_dead_units_are_drawn_too():
    nan = np.full(4, np.nan)
    for draw in (
        lambda axes: draw_correlations(axes, {"a": nan}, {"a": np.empty(0)}, (), "g"),
        lambda axes: draw_layers(axes, np.zeros((2, 3), dtype=int), ["1", "2"], ["1", "2", "3"], "g", "a"),
        lambda axes: draw_correlations(axes, {}, {}, (), "g"),
        lambda axes: draw_depth(axes, {"a": [nan]}, (), "g", ["1"]),
        lambda axes: draw_depth(axes, {}, (), "g"),
        lambda axes: draw_sizes(axes, np.empty(0, dtype=int), None),
        lambda axes: draw_scatter(axes, np.zeros((1, 2, 2)), np.ones((1, 2, 2)), ("a", "b")),
    ):
        figure = Figure()
        draw(figure.subplots())
        figure.draw_without_rendering()


def test_many_layers_are_not_all_named():
    names = [f"blocks.{i}.mlp" for i in range(300)]
    axes = draw_layers(Figure().subplots(), RANDOM.integers(0, 9, (300, 4)), names, names[:4], "g", "a")
    assert 10 < len(axes.get_yticks()) <= 24


def test_sizes_of_concepts_by_octave():
    axes = draw_sizes(Figure().subplots(), np.array([1, 1, 2, 3, 9]), np.array([1, 0, 1, 0, 9]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2 to 3", "4 to 7", "8 to 15"]
    assert [text.get_text() for text in axes.texts] == ["2", "2", "0", "1"]
    heights = {held.get_label(): [bar.get_height() for bar in held] for held in axes.containers}
    assert heights == {"all neurons trusted": [1, 0, 0, 1], "some trusted": [0, 1, 0, 0], "none trusted": [1, 1, 0, 0]}
