"""The page of a guided inversion or edit: it says what there is, escapes it, and asks nobody else for anything."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from reader import Reader

from rosetta.view.guided.contents import Film, GuidedImage, GuidedPage, MapSheet, Panel, Summary
from rosetta.view.guided.loss_plot import loss_traces
from rosetta.view.guided.page import render_guided
from rosetta.view.pictures.sprite import TILE, extent, webp

HOSTILE = """x"><script>alert(1)</script>' onload='alert(2) {{ 7*7 }} http://evil.example/a 😀""" + "w" * 300
NAME_SPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def _traces() -> dict[str, dict[str, np.ndarray]]:
    falling = np.exp(-np.arange(40.0) / 10.0)
    return {
        "pixels": {"none": falling, "rosetta": 0.5 * falling},
        "activation": {"none": np.full(40, np.nan), "rosetta": 1.0 - falling},
    }


def _image(name: str = "a", text: str = "") -> GuidedImage:
    return GuidedImage(
        title=text or f"image {name}",
        panels=(
            Panel(text or "target", f"pictures/{name}-target.webp", ()),
            Panel(text or "start", f"pictures/{name}-start.webp", (text or "PSNR 9.4 dB",)),
            Panel(text or "rosetta", f"pictures/{name}-result.webp", (text or "PSNR 28.1 dB", "LPIPS 0.142")),
        ),
        films=(Film(text or "rosetta", f"pictures/{name}-film.webp", 4, (0, 1, 10, 500)),),
        maps=MapSheet(
            (text or "dcgan before", "dcgan asked", "dcgan after", "lite0 before", "alone"),
            (text or "concept 3 · main.5:12", "concept 7 · main.8:1"), f"pictures/{name}-maps.webp",
        ),
        trace=loss_traces(_traces()),
    )  # fmt: skip


def _page(*images: GuidedImage) -> GuidedPage:
    return GuidedPage(
        kind="inversion",
        name="first faces",
        run="faces",
        lede="Two images, inverted with and without Rosetta neurons.",
        summary=Summary(
            ("guidance", "PSNR", "LPIPS"), (("none", "27.9 dB", "–"), ("rosetta", "28.1 dB", "0.142")), "No LPIPS."
        ),
        images=images,
        settings=(("space", "z"), ("steps", "500")),
        fingerprint="cafe0123",
        command="rosetta invert runs/faces --steps 500",
        home="../../report/index.html",
    )


def _hostile() -> GuidedPage:
    return GuidedPage(
        kind="edit", name=HOSTILE, run=HOSTILE, lede=HOSTILE,
        summary=Summary((HOSTILE, HOSTILE), ((HOSTILE, HOSTILE),), HOSTILE),
        images=(_image("a", HOSTILE),), settings=((HOSTILE, HOSTILE),),
        fingerprint=HOSTILE, command=HOSTILE, home="../../report/index.html",
    )  # fmt: skip


def _words(html: str) -> str:
    return " ".join(Reader(html).words.split())


def test_it_says_what_was_done_and_how_well_it_went() -> None:
    words = _words(render_guided(_page(_image())))
    for told in (
        "Guided inversion · run faces", "first faces", "with and without Rosetta neurons", "rosetta 28.1 dB0.142",
        "No LPIPS.", "steps 500", "image a", "target", "PSNR 9.4 dB", "PSNR 28.1 dB LPIPS 0.142", "step 0110500",
        "dcgan asked", "lite0 before", "concept 7 · main.8:1", "activation", "rosetta invert runs/faces", "cafe0123",
    ):  # fmt: skip
        assert told.replace(" ", "") in words.replace(" ", ""), told
    assert "Guided edit" in _words(render_guided(replace(_page(), kind="edit")))


def test_the_way_back_to_the_dictionary() -> None:
    links = Reader(render_guided(_page(_image()))).all("a")
    ways, inside = ([link["href"] for link in links if link["href"].startswith("#") == own] for own in (False, True))
    assert "../../report/index.html#/overview" in ways
    assert all(way.startswith("../../report/") for way in ways)
    assert set(inside) == {"#summary", "#images", "#image-1"}


def test_the_summary_is_a_table_with_headings() -> None:
    page = Reader(render_guided(replace(_page(), settings=())))
    assert [cell.get("scope") for cell in page.all("th")] == ["col"] * 3 + ["row"] * 2
    assert len(page.all("td")) == 4
    assert not page.all("details")


