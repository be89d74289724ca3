"""Plots are the same text each time, carry their words, and ask for nothing."""

import re
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rosetta.view.plots import depth
from rosetta.view.plots.correlations import correlation_histogram
from rosetta.view.plots.depth import correlation_over_depth
from rosetta.view.plots.layers import layer_matches

HOSTILE = 'a<script>alert("$x_1$")</script>&--><b>'


def _values() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    best = {name: np.clip(rng.normal(0.5, 0.2, 300), -0.2, 1.0) for name in ("lite0", "lite2", "untrained")}
    best["lite0"][:7] = np.nan
    return best, {name: values[values > 0.6] for name, values in best.items()}


def _histogram() -> str:
    return correlation_histogram(*_values(), frozenset({"untrained"}))


def _layers() -> str:
    return layer_matches(np.array([[0, 1234], [3, 70]]), ["main.2", "main.5"], ["blocks.0", "blocks.1"], "lite0")


def _depth() -> str:
    return correlation_over_depth({"lite0": [np.array([0.1, 0.4]), np.array([0.3])]}, frozenset(), "g")


def _words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("draw", [_histogram, _layers, _depth])
def test_same_input_same_bytes(draw: object) -> None:
    assert callable(draw)
    first = draw()
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        second = draw()
        assert mpl.rcParams["font.size"] == 20
    assert first == second


@pytest.mark.parametrize("draw", [_histogram, _layers, _depth])
def test_it_is_one_inline_element_that_wears_the_theme(draw: object) -> None:
    assert callable(draw)
    svg = draw()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg.startswith("<svg ")
    assert "<metadata" not in svg
    assert "currentColor" in svg
    assert "var(--plot-accent," in svg
    assert not re.search(r": #\w{6}[;\"]", svg), "a colour that is no variable of the theme"
    addresses = set(re.findall(r"https?://[^\"' )]+", svg))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_identifiers_resolve_and_differ_between_plots() -> None:
    first, second = _histogram(), _layers()
    for svg in (first, second):
        names = set(re.findall(r' id="([^"]+)"', svg))
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg)) <= names
    assert not set(re.findall(r' id="([^"]+)"', first)) & set(re.findall(r' id="([^"]+)"', second))


def test_histogram_says_what_it_shows() -> None:
    words = _words(_histogram())
    assert "Pearson correlation" in words
    assert "count per bin" in words
    assert "untrained  (control)" in words
    assert "buddies of a control" in words
    best, buddies = _values()
    assert f"{len(buddies['lite2'])} buddies, median {np.median(buddies['lite2']):.2f}" in words
    assert "buddies of a control" not in _words(correlation_histogram(best, buddies, frozenset()))


def test_histogram_of_nothing() -> None:
    assert _words(correlation_histogram({}, {}, frozenset())).strip()
    words = _words(correlation_histogram({"a": np.full(4, np.nan), "b": np.empty(0)}, {}, frozenset({"b"})))
    assert words.count("no buddies") == 2


def test_histogram_takes_correlations_at_and_beyond_the_ends() -> None:
    best = {"a": np.array([-1.0, 1.0 + 1e-7])}
    words = _words(correlation_histogram(best, {"a": np.array([1.0], dtype=np.float32)}, frozenset()))
    assert "1 buddy, median 1.00" in words
    assert "\N{MINUS SIGN}1.0" in words


def test_layer_counts_are_written_in_their_places() -> None:
    words = _words(_layers())
    for word in ("1,234", "70", "main.2", "main.5", "blocks.0", "blocks.1", "lite0", "layer of the anchor"):
        assert word in words


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 60), (40, 2)])
def test_layer_plot_of_any_shape(rows: int, columns: int) -> None:
    counts = np.arange(rows * columns).reshape(rows, columns)
    down, across = ([f"{index}.with.a.rather.long.path.to.it" for index in range(n)] for n in (rows, columns))
    svg = layer_matches(counts, down, across, "t")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box
    assert float(box[1]) > columns * 20
    assert float(box[2]) > rows * 20


