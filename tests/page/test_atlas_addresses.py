"""Addresses, filters and searches of the atlas: what is named is what is shown, and what is not there is told."""

import re
from urllib.parse import quote

import numpy as np
import pytest
from atlas_page import CHANNELS, CONCEPTS, HOSTILE, IMAGES, LAYERS, MODELS, SIGNS, columns, in_order, members, write
from atlas_view import KEPT, ids, query, unit_address
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def layer(model: int, concept: int) -> int:
    return members(concept)[model] // CHANNELS


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("lite0 blocks.3", lambda c: layer(1, c) == 0),
        ("LITE0 Blocks.31", lambda c: layer(1, c) == 1),
        ("unit 41", lambda c: 41 in members(c)),
        ("cluster 17", lambda c: c == 17),
        ("neuron 1003", lambda c: c == 3),
        ("lite0 unit 41", lambda c: members(c)[1] == 41),
        ("g main.5 lite0 blocks.4", lambda c: layer(0, c) == 1 and layer(1, c) == 2),
        ("channel 7 lite0", lambda c: any(u % CHANNELS == 7 for u in members(c) if u >= 0)),
        ("untrained", lambda c: False),
        ("(((", lambda c: False),
        ('"<script>window"', lambda c: True),
        ("lite0 blocks.31·8", lambda c: members(c)[1] == CHANNELS + 8),
        ("blocks.31:8", lambda c: members(c)[1] == CHANNELS + 8),
        ("blocks.3·8", lambda c: members(c)[1] == 8),
        ("lite0 · blocks.31 · channel 8", lambda c: members(c)[1] == CHANNELS + 8),
        ("main.2:28 blocks.31·8", lambda c: c == 28),
        ("4:16", lambda c: members(c)[1] == 2 * CHANNELS + 16),
        (f'"{SIGNS}"·6', lambda c: members(c)[2] == CHANNELS + 6),
        ("a/b·6", lambda c: members(c)[2] == 6),
        ("blocks.31:48", lambda c: False),
    ],
)
def test_search(atlas, words, kept):
    page = atlas.go("concepts")
    page.get_by_label("Search concepts").fill(words)
    expect(page).to_have_url(re.compile("q="))
    wanted = in_order(c for c in range(CONCEPTS) if kept(c))
    assert len(wanted) < CONCEPTS or words.startswith('"')
    expect(page.locator(".shown")).to_contain_text(f"{len(wanted)} of 120")
    assert ids(page) == wanted[: len(ids(page))]
    assert query(page)["q"] == words
    if not wanted:
        expect(page.get_by_text("No concept meets this")).to_be_visible()


def test_filters_and_the_address_that_keeps_them(atlas):
    page = atlas.go("concepts")
    page.get_by_label("Model whose layer").select_option("lite0")
    page.get_by_label("Layer", exact=True).select_option("blocks.31")
    page.get_by_label("Least mean correlation").fill("0.5")
    page.get_by_label("Least number of neurons").fill("2")
    page.get_by_label("with a trusted neuron").check()
    page.get_by_label("Sort by").select_option("size")
    told = columns()
    wanted = [
        c for c in range(CONCEPTS)
        if layer(1, c) == 1 and told["mean"][c] >= 0.5 and told["size"][c] >= 2 and told["trusted"][c]
    ]  # fmt: skip
    wanted.sort(key=lambda c: (-told["size"][c], c))
    assert wanted
    assert ids(page) == wanted
    shared = page.url
    atlas.go("overview")
    atlas.go(shared.partition("#/")[2])
    assert ids(page) == wanted
    expect(page.get_by_label("Layer", exact=True)).to_have_value("blocks.31")
    expect(page.get_by_label("with a trusted neuron")).to_be_checked()
    assert (query(page)["model"], query(page)["layer"]) == ("lite0", "blocks.31")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".shown")).to_contain_text("120 concepts")
    page = atlas.go("concepts?model=1&layer=1&min=0.5&size=2&trusted=1&sort=size")
    assert ids(page) == wanted, "places, as addresses had them once"


@pytest.mark.parametrize(("model", "layer"), [(model, layer) for model in LAYERS for layer in LAYERS[model]])
def test_a_unit_is_addressed_by_names(atlas, model, layer):
    """Whatever the names hold: where the address leads says the same names, and so does the address there."""
    address = unit_address(model, layer, 7)
    page = atlas.go(address)
    assert page.locator(".eyebrow bdi").text_content() == model
    assert page.locator("h1").text_content() == f"{layer}·7"
    assert page.url.partition("#/")[2] == address
    assert page.title().startswith(" ".join(f"{layer}·7".split()))
    page.get_by_label("Next channel").click()
    expect(page.locator("h1")).to_have_text(re.compile("·8$"))
    assert page.url.partition("#/")[2] == unit_address(model, layer, 8)


