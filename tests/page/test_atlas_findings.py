"""What is known of concepts, on the page: names, labels, classes, causes; and what was not measured."""

import csv
import re
from pathlib import Path

import pytest
from atlas_page import CONCEPTS, HOSTILE, LONG, columns, concept, in_order, label, trusted, word, write
from atlas_view import ids, query
from playwright.sync_api import expect

from rosetta.view.atlas.script import put

pytestmark = pytest.mark.slow

UNKNOWN = ("name", "name_score", "label", "iou", "class", "auroc", "effect", "effect_q")


def test_a_card_says_what_is_known(atlas):
    card = atlas.go("concepts").locator('[data-concept="0"]')
    assert card.locator(".called").text_content() == word(0)
    assert card.locator(".line.quiet").all_inner_texts()[1:] == [
        f"{label(0)}\nIoU 0.30",
        "effect\n0.00",
        f"{' '.join(HOSTILE.split())}\nAUROC 0.50",
    ]
    card = atlas.go("concepts?sort=id").locator('[data-concept="4"]')
    assert card.locator(".called").text_content() == label(4), "no word: its label"
    assert card.locator(".line.quiet").all_inner_texts()[1] == "IoU\n0.30", "which is not said twice"


def test_names_of_concepts_are_text(atlas):
    page = atlas.go("concept/2")
    assert page.locator("h1 .called").text_content() == f" {HOSTILE}"
    page = atlas.go("concept/3")
    assert page.locator("h1 .called").text_content() == f" {LONG}"
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    page = atlas.go("concepts?named=1")
    page.get_by_label("Label of masks").select_option(HOSTILE)
    assert query(page)["label"] == HOSTILE
    wanted = in_order(c for c in range(CONCEPTS) if label(c) == HOSTILE)
    expect(page.locator(".shown")).to_contain_text(f"{len(wanted)} of 120")
    assert ids(page) == wanted[: len(ids(page))]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", lambda c: (word(c) or label(c) is None, word(c) or label(c) or "", c)),
        ("iou", None), ("auroc", None), ("effect", None), ("effect_q", None), ("mean", None),
    ],
)  # fmt: skip
def test_sort_by_what_is_known(atlas, sort, order):
    page = atlas.go("concepts")
    page.get_by_label("Sort by").select_option(sort)
    values, sign = columns().get(sort), 1 if sort == "effect_q" else -1
    if sort == "name":
        values = [word(c) or label(c) for c in range(CONCEPTS)]
        wanted = sorted(range(CONCEPTS), key=lambda c: (values[c] is None, values[c] or "", c))
    else:
        wanted = sorted(range(CONCEPTS), key=lambda c: (values[c] is None, sign * (values[c] or 0), c))
    expect(page.locator(".grid .card").first).to_have_attribute("data-concept", str(wanted[0]))
    assert ids(page) == wanted[: len(ids(page))]


def test_trusted_concepts_come_first(atlas):
    page = atlas.go("concepts")
    expect(page.get_by_label("Sort by")).to_have_value("first")
    shown = ids(page)
    assert shown == in_order(range(CONCEPTS))[: len(shown)]
    assert trusted(shown[0])
    page.get_by_label("Sort by").select_option("mean")
    assert ids(page)[:4] == [0, 1, 2, 3]
    page.get_by_label("Sort by").select_option("first")
    assert query(page) == {}


def test_filters_by_what_is_known(atlas):
    page = atlas.go("concepts")
    page.get_by_text("By name, label, class and effect").click()
    page.get_by_label("with a name").check()
    page.get_by_label("Least IoU of the label").fill("0.2")
    page.get_by_label("Least AUROC of the class").fill("0.7")
    page.get_by_label("Least causal effect").fill("0.3")
    page.get_by_label("Highest q of the causal effect").fill("0.25")
    told = columns()
    wanted = in_order(
        c for c in range(CONCEPTS)
        if label(c) and told["auroc"][c] >= 0.7 and told["effect"][c] >= 0.3 and told["effect_q"][c] <= 0.25
    )  # fmt: skip
    assert 0 < len(wanted) < 30
    expect(page.locator(".shown")).to_contain_text(f"{len(wanted)} of 120")
    assert ids(page) == wanted
    place = page.url.partition("#/")[2]
    page = atlas.go(place)
    assert ids(page) == wanted, "kept in the address, and unfolded"
    expect(page.get_by_label("Least causal effect")).to_have_value("0.3")
    atlas.go("concepts?q_=1&iou=none&q=&effect=1e999")
    expect(page.locator(".grid .card").first).to_be_visible()