def test_layer_plot_refuses_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 rows and 1 columns"):
        layer_matches(np.zeros((2, 2), dtype=int), ["a", "b"], ["c"], "t")


def test_hostile_names_stay_text() -> None:
    values = np.array([0.5, 0.6])
    for svg in (
        correlation_histogram({HOSTILE: values}, {HOSTILE: values}, frozenset()),
        layer_matches(np.ones((1, 1), dtype=int), [HOSTILE], [HOSTILE], HOSTILE),
        correlation_over_depth({HOSTILE: [values]}, frozenset({HOSTILE}), HOSTILE),
    ):
        assert "<script" not in svg
        assert "<b>" not in svg
        assert {element.tag.split("}")[1] for element in ElementTree.fromstring(svg).iter()} <= {
            "svg", "g", "path", "text", "defs", "style", "clipPath", "rect", "use", "tspan",
        }  # fmt: skip


def test_layers_by_the_thousand_are_one_picture() -> None:
    counts = np.zeros((40, 50), dtype=int)
    counts[3, 20], counts[39, 49] = 400, 100
    svg = layer_matches(counts, [f"a.{n}" for n in range(40)], [f"b.{n}" for n in range(50)], "g × d")
    assert len(svg) < 80_000
    assert "g × d, darkest: 400" in _words(svg)
    assert {"a.0", "b.0"} <= set(_words(svg).split())
    data = re.search(r'href="data:image/png;base64,\s*([^"]+)"', svg)
    assert data
    cells = np.asarray(Image.open(BytesIO(b64decode(data[1]))))[..., 3]
    down, across = cells.shape[0] / 40, cells.shape[1] / 50
    # matplotlib turns a picture over within an SVG.
    placed = cells[::-1] if re.search(r"<image[^>]*scale\(1 -1\)", svg) else cells
    seen = placed[(down * (np.arange(40) + 0.5)).astype(int)][:, (across * (np.arange(50) + 0.5)).astype(int)]
    assert np.argwhere(seen).tolist() == [[3, 20], [39, 49]]
    assert seen[39, 49] == pytest.approx(seen[3, 20] * (0.06 + 0.52 * 0.5) / 0.58, abs=2)


def test_depth_says_what_it_shows() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.normal(0.3 + 0.1 * place, 0.02, 50).astype(np.float32) for place in range(4)]
    layers[1][:] = np.nan
    svg = correlation_over_depth({"g": layers, "lite0": layers, "random": layers[:1]}, frozenset({"random"}), "g")
    words = _words(svg)
    for word in ("g  (anchor)", "lite0", "random  (control)", "depth of the layer", "best Pearson correlation"):
        assert word in words
    assert correlation_over_depth({}, frozenset(), "g") == ""
    assert "no correlations" in _words(correlation_over_depth({"g": [np.full(3, np.nan)]}, frozenset(), "g"))


def test_depth_draws_the_median_the_middle_half_and_the_best() -> None:
    axes = Figure().add_subplot()
    values = [np.array([0.0, 0.1, 0.2, 0.5, 0.9]), np.empty(0), np.array([0.3])]
    depth._panel(axes, "a", "", values)
    median, best = axes.get_lines()
    assert median.get_xydata().tolist() == [[0.0, 0.2], [1.0, 0.3]]
    assert best.get_xydata().tolist() == [[0.0, 0.9], [1.0, 0.3]]
    (band,) = axes.collections
    assert {0.1, 0.5} <= set(band.get_paths()[0].vertices[:, 1].tolist())


@pytest.mark.parametrize("models", [1, 3, 20])
def test_every_model_has_its_own_panel(models: int) -> None:
    best = {f"model-{number}": [np.array([0.1, 0.4]), np.array([0.2, 0.9])] for number in range(models)}
    svg = correlation_over_depth(best, frozenset(), "model-0")
    assert len(set(re.findall(r' id="[^"]*-(axes_\d+)"', svg))) == models + 1, "and lies in the axes of the whole"
