"""The plot of selectivity says whose units it compares, and takes what it is given."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from rosetta.view.plots.selectivity import Measured, selectivity_plot

HOSTILE = 'a<script>alert("$x_1$")</script>&--><b>'


def _measured(count: int, seed: int, *names: str) -> Measured:
    rng = np.random.default_rng(seed)
    return {name: (np.exp(rng.normal(2.0, 0.7, count)), rng.uniform(0.01, 0.5, count)) for name in names}


def _texts(svg: str) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip()]


def test_it_says_what_it_shows() -> None:
    rosetta, others = _measured(40, 0, "dcgan", "lite0"), _measured(1234, 1, "dcgan", "lite0")
    texts = _texts(selectivity_plot(rosetta, others))
    told = ("units in Rosetta neurons", "all other units", "Kurtosis", "Half share", "dcgan", "lite0", "1,234", "40")
    for word in told:
        assert word in texts, word
    assert "kurtosis of the activation (log scale; normal: 3)" in texts
    assert f"{np.median(rosetta['dcgan'][0]):.1f}" in texts
    assert f"{100 * np.median(others['lite0'][1]):.1f} %" in texts


def test_same_input_same_bytes_in_the_page_s_colours() -> None:
    groups = _measured(20, 0, "a", "b"), _measured(30, 1, "a", "b")
    first = selectivity_plot(*groups)
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        assert selectivity_plot(*groups) == first
    assert "var(--plot-accent," in first
    assert not re.search(r": #\w{6}[;\"]", first), "a colour that is no variable of the theme"


def test_models_without_units_on_a_side_say_none() -> None:
    texts = _texts(selectivity_plot(_measured(5, 0, "dcgan"), _measured(9, 1, "dcgan", "untrained")))
    assert texts.count("none") == 2
    assert texts.count("untrained") == 2
    assert selectivity_plot({}, {}) == ""


def test_what_is_no_number_is_left_out() -> None:
    kurtosis, share = np.array([np.nan, 3.0, np.inf, 0.0, 5.0]), np.array([0.1, np.nan, 0.2, 0.3, 0.4])
    texts = _texts(selectivity_plot({"a": (kurtosis, share)}, {"a": (np.full(6, np.nan), np.full(6, np.nan))}))
    assert "4.0" in texts
    assert {"2", "4"} <= set(texts)
    assert texts.count("none") == 2


@pytest.mark.parametrize("values", [np.full(3, 3.0), np.array([1.0, 2e6]), np.array([7.0])])
def test_any_spread_has_an_axis_with_plain_numbers(values: np.ndarray) -> None:
    svg = selectivity_plot({"a": (values, np.full(len(values), 0.5))}, {})
    assert "mathdefault" not in svg
    assert "nan" not in svg


def test_many_models_and_hostile_names() -> None:
    names = [HOSTILE, *(f"model number {place} of many" for place in range(29))]
    svg = selectivity_plot(_measured(2000, 0, *names), _measured(2000, 1, *names))
    assert len(svg.encode()) < 250_000
    assert "<script" not in svg
    assert "<b>" not in svg