def test_every_picture_is_asked_for_once_lazily_and_has_a_text() -> None:
    images = (_image("a"), replace(_image("b"), films=(), maps=None, trace=""), replace(_image("c"), panels=()))
    pictures = Reader(render_guided(_page(*images))).all("img")
    expected = [
        *(f"pictures/a-{part}.webp" for part in ("target", "start", "result", "film", "maps")),
        *(f"pictures/b-{part}.webp" for part in ("target", "start", "result")),
        *(f"pictures/c-{part}.webp" for part in ("film", "maps")),
    ]
    assert [picture["src"] for picture in pictures] == expected
    for picture in pictures:
        assert picture["loading"] == "lazy"
        assert picture["alt"]
        assert picture["width"]
        assert picture["height"]
    film, maps = pictures[3], pictures[4]
    assert (film["width"], film["height"]) == (str(extent(4)), str(TILE))
    assert film["alt"] == "image a, rosetta: after 0, 1, 10, 500 steps"
    assert (maps["width"], maps["height"]) == (str(extent(5)), str(extent(2)))


def test_a_picture_with_a_hostile_name_is_still_a_file_beside_the_page() -> None:
    image = replace(_image(), panels=(Panel("target", 'http://evil.example/a"#b?.webp', ()),), films=(), maps=None)
    (picture,) = Reader(render_guided(_page(image))).all("img")
    assert picture["src"] == "http%3A//evil.example/a%22%23b%3F.webp"


def test_neighbouring_models_are_told_apart() -> None:
    heads = Reader(render_guided(_page(_image()))).all("div", "head")
    assert ["odd" in (head["class"] or "").split() for head in heads] == [True, True, True, False, True]
    assert heads[1]["title"] == "dcgan asked"


def test_the_atlas_and_the_page_on_trust_are_in_the_header() -> None:
    home = "../../report/"
    links = [link["href"] for link in Reader(render_guided(_page(_image()))).all("a")]
    views = ("overview", "concepts", "images", "unit", "tables", "notes", "guided")
    assert links[1:8] == [f"{home}index.html#/{view}" for view in views]
    judged = Reader(render_guided(replace(_page(_image()), trust=f"{home}trust.html")))
    assert f"{home}trust.html" in [link["href"] for link in judged.all("a")]


def test_hostile_texts_stay_text() -> None:
    page, honest = Reader(render_guided(_hostile())), Reader(render_guided(_page(_image())))
    assert len(page.all("script")) == len(honest.all("script"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    # Title, heading, run three times, lede, table, note, settings, command, fingerprint, and all of the image.
    assert page.words.count(HOSTILE) == 24
    assert any(HOSTILE in (picture["alt"] or "") for picture in page.all("img"))


def test_only_the_trace_goes_in_as_it_is() -> None:
    trace = loss_traces({HOSTILE: {HOSTILE: np.arange(3.0), "b": np.arange(3.0)}})
    assert "<script" not in trace
    html = render_guided(_page(replace(_image(), trace=trace)))
    assert trace in html
    assert len(Reader(html).all("svg")) == 1
    assert not Reader(render_guided(_page(replace(_image(), title="<svg></svg>", trace="")))).all("svg")


@pytest.mark.parametrize("page", [_page(), _page(_image()), _hostile()], ids=["empty", "plain", "hostile"])
def test_nothing_comes_from_elsewhere(page: GuidedPage) -> None:
    html = render_guided(page)
    assert set(re.findall(r"https?://[^\"' )<&]+", html)) <= NAME_SPACES | {"http://evil.example/a"}
    assert "@import" not in html
    for _, attributes in Reader(html).elements:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:,", "pictures/", "../../report/")) or not value


def test_without_images_and_without_numbers() -> None:
    html = render_guided(_page())
    assert not Reader(html).all("article")
    assert "#images" not in [link["href"] for link in Reader(html).all("a")]
    assert "How to read the maps" not in Reader(html).words
    bare = Reader(render_guided(replace(_page(), summary=Summary(("guidance",), (), "Nothing ran."))))
    assert not bare.all("table", "summary")
    assert "no numbers to show" in bare.words
    assert "Nothing ran." in bare.words


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (replace(_page(), summary=Summary(("a", "b"), (("x",),), "")), "1 texts stands below 2 headings"),
        (_page(replace(_image(), films=(Film("f", "f.webp", 3, (0, 1)),))), "3 frames taken after 2 steps"),
        (_page(replace(_image(), films=(Film("f", "f.webp", 0, ()),))), "0 frames"),
        (_page(replace(_image(), maps=MapSheet(("a",), (), "m.webp"))), "no row or no column"),
    ],
)
def test_captions_that_do_not_fit_are_refused(page: GuidedPage, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        render_guided(page)


def test_same_contents_same_page() -> None:
    assert render_guided(_page(_image())) == render_guided(_page(_image()))


def test_traces_are_one_element_with_the_same_bytes_each_time() -> None:
    first = loss_traces(_traces())
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "svg.fonttype": "path", "axes.grid": True}):
        assert loss_traces(_traces()) == first
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert not re.search(r": #\w{6}[;\"]", first), "a colour that is no variable of the theme"
    assert set(re.findall(r"https?://[^\"' )]+", first)) <= NAME_SPACES


