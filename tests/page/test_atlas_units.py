"""The page of a unit in a real browser: its images under its maps, its values, its neighbours, what is known of it."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from atlas_page import (
    CHANNELS,
    HOSTILE,
    IMAGES,
    MODELS,
    NEIGHBOURS,
    PER_FILE,
    SIGNS,
    place,
    shade,
    unit_images,
    unit_index,
    write,
)
from atlas_view import query, unit_address
from PIL import Image
from playwright.sync_api import expect

from tasks.report.atlas.unit_files import FILE

pytestmark = pytest.mark.slow
FULL = unit_address("lite0", "blocks.31", 7)
"""Channel 7 is the one of which everything is known."""
HIGH = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [sum, down, across] = [0, 0, 0];
  for (let place = 0; place < width * height; place += 1) {
    const cover = data[place * 4 + 3];
    sum += cover;
    down += cover * (Math.floor(place / width) + .5) / height;
    across += cover * (place % width + .5) / width;
  }
  return [down / sum, across / sum];
}"""


def test_every_image_of_its_rows_is_under_its_map(atlas):
    page = atlas.go(FULL)
    thumbs = page.locator(".strip .thumb")
    expect(thumbs).to_have_count(20)
    assert [thumb.get_attribute("href") for thumb in thumbs.all()] == [f"#/image/{one}" for one in unit_images(7)]
    assert thumbs.locator(".peak").all_inner_texts()[:3] == ["2", "1.95", "1.9"]
    for number in (0, 11, 19):
        tile = thumbs.nth(number).locator("canvas")
        tile.scroll_into_view_if_needed()
        y, x = place(7)
        assert tile.evaluate(HIGH) == pytest.approx([(y + 0.5) / 16, (x + 0.5) / 16], abs=0.02)
        assert f"thumbs/{unit_images(7)[number]}.webp" in thumbs.nth(number).locator(".picture").get_attribute("style")
    told = [" ".join(line.split()) for line in page.locator(".band h3").all_inner_texts()]
    assert told == [
        "Strong 90th percentile of the peaks, ranks 3 to 6 of 40",
        "Middling median, ranks 19 to 22 of 40",
        "Weak 10th percentile, ranks 34 to 37 of 40",
    ]
    thumbs.nth(12).click()
    expect(page.get_by_role("heading", name=f"Image {unit_images(7)[12]}")).to_be_visible()


def test_how_it_is_drawn_goes_along_to_the_next_unit(atlas):
    page = atlas.go(FULL)
    page.get_by_role("button", name="Contours").click()
    page.get_by_label("Opacity of the map").fill("0.6")
    page.get_by_role("button", name="deviation").click()
    expected = {"show": "contour", "opacity": "0.6", "sort": "std"}
    assert query(page) == expected
    assert page.locator(".strip canvas").first.evaluate("one => getComputedStyle(one).opacity") == "0.6"
    page.locator("h1").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text("blocks.31·8")
    assert query(page) == expected
    page.keyboard.press("3")
    assert query(page) == {**expected, "show": "plain"}
    page.keyboard.press("ArrowLeft")
    expect(page.locator("h1")).to_have_text("blocks.31·7")


def test_its_maps_beside_those_of_its_neighbours(atlas):
    page = atlas.go(unit_address("g", "main.2", 7))
    table = page.get_by_role("table", name="Maps of this unit and of its nearest ones")
    columns = table.get_by_role("columnheader")
    expect(columns).to_have_count(2 + 4)
    assert columns.nth(1).locator("bdi").first.text_content() == "g"
    assert columns.nth(3).locator("bdi").first.text_content() == HOSTILE
    expect(columns.nth(5)).to_contain_text("untrained (control)")
    expect(columns.nth(2)).to_contain_text("r 0.50, mutual")
    assert columns.nth(2).locator("a.unit").get_attribute("href") == f"#/{unit_address('lite0', 'blocks.3', 0)}"
    rows = table.locator(".row[data-image]")
    assert [row.get_attribute("data-image") for row in rows.all()] == [str(one) for one in unit_images(7)[:8]]
    expect(rows.first.locator("canvas")).to_have_count(5)


def test_the_histogram_says_what_it_counts(atlas):
    page = atlas.go(FULL)
    bars = page.locator("svg.histogram .bar")
    expect(bars).to_have_count(5)
    heights = [float(bar.get_attribute("height")) for bar in bars.all()]
    assert heights.index(max(heights)) == 1
    assert heights[0] / heights[1] == pytest.approx(1.0414 / 3.0004, abs=1e-3), "logarithms of the counts"
    expect(page.locator("figure.spread")).to_contain_text(f"1,017 values, at all positions of all {IMAGES} images")
    expect(page.locator("figure.spread")).to_contain_text("Half of its positive activation lies in 20 % of the images")
    mean = float(page.locator("svg.histogram .mean").get_attribute("x1"))
    assert mean == pytest.approx(46 + (640 - 46 - 12) * (0.5 + 1) / 3)
    expect(atlas.go(unit_address("lite0", "blocks.31", 3)).get_by_text("the same value everywhere")).to_be_visible()


def test_a_run_that_keeps_some_images_says_so(atlas, tmp_path):
    atlas.address = write(tmp_path, indices=[7 * one + 3 for one in range(IMAGES)], seen=300).as_uri()
    page = atlas.go(FULL)
    expect(
        page.get_by_text(f"Of the {IMAGES} images whose maps were kept; statistics are over all 300")
    ).to_be_visible()
    expect(page.locator("figure.spread")).to_contain_text(f"{IMAGES} images whose maps were kept; mean and deviation")
    first = page.locator(".strip .thumb").first
    expect(first).to_contain_text(f"image {7 * unit_images(7)[0] + 3}")
    assert first.get_attribute("href") == f"#/image/{7 * unit_images(7)[0] + 3}"


