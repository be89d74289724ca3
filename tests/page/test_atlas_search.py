"""The search field in the header: by keyboard, from every view, on every screen."""

import re

import pytest
from atlas_names import GUIDED, NULL, WORDS, score
from atlas_page import CONCEPTS, HOSTILE, write
from atlas_view import ids, query, unit_address
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def typed(page, text: str):
    """The options that the field offers for a text, once they are there."""
    page.locator("body").press("/")
    expect(page.get_by_label("Search concepts")).to_be_focused()
    page.get_by_label("Search concepts").fill(text)
    expect(page.locator("#found")).to_be_visible()
    return page.get_by_role("option")


def groups(page) -> list[str]:
    return page.locator("#found [role=group] > p").all_inner_texts()


@pytest.mark.parametrize("width", [1440, 900, 390])
@pytest.mark.parametrize("view", ["overview", "image/3", unit_address("lite0", "blocks.4", 2)])
def test_a_unit_is_found_by_keyboard_from_every_view(named, view, width):
    named.page.set_viewport_size({"width": width, "height": 800})
    page = named.go(view)
    options = typed(page, "blocks.31·8")
    field = page.get_by_label("Search concepts")
    expect(field).to_have_attribute("aria-expanded", "true")
    expect(options.first).to_have_text(re.compile("blocks.31·8"))
    expect(options.first).to_have_attribute("aria-selected", "true")
    assert field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#found").bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("blocks.31·8")
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator("#found")).to_be_hidden()
    expect(field).to_have_value("")


@pytest.mark.parametrize(
    ("text", "first", "leads"),
    [
        ("17", "Concept 17", "#/concept/17"),
        ("concept 17", "Concept 17", "#/concept/17"),
        ("lite0", "lite0", "#/unit/lite0/blocks.3/0"),
        ("lite0 blocks.4", "blocks.4", "#/unit/lite0/blocks.4/0"),
        ("main.5:20", "main.5·20", "#/unit/g/main.5/20"),
        ("lite0 unit 100", "blocks.4·4", "#/unit/lite0/blocks.4/4"),
        ("left ear", "Concept 7", "#/concept/7"),
        ("beard", "Concept 6", "#/concept/6"),
        ("eyebrow", "eyebrow", "#/concepts?word=eyebrow"),
    ],
)
def test_the_best_hit_is_what_was_meant(named, text, first, leads):
    """A number, a name of the run, a name that people gave, a name that a model gave, a word of the vocabulary."""
    page = named.go("tables")
    option = typed(page, text).first
    expect(option).to_contain_text(first)
    assert option.get_attribute("href") == leads


def test_all_concepts_that_match_stand_in_the_address(named):
    page = named.go("overview")
    options = typed(page, "lite0 blocks.3")
    expect(options.filter(has_text="concepts that match")).to_have_count(1)
    page.keyboard.press("ArrowUp")
    while "that match" not in page.locator("[role=option][aria-selected=true]").inner_text():
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".shown")).to_contain_text("of 120")
    assert query(page) == {"q": "lite0 blocks.3"}
    expect(page.get_by_label("Search concepts")).to_have_value("lite0 blocks.3")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_label("Search concepts")).to_have_value("")


def test_escape_closes_and_then_clears(named):
    page = named.go("overview")
    typed(page, "nose")
    page.keyboard.press("Escape")
    expect(page.locator("#found")).to_be_hidden()
    expect(page.get_by_label("Search concepts")).to_have_value("nose")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Search concepts")).to_have_value("")
    typed(page, "nothing at all like this")
    expect(page.locator("#found")).to_have_text("Nothing here is called so.")