def _texts(svg: str) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip()]


def test_traces_name_terms_and_guidances() -> None:
    texts = _texts(loss_traces(_traces()))
    for told in ("pixels", "activation", "none", "rosetta"):
        assert texts.count(told) == 1
    assert texts.count("step") == 2
    assert "rosetta" not in _texts(loss_traces({"pixels": {"rosetta": np.arange(3.0)}})), "one line needs no legend"
    assert "_hidden" in _texts(loss_traces({"pixels": {"_hidden": np.arange(3.0), "b": np.arange(3.0)}}))


def test_lines_without_numbers_are_left_out() -> None:
    nothing, rising = np.full(5, np.nan), np.arange(5.0)
    texts = _texts(loss_traces({"t": {"a": rising, "gone": nothing, "c": rising}, "empty": {"a": nothing}}))
    assert {"a", "c", "t"} <= set(texts)
    assert not {"gone", "empty"} & set(texts)
    # What is left out keeps its colour, so the others look as they do elsewhere.
    alone, both = loss_traces({"t": {"a": nothing, "b": rising}}), loss_traces({"t": {"b": rising}})
    assert "var(--plot-control," in alone
    assert "var(--plot-control," not in both
    assert loss_traces({}) == loss_traces({"t": {}}) == loss_traces({"t": {"a": nothing, "b": np.empty(0)}}) == ""


def test_traces_take_gaps_infinities_and_any_number_of_panels() -> None:
    gaps = np.array([np.nan, 1.0, np.nan, np.inf, 2.0], dtype=np.float32)
    for count in (1, 3, 4, 7):
        svg = loss_traces({f"term {index}": {f"g{label}": gaps for label in range(14)} for index in range(count)})
        texts = _texts(svg)
        assert sum(text.startswith("term") for text in texts) == count
        assert "g13" in texts
        assert "inf" not in svg


def _draw(folder: Path, name: str) -> None:
    """The pictures of :func:`_image`."""
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for part in ("target", "start", "result"):
        Image.fromarray(pixels).save(folder / "pictures" / f"{name}-{part}.webp")
    for part, rows, columns in (("film", 1, 4), ("maps", 2, 5)):
        tiles = np.zeros((rows, columns, TILE, TILE, 3), dtype=np.uint8)
        (folder / "pictures" / f"{name}-{part}.webp").write_bytes(webp(tiles))


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("contents", [_page(_image()), _hostile()], ids=["plain", "hostile"])
def test_in_a_browser(browser: Browser, tmp_path: Path, contents: GuidedPage, script: bool) -> None:
    _draw(tmp_path, "a")
    (tmp_path / "index.html").write_text(render_guided(contents), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=script)
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto((tmp_path / "index.html").as_uri())
    pictures = page.locator("article img")
    assert pictures.count() == 5
    for index in range(5):
        pictures.nth(index).scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    assert pictures.evaluate_all("images => images.every(image => image.complete && image.naturalWidth > 0)")
    first = pictures.first.bounding_box()
    assert first is not None
    assert (first["width"], first["height"]) == (192, 192)
    if script:
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    else:
        assert page.locator("#theme").is_hidden()
    page.get_by_text("Settings").click()
    assert page.locator(".settings table").is_visible()
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
        # Captions of any length leave the rows beside their tiles.
        rows, maps = page.locator(".maps .rows").bounding_box(), page.locator(".maps img").bounding_box()
        assert rows is not None
        assert maps is not None
        assert rows["height"] == pytest.approx(maps["height"], abs=1)
    assert complaints == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    context.close()
