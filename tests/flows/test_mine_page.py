"""The page of a real run in a real browser, opened from disk."""

import re
import shutil

import pytest
from playwright.sync_api import Error, expect, sync_playwright

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so the page is not opened")
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield opened
        opened.close()


def test_the_page(browser, run):
    root, printed = run
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((root / "report" / "index.html").as_uri())

    counts = printed["counts"]
    assert f"{counts['rosetta']} Rosetta neurons" in page.inner_text("body")
    cards = page.locator("article.card")
    assert cards.count() == counts["clusters"]
    picture = cards.first.locator("img")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete", arg=picture.element_handle())
    assert picture.evaluate("image => image.naturalWidth") > 300

    page.get_by_role("searchbox").fill("no such layer")
    expect(cards.filter(visible=True)).to_have_count(0)
    page.get_by_role("searchbox").fill("lite0")
    expect(cards.filter(visible=True)).to_have_count(counts["clusters"])
    expect(page).to_have_url(re.compile("lite0"))

    assert complaints == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