def test_links_name_their_unit(atlas):
    page = atlas.go("concept/4")
    links = page.locator(".dictionary .head a.unit")
    for model in range(4):
        name, layers, one = MODELS[model], LAYERS[MODELS[model]], members(4)[model]
        address = unit_address(name, layers[one // CHANNELS], one % CHANNELS)
        assert links.nth(model).get_attribute("href") == f"#/{address}"
    page = atlas.go("overview")
    first = page.locator("table.models tbody a").nth(1)
    assert first.get_attribute("href") == "#/unit/lite0/blocks.3/0"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("unit/1/2/9", ("lite0", "blocks.4", 9)),
        ("unit/lite0", ("lite0", "blocks.3", 0)),
        ("unit/lite0/blocks.4", ("lite0", "blocks.4", 0)),
        (f"unit/{quote(HOSTILE, safe=KEPT)}/a/b/9", (HOSTILE, "a/b", 9)),
        (f"unit/{quote(HOSTILE, safe=KEPT)}/a%2Fb/9/", (HOSTILE, "a/b", 9)),
    ],
)
def test_addresses_of_old_and_by_hand_lead_to_the_unit_by_its_names(atlas, typed, meant):
    page = atlas.go(typed)
    assert page.url.partition("#/")[2] == unit_address(*meant)
    assert page.locator("h1").text_content() == f"{meant[1]}·{meant[2]}"


def test_any_name_comes_back_from_an_address(atlas):
    random = np.random.default_rng(3)
    signs = list("ab01 /#%?&=+·:.\\\"'<>é🦩\u202e")
    paths = [["x", *("".join(random.choice(signs, 1 + n % 9)) for n in range(3))] for _ in range(300)]
    page = atlas.go("overview")
    found = page.evaluate(
        """paths => paths.map((path) => {
          const { read, href, join } = atlas.state;
          const found = read(href(join(...path), { q: path[1] }));
          return [found.view, ...found.path, found.query.get("q")];
        })""",
        paths,
    )
    assert found == [[*path, path[1]] for path in paths]


def test_the_examples_of_the_search_are_of_this_run(atlas):
    page = atlas.go("concepts")
    box = page.get_by_label("Search concepts")
    examples = page.evaluate("atlas.names.examples()")
    assert examples == ["g main.2", "unit 0", "concept 0"]
    for example in examples:
        box.fill(example)
        expect(page.locator('.card[data-concept="0"]')).to_be_visible()
        expect(page.locator(".shown")).to_contain_text("of 120")
    page.keyboard.press("Escape")
    page.get_by_label("Keyboard and search help").click()
    expect(page.locator("#example")).to_have_text(examples[0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("nowhere", "no view"),
        ("constructor", "no view"),
        ("concept/999", "no concept 999 in this run; they run from 0 to 119"),
        ("concept/x", "no concept x"),
        ("concept", "no concept"),
        ("image/4000", "no image 4000 in this run; they run from 0 to 39"),
        ("image/-1", "no image -1"),
        ("tables/nothing", "no table nothing in this run; its tables are clusters, labels, buddies"),
        ("unit/resnet/blocks.4/6", "no model resnet in this run; its models are g, lite0, "),
        ("unit/9/0/0", "no model 9 in this run"),
        ("unit/lite0/blocks.5/6", "no layer blocks.5 in lite0; its layers are blocks.3, blocks.31, blocks.4"),
        ("unit/lite0/2/6", "no layer 2 in lite0"),
        ("unit/lite0/blocks.4/48", "no channel 48 in blocks.4 of lite0; its channels are 0 to 47"),
        ("unit/lite0/blocks.4/x", "no channel x in blocks.4"),
    ],
)
def test_a_wrong_address_says_so(atlas, wrong, told):
    page = atlas.go(wrong)
    expect(page.get_by_role("heading", name="Not here")).to_be_visible()
    expect(page.locator(".failed")).to_contain_text(told)
    assert page.title().startswith("Not here")
    page.get_by_role("link", name="To the overview").click()
    expect(page.get_by_text("Strongest concepts")).to_be_visible()


def test_a_filter_that_names_nothing_says_so(atlas):
    page = atlas.go("concepts?model=lite0&layer=blocks.5")
    expect(page.get_by_text("no layer blocks.5 in lite0; its layers are blocks.3, blocks.31, blocks.4")).to_be_visible()
    expect(page.locator(".shown")).to_contain_text("0 of 120")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator('.card[data-concept="0"]')).to_be_visible()
    expect(page.get_by_text("no layer blocks.5")).to_be_hidden()
    page = atlas.go("image/12?concept=999")
    expect(page.get_by_text("There is no concept 999.")).to_be_visible()


def test_images_of_which_some_were_kept_go_by_their_index(atlas, tmp_path):
    indices = [7 * place + 3 for place in range(IMAGES)]
    atlas.address = write(tmp_path, indices=indices, seen=300).as_uri()
    page = atlas.go("concept/5")
    expect(page.locator(".dictionary .thumb").first).to_have_text("image 3")
    assert page.locator(".dictionary .thumb").nth(1).get_attribute("href") == "#/image/10"
    expect(page.get_by_text(" 3 --concepts 5")).to_be_visible()
    page = atlas.go("image/87")
    expect(page.locator("h1")).to_have_text("Image 87")
    expect(page.get_by_text("--dictionary 87")).to_be_visible()
    assert page.locator(".picture.large").get_attribute("style").count("pictures/12.webp") == 1
    assert [link.get_attribute("href") for link in page.locator(".steps a").all()] == ["#/image/80", "#/image/94"]
    for index, told in [(5, "3 and 10"), (0, "are 3"), (299, "are 276")]:
        expect(atlas.go(f"image/{index}").get_by_text(f"image {index} was not kept")).to_contain_text(told)
    expect(atlas.go("image/300").get_by_text("they run from 0 to 299")).to_be_visible()
