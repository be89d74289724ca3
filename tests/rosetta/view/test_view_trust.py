"""Trust on the dictionary page: what is said, marked and filtered when matches were judged, and nothing when not."""

import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright
from reader import Reader

from rosetta.view.page import Concept, Dictionary, Member, ModelSummary, Neuron, Survival, Trust, render
from rosetta.view.selectivity import selectivity_plot
from rosetta.view.verdict import in_short, marks

HOSTILE = """x"><script>alert(1)</script>' onload='alert(2) {{ 7*7 }} http://evil.example/a"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
Q, PARTIAL = 0.05, 0.1
GOOD = Trust(1e-6, True, 0.21, 0.42, True)
POOR = replace(GOOD, q_value=0.2, lift=-0.03, trusted=False)


def _neuron(rosetta: int, trust: Trust | None, model: str = "lite0") -> Neuron:
    members = (Member("dcgan", "main.5", 17, 273, None), Member(model, "blocks.3", 88, 412, 0.6, trust))
    return Neuron(rosetta, 0.6, members, trust)


def _concept(cluster: int, *trusts: Trust | None, model: str = "lite0") -> Concept:
    neurons = tuple(_neuron(10 * cluster + place, trust, model) for place, trust in enumerate(trusts))
    kept = sum(trust is not None and trust.trusted for trust in trusts)
    weakest = trusts[0] if kept == len(trusts) else next(trust for trust in trusts if not (trust and trust.trusted))
    return Concept(
        cluster, len(neurons), 0.6, 0.5, neurons, "", ("image", "dcgan", model), 0, (), weakest, kept
    )  # fmt: skip


def _dictionary(*concepts: Concept, model: str = "lite0") -> Dictionary:
    survives = Survival(511, 433, 322, 255, 144)
    return Dictionary(
        name="faces", anchor="dcgan", images=64, neighbours=5,
        models=(
            ModelSummary("dcgan", "dcgan/digiface", "generator", False, 960, 4, 480, 1300, 3, 0.5),
            ModelSummary(model, "timm/x", "discriminative", False, 2040, 7, 300, 600, 3, 0.61, survives),
            ModelSummary(
                "pixels", "pixels/64", "discriminative", True, 40, 4, 9, 30, 0, 0.4, replace(survives, lift=None)
            ),
        ),
        concepts=concepts, rosetta=sum(concept.size for concept in concepts), histogram="", layer_plots=(),
        fingerprint="cafe0123", command="rosetta mine faces.toml",
        judged=True, trusted=sum(concept.trusted_neurons for concept in concepts),
        judgement="Two layers were not judged.", q=Q, partial=PARTIAL, trust_page="trust.html",
        selectivity=selectivity_plot({"dcgan": (np.full(3, 9.0), np.full(3, 0.1))}, {}),
    )  # fmt: skip


def _plain() -> Dictionary:
    """As from a caller that knows nothing of trust."""
    judged = _dictionary(_concept(0, GOOD, POOR))
    names = ("name", "anchor", "images", "neighbours", "models", "concepts", "rosetta", "histogram", "layer_plots")
    return Dictionary(*(getattr(judged, name) for name in names), "cafe0123", "rosetta mine")


def _words(html: str) -> str:
    return " ".join(Reader(html).words.split())


def test_a_judged_run_at_a_glance() -> None:
    html = render(_dictionary(_concept(0, GOOD, GOOD), _concept(1, GOOD, POOR), _concept(2, POOR)))
    words = _words(html)
    assert "5 Rosetta neurons as the paper defines them, 3 of them trusted, in 3 concepts, shared by dcgan" in words
    assert "trusted3" in words.replace(" ", "")
    assert "Two layers were not judged." in words
    for concept in ("2 neurons mean r 0.60 weakest 0.50 trusted", "1 of 2 trusted", "1 neuron mean r 0.60 not trusted"):
        assert concept in words
    assert [link["href"] for link in Reader(html).all("a")].count("trust.html") == 3
    assert "q above 0.05" in words
    assert "0.1 or less is left" in words
    assert "nan" not in words.lower()


@pytest.mark.parametrize(
    ("trust", "told"),
    [(GOOD, "1 Rosetta neuron as the paper defines it, trusted, in"), (POOR, "defines it, not trusted, in")],
)
def test_one_reads_well(trust: Trust, told: str) -> None:
    assert told in _words(render(_dictionary(_concept(0, trust))))


def test_none_of_many_is_trusted() -> None:
    assert "as the paper defines them, none of them trusted, in 1 concept" in _words(
        render(_dictionary(_concept(0, POOR, POOR)))
    )


def test_nothing_is_said_of_trust_when_nothing_was_judged() -> None:
    html = render(_plain())
    page = Reader(html)
    assert "2 Rosetta neurons in 1 concept, shared by dcgan and lite0." in _words(html)
    assert "trust" not in page.words.lower()
    assert "surviv" not in page.words.lower()
    assert not page.all("abbr") + page.all("p", "notice") + page.all("span", "kept")
    assert "t" not in [field.get("name") for field in page.all("input")]
    assert not [section for section in page.all("section") if section["id"] == "selectivity"]
    assert "data-t" not in page.all("article")[0]


def test_why_nothing_was_judged_is_said_alone() -> None:
    page = Reader(render(replace(_plain(), judgement="8 images are too few to judge a match.", trust_page="t.html")))
    assert page.all("p", "notice")
    assert "8 images are too few to judge a match." in page.words
    assert "trusted" not in page.words
    assert "t.html" not in [link["href"] for link in page.all("a")]


def test_without_a_page_of_explanation_nothing_points_to_it() -> None:
    html = render(replace(_dictionary(_concept(0, GOOD)), trust_page=""))
    assert all((link["href"] or "").startswith("#") for link in Reader(html).all("a"))
    assert "How matches are judged" not in _words(html)


def test_judging_needs_its_bounds() -> None:
    with pytest.raises(ValueError, match="give both"):
        render(replace(_dictionary(), partial=math.nan))


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (GOOD, []),
        (None, []),
        (replace(POOR, lift=0.1), [("chance", "q 0.2: chance explains it")]),
        (replace(GOOD, replicates=False, trusted=False), [("halves", "does not replicate")]),
        (replace(POOR, q_value=0.01), [("control", "a control does as well (lift −0.03)")]),
        (replace(GOOD, pearson_partial=0.04, trusted=False), [("pixels", "pixels explain it (partial 0.04)")]),
        (Trust(0.051, False, 0.0, 0.1, False), [
            ("chance", "q 0.051"), ("halves", "does not"), ("control", "lift 0.00"), ("pixels", "partial 0.10"),
        ]),
        (replace(GOOD, lift=math.nan, trusted=False), [("not judged", "not judged: control")]),
        (replace(GOOD, lift=math.nan), []),
        (Trust(math.nan, False, math.nan, math.nan, False), [("not judged", "not judged: chance, control, pixels")]),
    ],
)  # fmt: skip
def test_a_mark_and_its_words_per_failing_test(trust: Trust | None, expected: list[tuple[str, str]]) -> None:
    found = marks(trust, Q, PARTIAL)
    assert [mark.word for mark in found] == [word for word, _ in expected]
    page = Reader(render(_dictionary(_concept(0, trust))))
    assert [mark["title"] for mark in page.all("abbr", "mark")] == [mark.told for mark in found]
    for mark, (_, told) in zip(found, expected, strict=True):
        assert told in mark.told
    assert len(page.all("span", "kept")) == (trust is not None and trust.trusted)


def test_the_weakest_numbers_in_short() -> None:
    assert in_short(GOOD) == "q 1e-06, replicates, lift 0.21, partial 0.42"
    assert in_short(Trust(math.nan, False, -0.2, math.nan, False)) == "q –, does not replicate, lift −0.20, partial –"
    assert in_short(None) == ""


def test_survivors_stand_in_the_table_of_models() -> None:
    page = Reader(render(_dictionary(_concept(0, GOOD))))
    words = page.words.replace("\n", " ")
    assert re.search(r"511 +433 +322 +255 +144", words)
    assert re.search(r"511 +433 +– +255 +144", words), "a test that could not be made has no number"
    labels = [cell["data-label"] for cell in page.all("td") if "data-label" in cell]
    assert len(labels) == 3 * (7 + 5)
    assert labels[7:12] == [f"Survive {test}" for test in ("chance", "halves", "control", "pixels", "all")]
    assert len(page.all("table", "judged")) == 1


def test_the_selectivity_plot_goes_in_as_it_is() -> None:
    run = _dictionary(_concept(0, GOOD))
    assert run.selectivity in render(run)
    assert 'id="selectivity"' not in render(replace(run, selectivity=""))


def test_hostile_names_stay_text() -> None:
    run = _dictionary(_concept(0, GOOD, POOR, model=HOSTILE), model=HOSTILE)
    page = Reader(render(replace(run, judgement=HOSTILE, trust_page=HOSTILE)))
    honest = Reader(render(_dictionary(_concept(0, GOOD, POOR))))
    assert len(page.all("script")) == len(honest.all("script"))
    assert len(page.elements) == len(honest.elements)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.words
    links = {link["href"] for link in page.all("a") if not (link["href"] or "").startswith("#")}
    assert len(links) == 1
    assert not {'"', "<", ":"} & set(links.pop() or "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so the page is not opened")
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield opened
        opened.close()


@pytest.mark.slow
def test_the_filter_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    run = _dictionary(_concept(0, GOOD, GOOD), _concept(1, GOOD, POOR), _concept(2, POOR), _concept(3, GOOD))
    (tmp_path / "index.html").write_text(render(run), encoding="utf-8")
    address = (tmp_path / "index.html").as_uri()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    cards, shown = page.locator("article.card"), page.locator(".shown")
    expect(shown).to_have_text("4 of 4")
    only = page.get_by_role("checkbox", name="Trusted only")
    only.focus()
    page.keyboard.press("Space")
    expect(shown).to_have_text("2 of 4")
    expect(cards.filter(visible=True)).to_have_count(2)
    expect(page).to_have_url(f"{address}#t=1")
    page.get_by_label("Neurons at least").fill("2")
    expect(shown).to_have_text("1 of 4")
    expect(page).to_have_url(f"{address}#n=2&t=1")
    shared = page.url

    other = browser.new_page()
    other.goto(shared)
    expect(other.get_by_role("checkbox", name="Trusted only")).to_be_checked()
    expect(other.locator("article.card").filter(visible=True)).to_have_count(1)
    other.get_by_role("searchbox").fill("no such layer")
    other.get_by_role("button", name="Show all").click()
    expect(other.locator(".shown")).to_have_text("4 of 4")
    expect(other.get_by_role("checkbox", name="Trusted only")).not_to_be_checked()
    expect(other).to_have_url(address)
    other.close()

    # A place on the page is not a state of the filter.
    page.goto(f"{address}#concept-1")
    page.reload()
    expect(only).not_to_be_checked()
    assert complaints == []
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    page.close()


@pytest.mark.slow
def test_long_names_stay_within_the_page(browser: Browser, tmp_path: Path) -> None:
    long = HOSTILE + "w" * 300
    run = replace(_dictionary(_concept(0, GOOD, POOR, model=long), model=long), judgement=long)
    (tmp_path / "index.html").write_text(render(run), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.get_by_text("All 2 neurons").click()
    for width in (1280, 800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    page.close()


@pytest.mark.slow
def test_an_address_with_trust_opens_an_unjudged_page(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(render(_plain()), encoding="utf-8")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "index.html").as_uri() + "#t=1")
    expect(page.locator(".shown")).to_have_text("1 of 1")
    assert complaints == []
    page.close()
