"""The atlas in a real browser, opened from disk."""

import csv
import re
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from atlas_page import (
    CONCEPTS,
    EXPLAINED,
    HOSTILE,
    IMAGES,
    LONG,
    MODELS,
    SIGNS,
    SOURCE,
    place,
    shade,
    strength,
    tables,
)
from atlas_view import KEPT, ids, query, unit_address
from PIL import Image
from playwright.sync_api import expect

from rosetta.view.atlas.page import script

pytestmark = pytest.mark.slow


def test_the_script_can_stand_in_a_page():
    """It goes in as it is: nothing in it may end it early, and no source is forgotten."""
    assert not re.search(r"</script|<!--|<script", script(), re.IGNORECASE)
    sources = (files("rosetta.view") / "templates" / "atlas" / "script").iterdir()
    code = {
        source.name: [
            line for line in map(str.strip, source.read_text().splitlines()) if not line.startswith(("/*", "*", "//"))
        ]
        for source in sources
    }
    assert [name for name, lines in code.items() if max(lines, key=len) not in script()] == []


def test_little_comes_before_the_first_picture(atlas):
    atlas.go("overview").wait_for_timeout(500)
    first = next(place for place, url in enumerate(atlas.requests) if url.endswith(".webp"))
    before = {Path(url.partition("#")[0].removeprefix("file://")) for url in atlas.requests[:first] if "file:" in url}
    assert {path.name for path in before} == {"index.html"}
    assert sum(path.stat().st_size for path in before) < 200_000


def test_overview(atlas):
    page = atlas.go("overview")
    headline = " ".join(page.inner_text("h1").split())
    assert headline == "60 trusted neurons, in 40 of 120 concepts that 4 models share"
    rows = page.locator("table.models tbody tr")
    expect(rows).to_have_count(len(MODELS))
    assert "28 %" in rows.nth(0).inner_text(), "40 of 144 units are matched"
    assert rows.nth(1).locator("td").nth(-3).inner_text() == "not made", "no control: not 0"
    expect(page.get_by_role("link", name="240 neurons, 31 with images")).to_have_attribute("href", "trust.html#null")
    expect(page.locator("svg.plot")).to_have_count(0)
    page.get_by_role("heading", name="The matches at large").scroll_into_view_if_needed()
    expect(page.locator(".plate > .scroll > svg.plot")).to_have_count(1)
    assert HOSTILE[:8] in page.locator("svg.plot").text_content(), "names in plots are text, too"
    expect(page.get_by_role("link", name="What the tests ask")).to_have_attribute("href", "trust.html")
    shown = page.locator(".shelf .card").evaluate_all("cards => cards.map((card) => Number(card.dataset.concept))")
    assert shown == list(range(12))
    page.get_by_role("link", name="All concepts").click()
    expect(page).to_have_url(re.compile(r"#/concepts$"))


def test_only_cards_in_sight_exist_and_all_can_be_reached(atlas):
    page = atlas.go("concepts")
    assert ids(page)[:3] == [0, 3, 6], "trusted first"
    assert len(ids(page)) < 70
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(f'[data-concept="{CONCEPTS - 1}"]')).to_be_visible()
    assert len(ids(page)) < 70


def test_sort(atlas):
    page = atlas.go("concepts")
    page.get_by_label("Sort by").select_option("size")
    assert query(page) == {"sort": "size"}
    expect(page.locator(".grid .card").first).to_have_attribute("data-concept", "5")
    page.get_by_label("Turn the order").click()
    expect(page.locator(".grid .card").first).to_have_attribute("data-concept", "0")
    page.get_by_label("Sort by").select_option("depth")
    assert query(page) == {"sort": "depth", "order": "turned"}
    page.get_by_label("Sort by").select_option("trusted")
    page.get_by_label("Turn the order").click()
    expect(page.locator(".grid .card").first).to_have_attribute("data-concept", "3")
    expect(page.locator(".grid .card").first).to_contain_text("2 of 4 neurons trusted")


