"""The page of a comparison in a browser, with names that try to leave their place, and its sentences."""

import numpy as np
import pytest

from rosetta.view.compare.contents import Alone, ComparePage, MatchedConcept
from rosetta.view.compare.page import render_compare
from rosetta.view.compare.sentences import agreement, concepts, kept, p_is
from rosetta.view.join.contents import Side, Table
from rosetta.view.pictures.sprite import webp
from rosetta.view.plots.strengths import strength_scatter

HOSTILE = "</title></style><img src=x onerror='hacked=1'><script>hacked=1</script>&\"'"
LONG = "synthesis" * 30
SIDES = tuple(Side(name, f"{LONG} channel 1", "pictures/0 #?.webp", (HOSTILE,)) for name in (HOSTILE, LONG))
STRENGTHS = np.array([0.1, 0.5]), np.array([0.2, 0.4])
PAGE = ComparePage(
    title=f"{HOSTILE} and {LONG}", headline=HOSTILE, second=LONG, anchor=HOSTILE,
    tables=(
        Table("differences", "Differences", ("what", HOSTILE, LONG), ((HOSTILE, LONG, HOSTILE),), 3),
        Table("strengths", "Strengths", ("of", HOSTILE), ((LONG, "1"),), note=HOSTILE),
    ),
    scatter=strength_scatter(STRENGTHS, np.array([True, False]), (HOSTILE, LONG)), scatter_note=HOSTILE,
    concepts=(MatchedConcept(0, HOSTILE + LONG, (HOSTILE, LONG), SIDES),), left_out=2,
    left=Alone(SIDES, 1), came=Alone((), 0), settings=((HOSTILE, LONG),), fingerprint="0" * 64,
    command=f"rosetta compare {HOSTILE} {LONG}",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_names_stay_text_and_the_page_fits(browser, tmp_path, width, scheme):
    (tmp_path / "pictures").mkdir()
    (tmp_path / SIDES[0].picture).write_bytes(webp(np.zeros((2, 1, 8, 8, 3), np.uint8)))
    path = tmp_path / "index.html"
    path.write_text(render_compare(PAGE), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.locator("figure img").first.scroll_into_view_if_needed()  # it is asked for as it comes into view
    page.locator("figure img").first.evaluate("image => image.decode()")
    assert page.title() == f"{PAGE.title} · comparison"
    assert page.locator("h1").inner_text() == PAGE.title
    assert page.locator("figure.drawn svg").count() == 1
    assert page.locator("#came .quiet").inner_text() == "Every concept of the second run has a partner."
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    page.locator("#theme").click()
    assert {dark, page.evaluate("getComputedStyle(document.documentElement).colorScheme")} == {"light", "dark"}
    targets = page.eval_on_selector_all("nav a", "links => links.map((a) => a.getAttribute('href'))")
    assert all(page.locator(target).count() == 1 for target in targets)
    assert page.evaluate("window.hacked") is None
    page.close()
    assert complaints == []


def test_sentences_count_beside_chance():
    row = {"of": "all", "by": "anchor", "first": 175, "second": 1_180, "both": 142, "both_chance": 12.4}
    assert kept(row) == "142 of 175 neurons stay (12 by chance); the second run has 1,180"
    assert kept({**row, "by": "members", "both": 1, "both_chance": 0.01}) == (
        "1 of 175 neurons stays with the same units in all models (0.0 by chance); the second run has 1,180"
    )
    assert kept({**row, "of": "trusted", "first": 0, "second": 1}) == (
        "The first run has no trusted neuron, the second has 1 trusted neuron"
    )
    assert kept({**row, "first": 0, "second": 0}) == "The first run has no neuron, the second has none"
    found = {"first": 3, "second": 4, "matched": 1, "matched_chance": 0.5, "same": 0, "overlap": 0.25,
             "overlap_chance": 0.125}  # fmt: skip
    assert concepts(found) == (
        "1 of 3 concepts finds a partner (0.5 by chance), 0 of exactly the same units; mean overlap 0.25 (0.12 by"
        " chance)"
    )
    assert concepts({**found, "first": 0}) == "The first run has no concept, the second has 4 concepts"
    known = {"of": "buddies", "model": "d", "count": 1, "pearson": None, "deviation_chance": None}
    assert agreement(known) == "Strengths of the 1 buddies in d of both runs: too few, or all the same"
    known = {"of": "neurons", "model": "all", "count": 9, "pearson": 0.5, "deviation_chance": 0.354}
    assert agreement(known) == "Strengths of the 9 neurons of both runs: r 0.50, and 0.00 ± 0.35 by chance"


@pytest.mark.parametrize(("value", "told"), [(0.031, "p = 0.031"), (2.4e-9, "p = 2.4 × 10⁻⁹"), (0.0, "p < 10⁻³⁰⁰")])
def test_no_probability_is_zero(value, told):
    assert p_is(value) == told


def test_many_points_are_one_picture():
    random = np.random.default_rng(0)
    strengths = random.random(3_000), random.random(3_000)
    drawn = strength_scatter(strengths, random.random(3_000) < 0.5, ("a", "b"))
    assert "data:image/png" in drawn
    assert len(drawn) < 300_000
