"""Pictures of the page about trust: what they count, and how large they get."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from functools import partial as partial_of

import matplotlib as mpl
import numpy as np
import pytest
from trust_stories import SETTINGS, trust_cut, trust_example, trust_matches, trust_story, trust_whole

from rosetta.view.trust import dictionary, measured, models
from rosetta.view.trust.chance import null, p_values
from rosetta.view.trust.contents import Matches, ModelSize, TrustStory
from rosetta.view.trust.plots import DRAWN, Picture, centred, halves, lift, partial

PICTURES: dict[str, Callable[[Matches], Picture]] = {
    "p": lambda matches: p_values(matches, SETTINGS.q),
    "halves": halves,
    "centred": centred,
    "partial": lambda matches: partial(matches, SETTINGS.partial),
    "lift": lift,
    "held out": lambda matches: measured.held_out(matches, 0.1),
    "excess": lambda matches: measured.excess(matches, 0.05),
    "robust": lambda matches: measured.robust(matches, 0.1),
    "interval": lambda matches: measured.interval(matches, 0.0),
    "influence": lambda matches: measured.influence(matches, 0.1),
    "within": lambda matches: measured.within(matches, 0.1),
    "one to one": measured.one_to_one,
    "cause": lambda matches: measured.cause(matches, 0.05),
}
WHOLE: dict[str, Callable[[TrustStory], Picture]] = {
    "null": dictionary.null,
    "stability": dictionary.stability,
    "layers": lambda story: models.layers(story)[0],
    "rarefaction": models.rarefaction,
}


def _texts(picture: Picture) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(picture.svg).itertext() if text.strip()]


@pytest.mark.parametrize("name", PICTURES)
def test_numbers_that_are_missing_are_counted(name: str) -> None:
    matches = trust_cut(trust_matches(), slice(0, 50))
    matches = {**matches, "control": np.zeros(50, dtype=bool), "control_best": np.full(50, 0.2)}
    column = {
        "p": "p_value", "halves": "pearson_half_2", "centred": "pearson_centred", "partial": "pearson_partial",
        "lift": "control_best", "held out": "pearson_held_out", "excess": "excess", "robust": "pearson_robust",
        "interval": "pearson_low", "influence": "influence", "within": "pearson_within", "one to one": "assigned",
        "cause": "causal_effect",
    }[name]  # fmt: skip
    blank = np.array(matches[column], dtype=float)
    blank[:7] = np.nan
    assert "7 matches are left out: no" in PICTURES[name]({**matches, column: blank}).note
    nothing = PICTURES[name]({**matches, column: np.full(50, np.nan)})
    assert nothing.svg == ""
    assert "50 matches are left out" in nothing.note


def test_what_few_positions_carry_is_in_colours() -> None:
    matches = trust_matches()
    share = matches["few_positions"]
    texts = set(_texts(measured.robust(matches, 0.1)))
    middle = ((share > 0.1) & (share <= 0.5)).sum()
    assert {f"≤ 10 % ({(share <= 0.1).sum()})", f"≤ 50 % ({middle})", f"more ({(share > 0.5).sum()})"} <= texts


def test_intervals_influence_and_pairs_are_counted() -> None:
    matches = trust_matches()
    trained = ~matches["control"]
    clear = int((trained & (matches["pearson_low"] > 0.0)).sum())
    made = measured.interval(matches, 0.0)
    assert {f"begin above 0 ({clear})", f"do not ({200 - clear})"} <= set(_texts(made))
    assert made.note.startswith("200 matches; half of the intervals are narrower than 0.30. 160 of them are drawn")
    over = int((matches["influence"] > 0.1).sum())
    assert f"{over} of 300 matches change by more than 0.1" in measured.influence(matches, 0.1).note
    pairs = int((trained & (matches["assigned"] == 1)).sum())
    assert {f"a pair one to one ({pairs})", f"not ({200 - pairs})"} <= set(_texts(measured.one_to_one(matches)))


def test_scatters_count_all_and_say_how_many_they_draw() -> None:
    matches = trust_matches(3 * DRAWN)
    made = halves(matches)
    kept = int(matches["replicates"].sum())
    assert f"replicate ({kept:,})" in _texts(made)
    assert f"do not replicate ({3 * DRAWN - kept:,})" in _texts(made)
    assert made.note == "6,000 matches. 2,000 of them are drawn, evenly over all."
    texts = _texts(partial(matches, SETTINGS.partial))
    assert {"trained models (4,000)", "controls (2,000)", "r", "r, partial"} <= set(texts)
    above = (matches["pearson_partial"] > SETTINGS.partial).sum()
    assert f"{above:,} are above the dotted line at 0.1" in partial(matches, SETTINGS.partial).note
    assert "no better than a control" in _texts(lift(matches))
    assert f"{(matches['lift'] > 0).sum():,} have lift above 0." in lift(matches).note
    assert "2,000 matches are left out: no best r of a control" in lift(matches).note


def test_p_values_are_counted_by_q() -> None:
    matches = trust_matches()
    made = p_values(matches, SETTINGS.q)
    kept = int(((matches["q_value"] <= SETTINGS.q) & ~matches["control"]).sum())
    assert {f"q ≤ 0.05 ({kept})", f"q above ({200 - kept})", "controls (100)", "p value (log scale)"} <= set(
        _texts(made)
    )
    assert f"200 matches with trained models, {kept} with q ≤ 0.05; 100 with controls" in made.note
    assert "≤ 10⁻²⁰" in _texts(made)
    # A p value of exactly 0 has a bin, too.
    assert p_values({**matches, "p_value": np.zeros(300)}, SETTINGS.q).svg


def test_the_null_shows_the_tail_and_the_match() -> None:
    texts = _texts(null(trust_example()))
    assert {"images exchanged (999)", "fitted tail, from 0.080", "r = 0.41", "correlation of the two units"} <= set(
        texts
    )
    without = replace(trust_example(), tail_from=np.nan, p_value=np.nan)
    assert not any("tail" in text for text in _texts(null(without)))
    assert null(without).note.endswith("r = 0.41, p = –.")
    assert null(replace(trust_example(), null=np.zeros(5))).svg, "equal draws make a bar"
    assert null(replace(trust_example(), null=np.full(5, np.nan))).svg == ""
    assert null(replace(trust_example(), observed=-0.4)).svg


@pytest.mark.parametrize("name", [*PICTURES, *WHOLE, "chance"])
def test_pictures_are_one_small_element_that_wears_the_theme(name: str) -> None:
    matches = trust_matches(5000)
    if name in WHOLE:
        draw = partial_of(WHOLE[name], trust_story())
    else:
        draw = partial_of(null, trust_example()) if name == "chance" else partial_of(PICTURES[name], matches)
    made = draw()
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        assert draw() == made, "the same matches, the same picture"
    assert ElementTree.fromstring(made.svg).tag.endswith("svg")
    assert "var(--plot-accent," in made.svg
    assert not re.search(r": #\w{6}[;\"]", made.svg), "a colour that is no variable of the theme"
    assert len(made.svg.encode()) < 150_000
    assert "aria-label" in made.svg


def test_every_point_is_drawn_when_there_are_few() -> None:
    few = trust_cut(trust_matches(), slice(0, 12))
    strokes = re.findall(r"M ([\d.]+) ([\d.]+) \nL \1 \2 ", halves(few).svg)
    assert len(strokes) == 12
    assert len(re.findall(r"M ([\d.]+) ([\d.]+) \nL \1 \2 ", halves(trust_matches(5000)).svg)) == DRAWN


def test_stability_warns_where_one_concept_swallows_others() -> None:
    found = dictionary.with_neighbours(trust_whole().stability)
    assert dictionary.percolation(found, 9).startswith(
        "With K = 9, as in this run, the largest concept holds 20 of 72 neurons, more than a fifth."
    )
    assert "This run has K = 5, where none does." in dictionary.percolation(found, 5)
    assert dictionary.percolation(found[:6], 5) == ""


def test_the_null_shows_every_exchange() -> None:
    texts = _texts(dictionary.null(trust_story()))
    assert {"lite0", "untrained", "Rosetta neurons", "concepts", "images exchanged (3 times)", "this run"} <= set(texts)
    alone = replace(trust_whole(), null=trust_whole().null.query("exchange == 0"))
    assert dictionary.null(replace(trust_story(), whole=alone)).svg, "without an exchange the run is there alone"


def test_layers_are_numbered_or_shades_and_below_their_null_blank() -> None:
    first, *_ = models.layers(trust_story())
    assert _texts(first).count(".60") == 3
    assert _texts(first).count(".30") == 6
    assert "CKA is highest, 0.60, between dcgan.0 and lite0.0" in first.note
    assert len(models.layers(replace(trust_story(), whole=trust_whole(layers=60)))) == 3
    frame = trust_whole().layers.assign(cka=np.nan)
    unknown = models.layers(replace(trust_story(), whole=replace(trust_whole(), layers=frame)))[0]
    assert _texts(unknown).count("–") == 9


def test_fair_counts_say_how_they_grow() -> None:
    story = trust_story()
    curve = models.curves(story)[0]
    rows = story.whole.rarefaction.query("model_b == 'lite0'")
    assert curve.mean.tolist() == rows.groupby("units")["buddies"].mean().tolist()
    slope = np.polyfit(np.log(curve.units), np.log(curve.mean), 1)[0]
    assert curve.exponent.startswith(f"{slope:.2f} (")
    assert models.fair_sentence(story) == "", "two models always lie on a line"
    sizes = {f"m{n}": ModelSize(100 * n, 10 * n, False) for n in (1, 2, 4)}
    grown = replace(story, whole=replace(story.whole, sizes=sizes))
    assert "3 trained models" in models.fair_sentence(grown)
    assert "to the power of 1.00 (1.00–1.00)." in models.fair_sentence(grown)
