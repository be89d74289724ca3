"""The page of a join in a browser, with names that try to leave their place."""

from dataclasses import replace

import numpy as np
import pytest

from rosetta.view.join.contents import LINK_COLUMNS, JoinConcept, JoinPage, Side, Table
from rosetta.view.join.page import render_join
from rosetta.view.pictures.sprite import webp

HOSTILE = "</title></style><img src=x onerror='hacked=1'><script>hacked=1</script>&\"'"
LONG = "synthesis" * 30
SIDES = tuple(
    Side(name, f"{LONG} channel 1", "pictures/0 #?.webp", (f"image {HOSTILE}",), home="javascript:hacked=1")
    for name in (HOSTILE, LONG)
)
CONCEPT = JoinConcept(0, (HOSTILE, LONG), True, HOSTILE + LONG, SIDES, ((HOSTILE, LONG, *("0.5",) * 6),))
TABLE = Table("chance", "Chance", (HOSTILE, LONG), ((HOSTILE, LONG),), note=HOSTILE)
PAGE = JoinPage(
    title=f"{HOSTILE} and {LONG}", lede=HOSTILE, concepts=(CONCEPT,), left_out=2, tables=(TABLE,),
    settings=((HOSTILE, LONG),), fingerprint="0" * 64, command=f"rosetta join {HOSTILE} {LONG}",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_names_stay_text_and_the_page_fits(browser, tmp_path, width, scheme):
    (tmp_path / "pictures").mkdir()
    (tmp_path / SIDES[0].picture).write_bytes(webp(np.zeros((2, 1, 8, 8, 3), np.uint8)))
    path = tmp_path / "index.html"
    path.write_text(render_join(PAGE), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.locator("summary", has_text="Units that link them").click()
    page.locator("figure img").first.evaluate("image => image.decode()")
    assert page.title() == f"{PAGE.title} · join"
    assert page.locator("h1").inner_text() == PAGE.title
    assert page.locator("thead").first.locator("th").all_inner_texts() == list(LINK_COLUMNS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    page.locator("#theme").click()
    assert {dark, page.evaluate("getComputedStyle(document.documentElement).colorScheme")} == {"light", "dark"}
    assert all(link.startswith("file:") for link in page.eval_on_selector_all("a", "links => links.map((a) => a.href)"))
    assert page.evaluate("window.hacked") is None
    page.close()
    assert complaints == []


def test_a_row_that_does_not_fit_its_headings_is_an_error():
    with pytest.raises(ValueError, match="a row of 1 texts stands below 2 headings"):
        render_join(replace(PAGE, tables=(replace(TABLE, rows=(("one",),)),)))
