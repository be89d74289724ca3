"""The last picture of the page about trust: what the tests leave, model by model."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rosetta.mining.trust.tests import TESTS, passing, unasked
from rosetta.recipe import Trust
from rosetta.view.numbers import count, counted
from rosetta.view.plots import svg
from rosetta.view.plots.labels import short
from rosetta.view.trust.contents import Flags, Matches
from rosetta.view.trust.plots import Picture

_NAME, _CELL, _ROW, _HEAD = 1.25, 0.57, 0.52, 0.28
"""Inches: width of the names and of a column, height of a row and of the heading."""

_LONGEST = 18
"""Characters of a model's name."""


def together(matches: Matches, settings: Trust) -> Picture:
    """How many matches survive each test, and all: a row per model, a column per test, controls last.

    Returns
    -------
    Picture
        A bar's length is the share of the model's matches. A test that was made for none of them shows a dash.
    """
    if not len(matches["pearson"]):
        return Picture("", "There is no match to count.")
    passes, blank = passing(matches, settings), unasked(matches)
    all_matches = np.ones(len(matches["pearson"]), dtype=bool)
    columns = {"matches": all_matches, **{test.word: passes[test.name] for test in TESTS}, "all": matches["trusted"]}
    dashes = {test.word: blank[test.name] for test in TESTS}
    models = np.array([str(name) for name in matches["model_b"]], dtype=object)
    controls = set(models[matches["control"]])
    names = sorted(dict.fromkeys(models), key=lambda name: name in controls)
    wide, high = _NAME + _CELL * len(columns), _HEAD + _ROW * len(names)
    with svg.style():
        figure = Figure(figsize=(wide, high))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(0.0, wide)
        axes.set_ylim(high, 0.0)
        axes.set_axis_off()
        for column, word in enumerate(columns):
            axes.text(_NAME + _CELL * column, 0.5 * _HEAD, word, va="center", size=8, color=svg.QUIET)
        for row, name in enumerate(names):
            y = _HEAD + _ROW * row
            here = models == name
            colour = svg.CONTROL if name in controls else svg.ACCENT
            axes.plot([0.0, wide], [y, y], color=svg.FAINT, linewidth=0.8)
            axes.text(0.02, y + 0.16, short(name, _LONGEST), va="center", weight="bold", color=svg.INK)
            if name in controls:
                axes.text(0.02, y + 0.435, "control", va="center", size=7, color=svg.CONTROL)
            for column, (word, kept) in enumerate(columns.items()):
                x, span = _NAME + _CELL * column, 0.86 * _CELL
                if word in dashes and dashes[word][here].all():
                    axes.text(x, y + 0.16, "–", va="center", color=svg.QUIET)
                    continue
                number, share = int((kept & here).sum()), float(kept[here].mean())
                weight = "bold" if word == "all" else "normal"
                axes.text(x, y + 0.16, count(number), va="center", size=8.5, color=svg.INK, weight=weight)
                if word != "matches":
                    axes.text(x, y + 0.435, f"{100 * share:.0f} %", va="center", size=7, color=svg.QUIET)
                axes.add_patch(Rectangle((x, y + 0.28), span, 0.055, facecolor=svg.FAINT, linewidth=0))
                axes.add_patch(Rectangle((x, y + 0.28), span * share, 0.055, facecolor=colour, linewidth=0))
        plot = svg.text(figure, f"Matches that survive each test, for {', '.join(names)}", crop=True)
    return Picture(plot, _alone(passes, blank, ~matches["control"]))


def _alone(passes: dict[str, Flags], blank: dict[str, Flags], trained: Flags) -> str:
    """Which test is the only one that a match fails: what it sees that the others do not."""
    failed = {test.word: trained & ~passes[test.name] & ~blank[test.name] for test in TESTS}
    once = np.sum(list(failed.values()), axis=0) == 1
    counts = ", ".join(f"{word} {count(int((flags & once).sum()))}" for word, flags in failed.items())
    note = f"Matches with trained models that fail one test alone: {counts}."
    missing = int((trained & np.any(list(blank.values()), axis=0)).sum())
    if missing:
        note += f" {counted(missing, 'match', 'matches')} with trained models could not be put to every test."
    return note