def test_a_concept_says_what_was_measured(atlas):
    page = atlas.go("concept/6")
    names = page.get_by_role("region", name="Words that fit it").locator("tbody tr")
    assert names.first.locator("bdi").text_content() == word(6)
    assert names.first.locator("td").all_inner_texts()[1:] == ["3.20", "1.50"]
    expect(names.locator(".chip")).to_have_count(1)
    assert page.get_by_role("region", name="Masks").locator("td.n").all_inner_texts() == ["0.3", "0.01"]
    classes = page.get_by_role("region", name="Classes that").locator("tbody td")
    assert classes.all_inner_texts()[1:] == ["12", "0.91", "5.50", "1.25"]
    causes = page.get_by_role("region", name="Causes").locator("tbody tr")
    expect(causes).to_have_count(2)
    assert causes.first.locator("td.n").all_inner_texts() == ["0.20", "0.01", "5.0 %", "0.04", "4.0e−4"]
    quiet = page.locator(".silenced")
    expect(quiet).to_contain_text("Without its 3 units the output moves by 21 % of its length")
    assert quiet.locator("tbody bdi").all_text_contents() == [HOSTILE, "class 8"]
    expect(page.get_by_text("What is not known of it yet")).to_have_count(0)
    page = atlas.go("concept/7")
    expect(page.get_by_text("rosetta ablate 'runs/it'\\''s here' --silence --concepts 7 --replace")).to_be_visible()
    expect(page.locator(".silenced")).to_have_count(0)


def test_a_run_of_which_nothing_is_known(browser, tmp_path):
    """Nothing empty: no heading, no filter, no sort; and the commands in one place."""
    nothing = dict.fromkeys(UNKNOWN, [None] * CONCEPTS)
    none_found = dict.fromkeys(("called", "name", "label", "class", "effect"), 0)
    shown = {**columns(), **nothing}
    outdated = [{"table": "tables/masks.parquet", "command": "rosetta label"}]
    path = write(
        tmp_path, found=none_found, outdated=outdated, strongest={name: one[:12] for name, one in shown.items()},
    )  # fmt: skip
    (tmp_path / "data/concepts.js").write_bytes(put("concepts", shown))
    value = {**concept(5), "found": dict.fromkeys(("names", "labels", "classes", "causes", "silenced"))}
    (tmp_path / "data/concept/5.js").write_bytes(put("concept/5", value))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{path.as_uri()}#/concepts")
    expect(page.locator(".grid .card").first).to_be_visible()
    expect(page.locator(".called, details.known")).to_have_count(0)
    assert page.get_by_label("Sort by").locator("option").all_inner_texts() == [
        "Trusted first", "Correlation", "Held-out r", "Trusted neurons", "Neurons", "Depth", "Number", "Fit of the word",
    ]  # fmt: skip
    page.goto(f"{path.as_uri()}#/concept/5")
    expect(page.get_by_role("heading", name="Concept 5", exact=True)).to_be_visible()
    for heading in ("What it is", "What it does"):
        expect(page.get_by_role("heading", name=heading)).to_have_count(0)
    commands = page.locator("#use-title ~ .command code").all_text_contents()
    root = "'runs/it'\\''s here'"
    assert commands[-4:] == [
        f"rosetta label {root} --text open_clip/ViT-B-32.laion2b_s34b_b79k",
        f"rosetta label {root} --masks torchvision/lraspp_mobilenet_v3_large --replace",
        f"rosetta ablate {root}",
        f"rosetta ablate {root} --silence --concepts 5",
    ]
    page.goto(f"{path.as_uri()}#/overview")
    expect(page.locator(".notice").nth(1)).to_contain_text("tables/masks.parquet is about an earlier dictionary")
    assert "named" not in page.locator(".figures").inner_text()
    page.close()


def test_the_first_picture_shows_the_strongest_concept(atlas):
    page = atlas.go("overview")
    expect(page.locator(".example .tile")).to_have_count(3 * 5)
    expect(page.locator(".first figcaption a")).to_have_attribute("href", "#/concept/0")
    assert page.locator(".example").get_attribute("aria-label").startswith("Maps of g, lite0, ")
    box, text = (page.locator(where).bounding_box() for where in (".first", ".lede"))
    assert box["x"] > text["x"] + 300, "beside the words"
    atlas.page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator(".first").bounding_box()["y"] > page.locator(".figures").bounding_box()["y"]


@pytest.mark.parametrize("width", [1440, 900, 390])
@pytest.mark.parametrize("view", ["overview", "concepts?named=1", "concept/2", "concept/3", "tables/labels"])
def test_names_of_any_length_stay_inside(atlas, view, width):
    atlas.page.set_viewport_size({"width": width, "height": 800})
    page = atlas.go(view)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('.card .line')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert page.evaluate(wide) == 0


def test_names_in_csv(atlas):
    page = atlas.go("tables/labels")
    expect(page.locator(".intro")).to_contain_text("Rows of numbers. 120 rows, 2 columns.")
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("Download labels.csv")).click()
    with Path(waiting.value.path()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [name for _, name in rows] == [word(c) or "" for c in range(CONCEPTS)]