def test_concept(atlas):
    page = atlas.go("concepts?sort=id")
    page.locator('[data-concept="4"]').click()
    expect(page.get_by_role("heading", name="Concept 4")).to_be_focused()
    tiles = page.locator(".dictionary [data-image]")
    expect(tiles).to_have_count(8 * 4)
    assert tiles.first.get_attribute("data-image") == "0"
    expect(page.locator(".dictionary a.thumb").first).to_have_attribute("href", "#/image/0")
    page.get_by_role("button", name="By agreement").click()
    expect(tiles.first).to_have_attribute("data-image", str(IMAGES - 1))
    page.get_by_role("button", name="Contours").click()
    page.get_by_label("Opacity of the map").fill("0.6")
    assert query(page) == {"rank": "agreement", "show": "contour", "opacity": "0.6"}
    assert page.locator("canvas").first.evaluate("canvas => getComputedStyle(canvas).opacity") == "0.6"
    expect(page.locator(".head .ends").nth(3)).to_have_text("01230")
    page.get_by_text("All further buddies (2)").click()
    expect(page.locator(".fold tbody tr")).to_have_count(2)
    expect(page.locator("svg.scatter")).to_have_count(3)
    expect(page.locator("svg.scatter").first.locator("circle")).to_have_count(40)
    expect(page.get_by_text(f"rosetta edit 'runs/it'\\''s here' --image {IMAGES - 1} --remove 4")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Concept 5")).to_be_visible()
    assert query(page) == {"rank": "agreement", "show": "contour", "opacity": "0.6"}, "shown as the one before"
    page.go_back()
    expect(page.get_by_role("heading", name="Concept 4")).to_be_visible()


@pytest.mark.parametrize("number", [8, 16])
def test_the_overlay_is_where_the_map_is_high(atlas, number):
    page = atlas.go(f"concept/{number}")
    y, x = place(number)
    tile = page.locator('[data-image="3"][data-model="1"] .tile')
    tile.scroll_into_view_if_needed()
    found = tile.locator("canvas").evaluate(
        """canvas => {
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          let [best, sum, down, across] = [-1, 0, 0, 0];
          for (let place = 0; place < width * height; place += 1) {
            const cover = data[place * 4 + 3];
            best = Math.max(best, cover);
            sum += cover;
            down += cover * (Math.floor(place / width) + .5) / height;
            across += cover * (place % width + .5) / width;
          }
          const corner = data[3 + 4 * (width * (height - 1) + width - 1)];
          return { y: down / sum, x: across / sum, best, corner };
        }"""
    )
    assert found["y"] == pytest.approx((y + 0.5) / 16, abs=0.02)
    assert found["x"] == pytest.approx((x + 0.5) / 16, abs=0.02)
    assert found["best"] == pytest.approx(255 * strength(number, 3) ** 0.8, abs=1), "as strong as the map says"
    assert found["corner"] == 0, "where the map is low the image shows"


def looked_at(tile):
    """The colour on the screen at a position of a tile's 16 × 16."""
    tile.scroll_into_view_if_needed()
    tile.page.wait_for_timeout(300)
    picture = Image.open(BytesIO(tile.screenshot())).convert("RGB")

    def at(row: int, column: int) -> tuple[int, int, int]:
        return picture.getpixel((int((column + 0.5) / 16 * picture.width), int((row + 0.5) / 16 * picture.height)))

    return at


def test_what_the_eye_gets_is_the_image_under_the_heat(atlas):
    """Pixels of the screen: heat at the spot, the image's own colour away from it."""
    page = atlas.go("concept/8")
    y, x = place(8)
    tile = page.locator('[data-image="3"][data-model="2"] .tile')
    at = looked_at(tile)
    assert at(1, 14) == pytest.approx(shade(3), abs=3)
    assert at(y, x)[0] > 150
    page.get_by_role("button", name="Map", exact=True).click()
    at = looked_at(tile)
    assert at(1, 14) == pytest.approx((66, 10, 104), abs=3), "a plain map covers the image"


def test_contours_run_round_the_spot(atlas):
    """Every piece of a line lies where the field is at its level, and lines close."""
    page = atlas.go("overview")
    pieces, values = page.evaluate(
        """() => {
          const cells = 32, lattice = new Float32Array(33 * 33);
          const spot = (y, x, wide) => Math.exp(-(y * y + x * x) / wide);
          for (let y = 0; y <= cells; y += 1) for (let x = 0; x <= cells; x += 1)
            lattice[y * 33 + x] = 255 * spot(y - 10, x - 20, 40) + 200 * spot(y - 18, x - 12, 30);
          return [atlas.maps.contour(lattice, cells, cells, 100), Array.from(lattice)];
        }"""
    )
    lattice = np.array(values).reshape(33, 33)
    ends: dict[tuple[float, float], int] = {}
    for y0, x0, y1, x1 in pieces:
        for y, x in ((y0, x0), (y1, x1)):
            ends[round(y, 4), round(x, 4)] = ends.get((round(y, 4), round(x, 4)), 0) + 1
            a = lattice[int(y), int(x)]
            b = lattice[min(int(np.ceil(y)), 32), min(int(np.ceil(x)), 32)]
            assert a + (y % 1 or x % 1) * (b - a) == pytest.approx(100, abs=0.1), "an end lies on one side of a cell"
    assert set(ends.values()) == {2}
    assert len(pieces) > 40


def test_a_place_in_an_image(atlas):
    page = atlas.go("image/12")
    target = page.locator(".target")
    expect(target.locator(".large")).to_be_visible()
    assert any(url.endswith("pictures/12.webp") for url in atlas.requests), "larger than in its sheet"
    box = target.bounding_box()
    y, x = place(7)
    target.click(position={"x": (x + 0.5) / 16 * box["width"], "y": (y + 0.5) / 16 * box["height"]})
    expect(page.get_by_role("heading", name="Strong at this place")).to_be_visible()
    there = [c for c in range(CONCEPTS) if place(c) == place(7)]
    best = max(there, key=lambda c: strength(c, 12))
    listed = page.eval_on_selector_all(".ranking li", "items => items.map((item) => Number(item.dataset.concept))")
    assert strength(listed[0], 12) == strength(best, 12)
    here = page.locator(".ranking li small").first.inner_text()
    assert here.endswith("% of its scale here")
    assert int(here.split()[0]) == pytest.approx(100 * strength(best, 12), abs=1), "the peak's own label"
    assert set(listed[: len(there)]) == set(there)
    assert set(query(page)) == {"x", "y"}
    page.get_by_label(f"Draw concept {listed[2]} over").click()
    assert query(page)["concept"] == str(listed[2])
    shared = page.url.partition("#/")[2]
    atlas.go("overview")
    atlas.go(shared)
    assert page.get_attribute(".ranking li[aria-current]", "data-concept") == str(listed[2])
    expect(page.get_by_text(f"Drawn: concept {listed[2]}")).to_be_visible()
    target.focus()
    page.keyboard.press("ArrowUp")
    assert float(query(page)["y"]) == pytest.approx((y + 0.5) / 16 - 0.04, abs=0.01)
    assert page.locator(".facts bdi").text_content() == SOURCE


def test_unit(atlas):
    page = atlas.go(unit_address(HOSTILE, SIGNS, 9))
    expect(page.get_by_label("Channel", exact=True)).to_have_value("9")
    expect(page.locator("#top-title ~ .strip .thumb")).to_have_count(8)
    assert page.locator(".near li").count() == 5
    expect(page.get_by_label("mutual", exact=True)).to_have_count(2)
    page.get_by_label("Model", exact=True).focus()
    page.get_by_label("Model", exact=True).select_option("0")
    expect(page).to_have_url(re.compile("#/unit/g/main.2/0$"))
    expect(page.locator(".near")).to_have_count(4)
    expect(page.get_by_label("Model", exact=True)).to_be_focused()
    page.get_by_label("Layer", exact=True).select_option("1")
    expect(page).to_have_url(re.compile("#/unit/g/main.5/0$"))
    page.get_by_label("Channel", exact=True).select_option("7")
    page.get_by_role("link", name="in concept 55").click()
    expect(page.get_by_role("heading", name="Concept 55")).to_be_visible()


def test_every_table_as_csv(atlas):
    page = atlas.go("tables/buddies")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download buddies.csv").click()
    assert waiting.value.suggested_filename == "buddies.csv"
    with Path(waiting.value.path()).open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    table = tables()["buddies"]
    assert head == list(table)
    read = {"pearson": float, "q_value": float, "rank_ab": int, "trusted": {"true": True, "false": False}.get}
    for name, values in zip(head, zip(*rows, strict=True), strict=True):
        convert = read.get(name, str)
        assert [convert(value) if value else None for value in values] == table[name]
    page.get_by_role("button", name="rank_ab").click()
    page.get_by_role("button", name="rank_ab").click()
    assert page.locator(".preview tbody tr").count() == 200
    expect(page.locator("th[aria-sort=descending]")).to_have_text("rank_ab↓")
    assert page.locator(".preview tbody tr").first.locator("td").nth(4).inner_text() == "5"


def test_commands_can_be_copied(atlas):
    page = atlas.go("concept/4")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the command that draws a figure of this concept").click()
    expect(page.get_by_role("button", name="Copy the command that draws a figure")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "rosetta report 'runs/it'\\''s here' --figure 4"
    page = atlas.go("image/4")
    expect(page.get_by_text("rosetta report 'runs/it'\\''s here' --dictionary 4")).to_be_visible()


def test_who_wants_no_motion_gets_none(atlas):
    atlas.page.emulate_media(reduced_motion="reduce")
    page = atlas.go("concepts")
    moving = "[...document.querySelectorAll('*')].some((one) => parseFloat(getComputedStyle(one).transitionDuration))"
    assert not page.evaluate(moving)
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving)


def test_theme(atlas):
    page = atlas.go("overview")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_label("Switch between light and dark").click()
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark, "it is remembered"
    page.get_by_label("Switch between light and dark").click()
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == light, "what was chosen wins"


def test_keyboard(atlas):
    page = atlas.go("concepts")
    page.keyboard.press("/")
    expect(page.get_by_label("Search concepts")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("h1").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-concept="0"]')).to_be_focused()
    page.keyboard.press("ArrowRight")
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    here = page.evaluate("Number(document.activeElement.dataset.concept)")
    assert here > 100, "the focus takes the scroll along"
    expect(page.locator(f'[data-concept="{here}"]')).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Concept {here}")).to_be_visible()
    page.keyboard.press("3")
    assert query(page) == {"show": "plain"}
    page.go_back()
    expect(page.locator(f'[data-concept="{here}"]')).to_be_in_viewport()


VIEWS = [
    "overview",
    "concepts",
    "concept/3",
    "image/3",
    "images",
    "unit/2/0/0",
    "unit/3/0/1",
    "tables/buddies",
    "notes",
    "guided",
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", [900, 360])
def test_nothing_sticks_out_sideways(atlas, view, width):
    atlas.page.set_viewport_size({"width": width, "height": 800})
    page = atlas.go(view)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1100, 1300, 1600])