def test_words_come_when_one_is_asked_for(named):
    """And a word sorts the concepts: those above chance by their score, then the rest, marked."""
    page = named.go("overview")
    typed(page, "unit 7")
    assert not any("words.js" in url for url in named.requests)
    page.keyboard.press("Escape")
    option = typed(page, "eye").filter(has_text="fits")
    expect(option.first).to_have_text(re.compile("^eye *fits 15 concepts$"))
    option.first.click()
    above = [c for c in range(CONCEPTS) if score(c, WORDS.index("eye")) > NULL]
    order = sorted(range(CONCEPTS), key=lambda c: (c not in above, -score(c, WORDS.index("eye"))))
    expect(page.locator(".shown")).to_contain_text(f"“eye” fits {len(above)} above chance")
    assert ids(page) == order[: len(ids(page))]
    expect(page.locator(".cell:not(.chance) .card")).to_have_count(len(above))
    expect(page.locator(".cell.chance").first).to_contain_text("as chance")
    expect(page.locator(".cell").first).to_contain_text("fits 0.8")
    page.get_by_label("Sort by").select_option("mean")
    assert query(page) == {"word": "eye", "sort": "mean"}


@pytest.mark.parametrize(
    ("text", "near"), [("noze", "nose"), ("eyeb", "eyebrow"), ("brow", "eyebrow"), ("hiar", "hair")]
)
def test_a_word_that_is_not_known_has_neighbours_by_spelling(named, text, near):
    page = named.go("overview")
    options = typed(page, text)
    expect(options.filter(has_text=near).filter(has_text="fits")).to_have_count(1)
    assert any("is none of the 8 words known here" in title for title in groups(page))
    page = named.go(f"concepts?word={text}")
    expect(page.locator(".none a").first).to_have_text(near)
    page.locator(".none a").first.click()
    expect(page.locator(".shown")).to_contain_text(f"“{near}” fits")


def test_without_a_vocabulary_the_page_says_so(atlas):
    page = atlas.go("concepts?word=nose")
    expect(page.get_by_text("No vocabulary was scored for this run")).to_be_visible()
    typed(page, "xylophone")
    expect(page.locator("#found")).to_have_text("Nothing here is called so.")
    assert not any("words.js" in url for url in atlas.requests)


def test_what_is_found_is_text(named):
    page = named.go("overview")
    options = typed(page, '"<script>window.hacked=1</script>"')
    expect(options.filter(has_text="window.hacked").first).to_be_visible()
    page.get_by_label("Search concepts").fill(HOSTILE)
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelectorAll('#found script, #found img').length") == 0
    page = named.go("concepts?word=%3Cimg%20src=x%20onerror=%22window.hacked=1%22%3E")
    expect(page.locator(".none").filter(has_text="<img src=x")).to_be_visible()


def test_thousands_of_concepts_are_searched_while_one_types(atlas, tmp_path):
    """3,000 concepts and 50,000 units: no list of units is read, and each letter is answered."""
    many, units = 3000, 50_000
    page_file = write(tmp_path, concepts=many)
    atlas.address = page_file.as_uri()
    page = atlas.go("overview")
    found = page.evaluate(
        """([many, units]) => {
          const { models } = atlas.run;
          models[1].layers[2].channels = units;
          const column = (make) => Array.from({ length: many }, (_, id) => make(id));
          const concepts = { id: column((id) => id), mean: column(() => .5), layer: column(() => 0),
                             name: column((id) => id % 3 ? null : `thing ${id}`) };
          const index = { offset: [...column((id) => 3 * id), 3 * many], rosetta: Array(3 * many).fill(0),
                          unit: Array.from({ length: 3 * many * models.length }, (_, place) => place % 90) };
          const titles = (query) => atlas.hits.find(query, { concepts, index, words: null })
            .flatMap((group) => group.hits.map((hit) => hit.title));
          return [titles("blocks.4·49999"), titles("thing"), titles("thing 2997")];
        }""",
        [many, units],
    )
    assert found[0] == ["blocks.4·49999"]
    assert found[1][-1] == "All 1,000 concepts that match"
    assert found[2][0] == "Concept 2997"


def test_the_pages_beside_the_atlas_are_in_its_header(named):
    page = named.go("overview")
    views = page.get_by_role("navigation", name="Views")
    expect(views.get_by_role("link", name="Trust")).to_have_attribute("href", "trust.html")
    views.get_by_role("link", name="Guided").click()
    for one in GUIDED:
        expect(page.get_by_role("link", name=one["name"])).to_have_attribute("href", one["address"])
    expect(views.get_by_role("link", name="Guided")).to_have_attribute("aria-current", "page")
