"""The page about trust: what it says and counts, what it leaves out, and how large its pictures get."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from playwright.sync_api import Browser
from reader import Reader

from rosetta.mining.trust.tests import passing
from rosetta.recipe import Trust
from rosetta.view.trust.chance import null, p_values
from rosetta.view.trust.contents import Matches, NullExample, TrustStory
from rosetta.view.trust.page import render_trust
from rosetta.view.trust.plots import DRAWN, Picture, centred, halves, lift, partial
from rosetta.view.trust.together import together

HOSTILE = """x"><script>alert(1)</script>' onload='alert("$x_1$") {{ 7*7 }} http://evil.example/a"""
NAME_SPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
SETTINGS = Trust()


def _matches(count: int = 300, model: str = "lite0") -> Matches:
    rng = np.random.default_rng(0)
    pearson = rng.uniform(0.1, 0.9, count)
    models = np.array([model, "lite2", "untrained"], dtype=object)[np.arange(count) % 3]
    control = models == "untrained"
    best = np.where(control, np.nan, rng.uniform(0.0, 0.5, count))
    found = {
        "model_b": models, "control": control, "pearson": pearson,
        "p_value": 10.0 ** -rng.uniform(0, 30, count), "q_value": rng.uniform(0, 0.1, count),
        "pearson_half_1": pearson + rng.normal(0, 0.02, count), "pearson_half_2": pearson + rng.normal(0, 0.02, count),
        "replicates": rng.random(count) < 0.7, "pearson_centred": 0.8 * pearson, "pearson_partial": 0.5 * pearson,
        "control_best": best, "lift": pearson - best,
    }  # fmt: skip
    return {**found, "trusted": passing(found, SETTINGS)["trusted"]}


def _cut(matches: Matches, keep: np.ndarray | slice) -> Matches:
    return {name: values[keep] for name, values in matches.items()}


def _example(label: str = "dcgan main.5:12 × lite0 blocks.3:45") -> NullExample:
    return NullExample(label, np.random.default_rng(1).normal(0.03, 0.02, 999), 0.41, 2.4e-9, 0.08)


def _story(matches: Matches | None = None) -> TrustStory:
    return TrustStory(
        name="faces", anchor="dcgan", images=512, settings=SETTINGS, judgement="One layer was not judged.",
        matches=_matches() if matches is None else matches, neurons=30, trusted_neurons=4, null=_example(),
        fingerprint="cafe0123",
        command="rosetta trust runs/faces",
    )  # fmt: skip


PICTURES: dict[str, Callable[[Matches], Picture]] = {
    "p": lambda matches: p_values(matches, SETTINGS.q),
    "halves": halves,
    "centred": centred,
    "partial": lambda matches: partial(matches, SETTINGS.partial),
    "lift": lift,
    "together": lambda matches: together(matches, SETTINGS),
}


def _words(html: str) -> str:
    return " ".join(Reader(html).words.split())


def _texts(picture: Picture) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(picture.svg).itertext() if text.strip()]


def test_it_tells_of_every_number_and_when_it_misleads() -> None:
    story = _story()
    html = render_trust(story)
    page, words = Reader(html), _words(html)
    kept = story.matches["trusted"] & ~story.matches["control"]
    assert (
        f"{kept.sum()} of 200 matches of dcgan with trained models are trusted; for the 100 with controls there is no "
        "second control to measure them by. So are 4 of 30 Rosetta neurons." in words
    ), "what could not be asked is not 0"
    for told in (
        "One layer was not judged.", "Benjamini–Hochberg", "generalised Pareto", "both halves", "untrained network",
        "act linearly", "true concept of colour", "aligned faces", "near-duplicates", "q ≤ 0.05", "partial r > 0.1",
        "N = 512", "rosetta trust runs/faces", "cafe0123", "p = 2.4 × 10⁻⁹",
    ):  # fmt: skip
        assert told in words, told
    assert [section["id"] for section in page.all("section")] == [
        "chance", "halves", "control", "pixels", "position", "together",
    ]  # fmt: skip
    assert len(page.all("svg")) == 7
    assert words.count("When it misleads") == 5
    assert not re.search(r"\bnan\b", words.lower())


def test_controls_that_have_a_second_one_are_counted() -> None:
    matches = _matches()
    judged = {**matches, "lift": np.where(matches["control"], 0.1, matches["lift"])}
    judged["trusted"] = passing(judged, SETTINGS)["trusted"]
    kept = int((judged["trusted"] & judged["control"]).sum())
    assert kept
    assert f", and {kept} of 100 with controls." in _words(render_trust(_story(judged)))


def test_links_lead_to_the_sections_and_back() -> None:
    page = Reader(render_trust(replace(_story(), home="../index.html")))
    targets = {section["id"] for section in page.all("section")}
    links = [link["href"] or "" for link in page.all("a")]
    assert links[0] == "../index.html"
    assert {link[1:] for link in links[1:]} == targets


def _hostile(text: str = HOSTILE) -> TrustStory:
    return replace(
        _story(_matches(model=text)), name=text, anchor=text, judgement=text, command=text, fingerprint=text,
        null=_example(text),
    )  # fmt: skip