def test_the_header_has_room_for_all_views(atlas, width):
    atlas.page.set_viewport_size({"width": width, "height": 800})
    page = atlas.go("overview")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate("(nav => nav.scrollWidth - nav.clientWidth)(document.querySelector('header nav'))")
    assert cut <= (0 if width > 1100 else 120), "the run has a long name, which gives way, too"


def test_names_are_text(atlas):
    """Letter for letter; that nothing of them runs, the fixture asks at the end of every test."""
    page = atlas.go("overview")
    assert page.title() == f"Overview · spots {HOSTILE}".strip()
    assert page.locator("table.models tbody tr").nth(2).locator("bdi").first.text_content() == HOSTILE
    assert page.locator("table.models tbody tr").nth(3).locator("bdi").first.text_content() == LONG
    assert HOSTILE in page.locator(".notice").text_content()
    page = atlas.go("concept/3")
    assert page.locator(".dictionary .head bdi", has_text="window.hacked").first.text_content() == HOSTILE
    page.locator(".dictionary .head .col").nth(3).locator("a.unit").click()
    expect(page).to_have_url(re.compile(re.escape(f"#/unit/{quote(HOSTILE, safe=KEPT)}/")))
    assert page.locator(".eyebrow bdi").text_content() == HOSTILE
    page = atlas.go(unit_address("g", HOSTILE, 0))
    assert page.locator("h1 bdi").text_content() == HOSTILE
    assert HOSTILE in page.locator("#unit-layer").text_content()
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0


