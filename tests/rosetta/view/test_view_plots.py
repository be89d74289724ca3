"""Plots are the same text each time, carry their words, and ask for nothing."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from rosetta.view.plots import correlation_histogram, layer_matches

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


def _words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("draw", [_histogram, _layers])
def test_same_input_same_bytes(draw: object) -> None:
    assert callable(draw)
    first = draw()
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        second = draw()
        assert mpl.rcParams["font.size"] == 20
    assert first == second


@pytest.mark.parametrize("draw", [_histogram, _layers])
def test_it_is_one_inline_element_that_wears_the_theme(draw: object) -> None:
    assert callable(draw)
    svg = draw()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg.startswith("<svg ")
    assert "<metadata" not in svg
    assert "currentColor" in svg
    assert "var(--plot-accent," in svg
    assert not re.search(r"#0[1-9]0[1-9]0[1-9]", svg), "a stand-in colour was left"
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
    ):
        assert "<script" not in svg
        assert "<b>" not in svg
        assert {element.tag.split("}")[1] for element in ElementTree.fromstring(svg).iter()} <= {
            "svg", "g", "path", "text", "defs", "style", "clipPath", "rect", "use", "tspan",
        }  # fmt: skip
