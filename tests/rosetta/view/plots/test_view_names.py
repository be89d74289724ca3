"""The plot of what the concepts of each layer are called."""

from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from rosetta.view.plots.names import MOST, draw_names, named_by_layer

HOSTILE = "<script>alert(1)</script>"


def test_bars_are_the_counts_and_only_of_layers_with_concepts():
    names = ["hair", "hair", None, "eye", None, None]
    axes = draw_names(Figure().add_axes((0, 0, 1, 1)), names, np.array([0, 0, 0, 2, 2, 3]), ["a", "b", "c", "d"])
    named, without = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert (named, without) == ([2, 1, 0], [1, 1, 1])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "c", "d"]
    assert [note.get_text() for note in axes.texts] == ["hair 2", "eye 1", ""]


def test_the_most_frequent_names_are_listed_and_the_others_counted():
    names = ["one", *["two"] * 2, *["three"] * 3, "four", "five", "six"]
    axes = draw_names(Figure().add_axes((0, 0, 1, 1)), names, np.zeros(len(names), int), ["a"])
    (note,) = axes.texts
    assert note.get_text().startswith("three 3, two 2, ")
    assert note.get_text().endswith(f"{6 - MOST} more")


def test_names_are_text():
    drawn = ElementTree.fromstring(named_by_layer([HOSTILE, "$x$", "long " * 99], np.zeros(3, int), [HOSTILE]))
    told = "".join(drawn.itertext())
    assert "$x$ 1" in told
    assert "<script" in told
    assert not drawn.findall(".//{*}script")
    assert max(map(len, told.splitlines())) < 160