def test_a_concept_says_how_many_of_its_neurons_pass(atlas):
    page = atlas.go("concept/3")
    expect(page.locator(".facts")).to_contain_text("2 of 4 neurons trusted")
    expect(page.locator(".facts")).to_contain_text(
        "4 beyond chance, above every control: not made, 2 not explained by pixels"
    )
    expect(atlas.go("concept/4").locator(".facts")).to_contain_text("0 of 5 neurons trusted")


def test_a_neuron_that_is_not_trusted_says_which_tests_it_fails(atlas):
    chip = atlas.go("concept/3").locator("table.neurons .chip.bad")
    expect(chip).to_have_text("pixels, not judged")
    expect(chip).to_have_attribute("title", f"pixels explain it {HOSTILE}; some tests could not be made")


def test_the_overview_has_a_column_for_each_test(atlas):
    page = atlas.go("overview")
    columns = page.locator("table.models thead th").all_inner_texts()
    assert columns[-4:] == ["chance", "control", "pixels", "trusted"]
    page.get_by_text("Tests that are reported beside them").click()
    assert page.locator("table.others thead th").all_inner_texts() == ["Model", "halves"]
    assert page.locator("table.others tbody td").all_inner_texts() == ["80"] * (len(MODELS) - 1)


def test_a_match_says_what_was_measured_of_it(atlas):
    told = atlas.go("concept/3").locator("table.neurons .measured").all_inner_texts()
    assert [" ".join(line.split()) for line in told] == [
        "0.31 to 0.52 · held out 0.40 · excess −0.05 · clipped 0.38 · one to one"
    ] * 3, "not of the anchor"


