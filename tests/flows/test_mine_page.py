"""The atlas of a real run in a real browser, opened from disk."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import expect

from storage import open_run

pytestmark = pytest.mark.slow


@pytest.fixture
def atlas(browser, run):
    """A page, watched: it may neither complain nor ask for anything beyond its folder."""
    folder = (run[0] / "report").as_uri()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{folder}/index.html")
    yield page
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((folder, "data:", "blob:"))] == []


def test_a_walk_through_the_run(atlas, run):
    root, printed = run
    counts, told = printed["counts"], open_run(root)
    assert f"{counts['clusters']} concept" in atlas.inner_text("h1")
    expect(atlas.locator(".figures")).to_contain_text(f"{counts['rosetta']}")
    atlas.get_by_role("heading", name="The matches at large").scroll_into_view_if_needed()
    expect(atlas.locator("svg.plot")).to_have_count(4 + len(told.models) - 1)

    atlas.get_by_role("link", name="All concepts").click()
    search = atlas.get_by_role("combobox", name=re.compile("^Search"))
    search.fill("no-such-layer")
    expect(atlas.locator(".card")).to_have_count(0)
    best = told.concept(0).members
    layer, unit = best.loc[best["model"] == "lite0", ["layer", "unit"]].iloc[0]
    search.fill(f"lite0 {layer} unit {unit}")
    expect(atlas.locator('.card[data-concept="0"]')).to_be_visible()
    expect(atlas).to_have_url(re.compile("q=lite0"))
    search.press("Escape")  # the list would lie over the cards
    atlas.locator('.card[data-concept="0"]').click()

    expect(atlas.locator("h1")).to_have_text("Concept 0")
    anchor = best.loc[best["model"] == told.anchor].iloc[0]
    peaks = told.activations(told.anchor)[anchor["layer"]].peak[:, anchor["channel"]].to_numpy()
    assert atlas.locator(".dictionary [data-image]").first.get_attribute("data-image") == str(peaks.argmax())
    atlas.locator(".dictionary a.thumb").first.click()
    expect(atlas.locator("h1")).to_have_text(f"Image {peaks.argmax()}")
    atlas.locator(".target").click(position={"x": 40, "y": 40})
    expect(atlas.get_by_role("heading", name="Strong at this place")).to_be_visible()


@pytest.mark.parametrize("table", ["units", "buddies", "rosetta", "clusters", "trust"])
def test_each_csv_is_its_table(atlas, run, table):
    atlas.get_by_role("link", name="Tables").click()
    atlas.get_by_role("link", name=table, exact=True).click()
    with atlas.expect_download() as waiting:
        atlas.get_by_role("button", name=f"Download {table}.csv").click()
    frame = pd.read_parquet(run[0] / f"tables/{table}.parquet")
    with Path(waiting.value.path()).open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(frame.columns)
    found = pd.read_csv(
        waiting.value.path(), dtype={name: str for name in frame if frame[name].dtype.kind not in "iufb"}
    )
    assert len(frame) > 0
    pd.testing.assert_frame_equal(
        found.astype(frame.dtypes.to_dict()), frame.reset_index(drop=True), check_exact=False, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_nothing_sticks_out_sideways(atlas, width):
    atlas.set_viewport_size({"width": width, "height": 900})
    atlas.get_by_role("heading", name="The matches at large").scroll_into_view_if_needed()
    expect(atlas.locator("svg.plot").first).to_be_visible()
    assert atlas.evaluate("document.documentElement.scrollWidth") <= width
