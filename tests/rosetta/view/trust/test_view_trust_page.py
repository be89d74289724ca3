"""The page about trust: what it says and counts, what it leaves out, and how large it gets."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from reader import Reader
from trust_stories import HOSTILE, SETTINGS, trust_cut, trust_example, trust_matches, trust_story, trust_whole

from rosetta.mining.trust.tests import TESTS, asked, passing
from rosetta.recipe import Trust
from rosetta.view.trust.contents import TrustStory, WholeRun
from rosetta.view.trust.page import render_trust
from rosetta.view.trust.plots import centred
from rosetta.view.trust.summary import summary

NAME_SPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
ADDRESSES = [
    "tests", "chance", "held-out", "control", "pixels", "rotation", "few-positions", "halves", "alone", "interval",
    "one-image",
    "classes", "one-to-one", "cause", "position", "null", "stability", "layers", "distances", "rarefaction",
]  # fmt: skip
"""Of the sections: what decides before what is reported."""


def _words(html: str) -> str:
    return " ".join(Reader(html).words.split())


def test_it_tells_of_every_number_and_when_it_misleads() -> None:
    story = trust_story()
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
        "N = 512", "rosetta trust runs/faces", "cafe0123", "p = 2.4 × 10⁻⁹", "drawn at random into one of two halves",
        "mixture of all units of its layer", "99.9th percentile", "with replacement, 1,000 times", "left out in turn",
        "mean map over the images of a class", "60 neurons, 5 with images exchanged: false discovery rate 8.3 % (",
        "From the 32 nearest", "With K = 7 to 20 one concept holds more than a fifth", "unit 7, 11 ×", "0.62",
    ):  # fmt: skip
        assert told in words, told
    assert [section["id"] for section in page.all("section")] == ADDRESSES
    assert len(page.all("svg")) == 21
    assert words.count("When it misleads") == len(ADDRESSES) - 1
    for test in TESTS:
        assert test.question in words
    assert not re.search(r"\bnan\b", words.lower())


def test_controls_that_have_a_second_one_are_counted() -> None:
    matches = trust_matches()
    judged = {**matches, "lift": np.where(matches["control"], 0.1, matches["lift"])}
    judged["trusted"] = passing(judged, SETTINGS)["trusted"]
    kept = int((judged["trusted"] & judged["control"]).sum())
    assert kept
    assert f", and {kept} of 100 with controls." in _words(render_trust(trust_story(judged)))


VIEWS = {"overview", "concepts", "images", "unit", "tables", "notes"}
"""Of the atlas."""


def test_links_lead_to_the_sections_and_back() -> None:
    page = Reader(render_trust(replace(trust_story(), home="../index.html")))
    targets = {section["id"] for section in page.all("section")}
    links = [link["href"] or "" for link in page.all("a")]
    assert links[0] == "../index.html#/overview"
    assert {link.removeprefix("../index.html#/") for link in links if link.startswith("../")} == VIEWS
    assert [link["href"] for link in page.all("a") if link.get("aria-current")] == ["trust.html"]
    assert {link[1:] for link in links if link.startswith("#")} == targets


def _hostile(text: str = HOSTILE) -> TrustStory:
    return replace(
        trust_story(trust_matches(model=text), trust_whole(text)), name=text, anchor=text, judgement=text, command=text,
        fingerprint=text, null=trust_example(text),
    )  # fmt: skip


def test_hostile_texts_stay_text() -> None:
    page, honest = Reader(render_trust(_hostile())), Reader(render_trust(trust_story()))
    assert len(page.all("script")) == len(honest.all("script"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.words


@pytest.mark.parametrize("count", [0, 300])
def test_nothing_comes_from_elsewhere(count: int) -> None:
    html = render_trust(trust_story(trust_matches(count)))
    assert set(re.findall(r"https?://[^\"' )<&]+", html)) <= NAME_SPACES
    assert not [name for name, attributes in Reader(html).elements if attributes.get("src")]


def test_nothing_to_judge_is_said_in_words() -> None:
    html = render_trust(replace(trust_story(trust_matches(0), WholeRun()), null=None, judgement=""))
    page, words = Reader(html), _words(html)
    assert not page.all("svg") + page.all("figure") + page.all("p", "notice") + page.all("table")
    assert len(page.all("p", "blank")) == 21
    assert "dcgan has no match to judge." in words
    assert "no example of a null distribution" in words
    assert "no p value to draw" in words
    assert words.count("There is no match to draw.") == 11
    assert words.count("This run has no such numbers.") == 5


@pytest.mark.parametrize(
    ("left_out", "columns", "sections"),
    [
        ("rotation", ["excess", "alone"], ["rotation", "alone"]),
        ("maps", ["pearson_robust", "pearson_low", "influence", "pearson_within"],
         ["few-positions", "interval", "one-image", "classes"]),
        ("one_to_one", ["assigned"], ["one-to-one", "distances"]),
    ],
)  # fmt: skip
def test_what_was_left_out_says_so(left_out: str, columns: list[str], sections: list[str]) -> None:
    blank = {name: np.full(300, np.nan) for name in columns}
    settings = Trust(tests=("chance",), leave_out=(left_out,))
    story = replace(
        trust_story({**trust_matches(), **blank}, replace(trust_whole(), distances=None)), settings=settings
    )
    html = render_trust(story)
    told = f"The recipe leaves this out: trust.leave_out names {left_out}."
    for section in sections:
        part = html[html.index(f'<section id="{section}"') :]
        assert told in part[: part.index("</section>")], section
    unknown = replace(story, settings=SETTINGS, matches={**trust_matches(), "pearson_within": np.full(300, np.nan)})
    assert "The classes of this run’s images are not known." in _words(render_trust(unknown))


def test_without_controls_they_are_not_spoken_of_in_numbers() -> None:
    matches = trust_matches()
    story = trust_story(trust_cut(matches, ~matches["control"]))
    assert "with controls" not in _words(render_trust(story)).split("What the tests leave")[0]
    assert "controls (" not in centred(story.matches).svg


def test_the_summary_counts_what_survives_model_by_model() -> None:
    matches = trust_matches()
    made, passes = summary(matches, SETTINGS), passing(matches, SETTINGS)
    assert made.models == [("lite0", False), ("lite2", False), ("untrained", True)], "controls last"
    assert [test for test, _ in made.asked] == asked(SETTINGS)
    assert {test.name for test, _ in [*made.asked, *made.others]} == {test.name for test in TESTS}
    for place, (name, _) in enumerate(made.models):
        mine = matches["model_b"] == name
        assert made.matches[place] == mine.sum()
        assert made.trusted[place].count == (matches["trusted"] & mine).sum()
        for test, row in [*made.asked, *made.others]:
            if test.name == "lift" and name == "untrained":
                assert row[place] is None, "no second control"
            else:
                assert row[place].count == (passes[test.name] & mine).sum()
                assert row[place].share == pytest.approx(row[place].count / mine.sum())
    words = _words(render_trust(trust_story(matches)))
    first = made.asked[0][1][0]
    assert f"{first.count} {100 * first.share:.0f} %" in words
    assert "not made" in words
    four = Trust(q=1e-300, tests=("chance", "replicates", "lift", "partial"))
    failing = ~matches["control"] & passes["replicates"] & passes["lift"] & passes["partial"]
    note = summary(matches, four).note
    assert f"fail one of these tests alone: chance {failing.sum()}, halves 0, control 0, pixels 0." in note
    blank = {**matches, "q_value": np.where(np.arange(300) < 9, np.nan, matches["q_value"])}
    assert "6 matches with trained models could not be put to every one of them." in summary(blank, four).note


@pytest.mark.parametrize("count", [1, 30])
def test_the_summary_takes_any_number_of_models(count: int) -> None:
    matches = trust_matches(300)
    names = np.array([f"model-{place % count}-with-a-long-name\n$x$" for place in range(300)], dtype=object)
    made = summary({**matches, "model_b": names, "control": np.zeros(300, dtype=bool)}, SETTINGS)
    assert len(made.models) == count


def test_a_large_run_makes_a_page_of_less_than_2_mb() -> None:
    story = trust_story(trust_matches(30_000), trust_whole(layers=120))
    assert len(render_trust(story).encode()) < 1_800_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "story", [trust_story(trust_matches(3000)), _hostile(HOSTILE + "w" * 300)], ids=["plain", "hostile"]
)
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
    assert page.locator("svg.plot").count() == 21
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    page.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