def test_hostile_texts_stay_text() -> None:
    page, honest = Reader(render_trust(_hostile())), Reader(render_trust(_story()))
    assert len(page.all("script")) == len(honest.all("script"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.words


@pytest.mark.parametrize("count", [0, 300])
def test_nothing_comes_from_elsewhere(count: int) -> None:
    html = render_trust(_story(_matches(count)))
    assert set(re.findall(r"https?://[^\"' )<&]+", html)) <= NAME_SPACES
    assert not [name for name, attributes in Reader(html).elements if attributes.get("src")]


def test_nothing_to_judge_is_said_in_words() -> None:
    html = render_trust(replace(_story(_matches(0)), null=None, judgement=""))
    page, words = Reader(html), _words(html)
    assert not page.all("svg") + page.all("figure") + page.all("p", "notice")
    assert len(page.all("p", "blank")) == 7
    assert "dcgan has no match to judge." in words
    assert "no example of a null distribution" in words
    assert "no p value to draw" in words
    assert words.count("There is no match to draw.") == 4


def test_without_controls_they_are_not_spoken_of_in_numbers() -> None:
    matches = _matches()
    story = _story(_cut(matches, ~matches["control"]))
    assert "with controls" not in _words(render_trust(story)).split("Chance q ≤")[0]
    assert not any(text.startswith("controls (") for text in _texts(centred(story.matches)))


@pytest.mark.parametrize("name", PICTURES)
def test_numbers_that_are_missing_are_counted(name: str) -> None:
    matches = _cut(_matches(), slice(0, 50))
    blank = np.array(matches["pearson"])
    blank[:7] = np.nan
    gone = {
        "p": {"p_value": blank}, "halves": {"pearson_half_2": blank},
        "centred": {"pearson_centred": blank}, "partial": {"pearson_partial": blank},
        "lift": {"control_best": blank}, "together": {"q_value": blank},
    }[name]  # fmt: skip
    made = PICTURES[name]({**matches, **gone})
    told = "5 matches with trained models could not" if name == "together" else "7 matches are left out: no"
    assert told in made.note
    nothing = PICTURES[name]({**matches, **{key: np.full(50, np.nan) for key in gone}})
    assert (nothing.svg == "") == (name != "together")
    if name != "together":
        assert "50 matches are left out" in nothing.note


def test_scatters_count_all_and_say_how_many_they_draw() -> None:
    matches = _matches(3 * DRAWN)
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
    matches = _matches()
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
    texts = _texts(null(_example()))
    assert {"images exchanged (999)", "fitted tail, from 0.080", "r = 0.41", "correlation of the two units"} <= set(
        texts
    )
    without = replace(_example(), tail_from=np.nan, p_value=np.nan)
    assert not any("tail" in text for text in _texts(null(without)))
    assert null(without).note.endswith("r = 0.41, p = –.")
    assert null(replace(_example(), null=np.zeros(5))).svg, "equal draws make a bar"
    assert null(replace(_example(), null=np.full(5, np.nan))).svg == ""
    assert null(replace(_example(), observed=-0.4)).svg


def test_together_counts_what_survives_model_by_model() -> None:
    matches = _matches()
    texts = _texts(together(matches, SETTINGS))
    assert texts[1:7] == ["matches", "chance", "halves", "control", "pixels", "all"]
    passes = passing(matches, SETTINGS)
    for name in ("lite0", "lite2", "untrained"):
        mine = matches["model_b"] == name
        row = texts[texts.index(name) :]
        for column in (mine, passes["chance"] & mine, matches["trusted"] & mine):
            assert str(int(column.sum())) in row
    assert texts.index("lite2") < texts.index("untrained") < texts.index("–")
    alone = together(matches, Trust(q=1e-300)).note
    failing = ~matches["control"] & passes["replicates"] & passes["lift"] & passes["partial"]
    assert f"fail one test alone: chance {failing.sum()}, halves 0, control 0, pixels 0." in alone


@pytest.mark.parametrize("name", [*PICTURES, "null"])
def test_pictures_are_one_small_element_that_wears_the_theme(name: str) -> None:
    matches = _matches(5000)
    draw = (lambda: null(_example())) if name == "null" else (lambda: PICTURES[name](matches))
    made = draw()
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        assert draw() == made, "the same matches, the same picture"
    assert ElementTree.fromstring(made.svg).tag.endswith("svg")
    assert "var(--plot-accent," in made.svg
    assert not re.search(r": #\w{6}[;\"]", made.svg), "a colour that is no variable of the theme"
    assert len(made.svg.encode()) < 150_000
    assert "aria-label" in made.svg


def test_every_point_is_drawn_when_there_are_few() -> None:
    few = _cut(_matches(), slice(0, 12))
    strokes = re.findall(r"M ([\d.]+) ([\d.]+) \nL \1 \2 ", halves(few).svg)
    assert len(strokes) == 12
    assert len(re.findall(r"M ([\d.]+) ([\d.]+) \nL \1 \2 ", halves(_matches(5000)).svg)) == DRAWN


@pytest.mark.parametrize("models", [1, 30])
def test_together_takes_any_number_of_models(models: int) -> None:
    matches = _matches(300)
    names = np.array([f"model-{place % models}-with-a-long-name\n$x$" for place in range(300)], dtype=object)
    made = together({**matches, "model_b": names, "control": np.zeros(300, dtype=bool)}, SETTINGS)
    assert len(made.svg.encode()) < 250_000


@pytest.mark.slow
@pytest.mark.parametrize("story", [_story(_matches(3000)), _hostile(HOSTILE + "w" * 300)], ids=["plain", "hostile"])
def test_in_a_browser(browser: Browser, tmp_path: Path, story: TrustStory) -> None:
    (tmp_path / "trust.html").write_text(render_trust(story), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "trust.html").as_uri())
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("svg.plot").count() == 7
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    page.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