def test_a_unit_with_fewer_maps_says_so(atlas):
    page = atlas.go(unit_address("lite0", "blocks.31", 4))
    expect(page.get_by_text("the maps of only 8 images are kept here")).to_be_visible()
    expect(page.locator(".strip .thumb")).to_have_count(20)
    expect(page.get_by_label("Its map is not kept")).to_have_count(12)
    expect(page.locator(".dictionary")).to_have_count(0)
    expect(page.locator(".near li")).to_have_count(NEIGHBOURS)


def test_what_is_known_of_it_is_text(atlas):
    page = atlas.go(FULL)
    facts = page.locator(".identity .facts").nth(1)
    assert facts.locator("bdi").first.text_content() == HOSTILE
    expect(facts).to_contain_text("IoU 0.12")
    expect(facts).to_contain_text("in concept 55 as part of neuron 1055 trusted")
    expect(facts).to_contain_text("in concept 3 as part of neuron 1003")
    classes = page.locator("table.profile tbody tr")
    assert classes.first.locator("bdi").text_content() == HOSTILE
    assert classes.nth(1).locator("td").all_inner_texts()[1:] == ["0.70", "2", "1.1", "8"]
    causes = page.get_by_role("region", name="Causes").locator("tbody tr")
    assert causes.first.locator("td").all_text_contents() == [
        "main.2·9", "0.21", "0.001", "0.4", "2.0 %", "0.0244", "0.03",
    ]  # fmt: skip
    expect(page.get_by_role("heading", name="What it follows")).to_be_visible()
    silenced = page.locator(".silenced")
    expect(silenced).to_contain_text("With the 4 units of concept 55 in this model silenced")
    expect(silenced).to_contain_text("moves by 12 % of its length; with random units 4.0 %, p 0.05")
    assert silenced.locator("bdi").first.text_content() == HOSTILE
    page = atlas.go(unit_address("g", "main.2", 7))
    expect(page.get_by_role("heading", name="What ablating it does")).to_be_visible()
    expect(page.get_by_role("region", name="Causes").locator("tbody tr")).to_have_count(len(MODELS) - 1)


def test_the_units_of_a_layer_can_be_sorted(atlas):
    page = atlas.go(FULL)
    rows = page.locator("table.sorted tbody tr")
    expect(rows).to_have_count(25)
    expect(page.locator("table.sorted tr[aria-current] th")).to_have_text("·7")
    page.get_by_role("button", name="Show all 48").click()
    expect(rows).to_have_count(CHANNELS)
    page.get_by_role("button", name="IoU").click()
    values = unit_index(1, 1)["iou"]
    falling = sorted(range(CHANNELS), key=lambda one: (values[one] is None, -(values[one] or 0), one))
    assert page.locator("table.sorted tbody th").all_inner_texts() == [f"·{one}" for one in falling]
    page.get_by_role("button", name="IoU").click()
    rising = sorted(range(CHANNELS), key=lambda one: (values[one] is None, values[one] or 0, one))
    assert page.locator("table.sorted tbody th").all_inner_texts() == [f"·{one}" for one in rising]
    assert query(page) == {"sort": "iou", "order": "rising"}
    shared = page.url.partition("#/")[2]
    page = atlas.go(shared)
    expect(page.locator("table.sorted th[aria-sort=ascending]")).to_have_text("IoU↑")
    page.locator("table.sorted tbody a").first.click()
    expect(page).to_have_url(re.compile(r"/1\?sort=iou&order=rising$"))
    assert "AUROC" not in page.locator("table.sorted thead").inner_text(), "measured of no unit"


@pytest.mark.parametrize("width", [1440, 900, 390])
@pytest.mark.parametrize("unit", [FULL, unit_address("g", HOSTILE, 7), unit_address(HOSTILE, SIGNS, 3)])
def test_nothing_of_a_unit_sticks_out_sideways(atlas, unit, width):
    atlas.page.set_viewport_size({"width": width, "height": 800})
    page = atlas.go(unit)
    expect(page.locator("table.sorted")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_little_comes_before_the_first_picture_of_a_unit(atlas):
    page = atlas.go(FULL)
    expect(page.locator("table.sorted")).to_be_visible()
    page.wait_for_timeout(300)
    names = [Path(url.partition("#")[0].removeprefix("file://")) for url in atlas.requests if url.startswith("file:")]
    first = next(place for place, path in enumerate(names) if path.suffix == ".webp")
    assert {path.name for path in names[:first]} == {"index.html", "1.1.7.js"}
    assert max(1, FILE // names[first - 1].stat().st_size) == PER_FILE, "as many units a file as a run of these has"
    assert sum(path.stat().st_size for path in set(names[:first])) < 200_000
    assert {path.name for path in names if path.parent.name == "thumbs"} == {f"{one}.webp" for one in unit_images(7)}
    assert not [path for path in names if path.parent.name == "images"], "no sheet for a few of its pictures"


def test_the_image_under_the_map_is_the_right_one(atlas):
    page = atlas.go(FULL)
    tile = page.locator(".strip .tile").nth(3)
    page.get_by_label("Opacity of the map").fill("0")
    page.wait_for_timeout(300)
    picture = Image.open(BytesIO(tile.screenshot())).convert("RGB")
    assert picture.getpixel((picture.width // 2, picture.height // 2)) == pytest.approx(shade(unit_images(7)[3]), abs=3)