def test_sort_by_what_was_measured(atlas):
    page = atlas.go("concepts")
    sort = page.get_by_label("Sort by")
    assert "Excess" not in sort.locator("option").all_inner_texts(), "measured of no concept"
    sort.select_option("best_held_out")
    first = page.locator(".grid .card").first
    expect(first).to_have_attribute("data-concept", str(CONCEPTS - 1))
    expect(first).to_contain_text("held out 0.60")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator('[data-concept="116"]')).to_contain_text("held out –")


def test_where_models_look_stands_with_the_image(atlas):
    page = atlas.go(f"image/{EXPLAINED}")
    looks = page.locator("section.explained")
    expect(looks).to_have_count(2)
    expect(looks.first.locator("h3")).to_contain_text(f"looks for “cat {HOSTILE}”")
    expect(looks.first).to_contain_text("explains 75 % of this map’s variance. As many random units of the same layers")
    expect(looks.first.locator(".tile")).to_have_count(3)
    expect(looks.first.locator("figcaption a").first).to_have_attribute("href", "#/concept/4")
    expect(looks.last).to_contain_text("0 everywhere")
    expect(page.locator(".ask code").last).to_contain_text("--all")
    page.keyboard.press("3")
    expect(looks.first.locator(".tile").first).to_have_class(re.compile("plain"))


def test_an_image_that_no_model_was_asked_about_says_how(atlas):
    page = atlas.go("image/3")
    expect(page.locator("section.explained")).to_have_count(0)
    expect(page.locator(".ask")).to_contain_text("No model was asked about this image yet")
    expect(page.locator(".ask code").first).to_contain_text(" 3 --model ")


def test_classes_of_a_concept(atlas):
    page = atlas.go("concept/1")
    rows = page.locator("section[aria-labelledby=classes-title] tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"cat {HOSTILE}")
    expect(rows.first).to_contain_text("0.31")
    expect(page.locator(".means .tile")).to_have_count(2)
    expect(atlas.go("concept/2").locator("#classes-title")).to_have_count(0)
