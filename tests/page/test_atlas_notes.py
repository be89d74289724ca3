"""Notes in a browser: starred, named, kept, exported, imported, and what nobody should write into one."""

import json
from pathlib import Path

import pytest
from atlas_names import write_named
from atlas_page import HOSTILE
from atlas_view import ids
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def exported(page, folder: Path) -> dict:
    page.get_by_label("Your name, as author").fill("Bo")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export").click()
    waiting.value.save_as(folder / waiting.value.suggested_filename)
    return json.loads((folder / waiting.value.suggested_filename).read_text())


def given(page, tmp_path: Path, content: object) -> None:
    """Import a file."""
    path = tmp_path / "given.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    page.locator("input[type=file]").set_input_files(path)


def test_what_is_starred_and_named_stays_and_is_found(named, tmp_path):
    page = named.go("concepts")
    page.locator('[data-star="3"]').click()
    expect(page.locator('[data-star="3"]')).to_have_attribute("aria-pressed", "true")
    page = named.go("concept/4")
    page.get_by_label("Your name for concept 4").fill("Ohr <b>")
    page.get_by_label("Your note on concept 4").fill("left\nonly")
    page.reload()
    expect(page.get_by_label("Your name for concept 4")).to_have_value("Ohr <b>")
    page = named.go("concepts?starred=1")
    assert ids(page) == [3, 7], "one's own, and what was merged"
    page.get_by_label("Search concepts").fill("ohr")
    expect(page.get_by_role("option").first).to_contain_text("Concept 4")
    page = named.go("notes")
    shown = page.locator(".shelf .card").evaluate_all("cards => cards.map((card) => Number(card.dataset.concept))")
    assert shown == [3, 4, 7, 9]
    file = exported(page, tmp_path)
    assert {"format": "rosetta-notes", "version": 1, "dictionary": "d" * 64, "author": "Bo"}.items() <= file.items()
    assert [(one["concept"], one["name"], one["starred"], one["note"]) for one in file["notes"]] == [
        (3, "", True, ""), (4, "Ohr <b>", False, "left\nonly"),
    ]  # fmt: skip


def test_merged_notes_are_shown_as_given_below_ones_own(named):
    page = named.go("concept/9")
    listed = page.get_by_role("list", name="Notes in the run")
    assert listed.locator(".text").text_content() == HOSTILE
    assert listed.locator("bdi").last.text_content() == HOSTILE
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    page = named.go("concept/7")
    expect(page.get_by_role("list", name="Notes in the run")).to_contain_text("left ear")
    expect(page.get_by_label("Your name for concept 7")).to_have_value("")
    expect(page.get_by_label("Star concept 7")).to_have_attribute("title", "Starred by Ada")


def test_a_file_of_notes_is_taken_where_it_is_later(named, tmp_path):
    page = named.go("concept/5")
    page.get_by_label("Your name for concept 5").fill("now")
    page = named.go("notes")
    file = exported(page, tmp_path)
    entry = {"starred": True, "note": HOSTILE.replace("\u202e", "")}
    file["notes"] = [
        {"concept": 5, "name": "of old", "when": "2001-01-01T00:00:00Z", **entry},
        {"concept": 6, "name": HOSTILE[:90], "when": "2001-01-01T00:00:00Z", **entry},
    ]
    given(page, tmp_path, file)
    expect(page.get_by_text("1 note taken")).to_be_visible()
    assert page.locator('[data-noted="6"]').text_content() == HOSTILE[:90].strip()
    assert page.locator('[data-noted="5"]').text_content() == "now"
    file["dictionary"] = "another"
    file["notes"] = [{"concept": 8, "name": "foreign", "when": "2001-01-01T00:00:00Z"}]
    given(page, tmp_path, file)
    expect(page.get_by_text("These notes are on another dictionary")).to_be_visible()
    expect(page.locator('[data-noted="8"]')).to_have_count(0)
    page.get_by_role("button", name="Take them anyway").click()
    expect(page.locator('[data-noted="8"]')).to_have_text("foreign")


def note(**changes: object) -> dict:
    return {
        "format": "rosetta-notes", "version": 1, "dictionary": "d" * 64,
        "notes": [{"concept": 1, "name": "a", "when": "2026-01-01T00:00:00Z", **changes}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not JSON"),
        ("[]", "no notes"),
        ({**note(), "version": 2}, "version 1"),
        (note(concept=999), "concept 999, which this dictionary does not have"),
        (note(concept="1"), "which this dictionary does not have"),
        (note(name="x" * 101), "more than 100 characters"),
        (note(name="a\u001b[31m"), "control characters"),
        (note(starred="yes"), "neither true nor false"),
        (note(when="soon"), "no time"),
        (" " * (4 * 2**20 + 1), "larger than 4 MiB"),
    ],
)
def test_a_wrong_file_says_so_and_changes_nothing(named, tmp_path, content, told):
    page = named.go("notes")
    given(page, tmp_path, content)
    expect(page.locator(".told")).to_contain_text(told)
    assert page.evaluate("atlas.notes.own()") == []


def test_a_browser_that_keeps_nothing_says_so(named, tmp_path):
    named.page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('shut'); } });")
    page = named.go("concept/4")
    page.get_by_label("Star concept 4").click()
    expect(page.get_by_label("Star concept 4")).to_have_attribute("aria-pressed", "true")
    page.evaluate("location.hash = '#/notes'")
    expect(page.get_by_text("This browser keeps nothing")).to_be_visible()
    assert [one["concept"] for one in exported(page, tmp_path)["notes"]] == [4]


def test_what_lies_in_the_storage_of_a_browser_is_not_believed(named, tmp_path):
    """Pages from disk share one storage, so anything may stand there."""
    named.address = write_named(tmp_path).as_uri()
    page = named.go("overview")
    page.evaluate(
        """() => localStorage.setItem(`rosetta-notes ${atlas.run.dictionary}`, JSON.stringify([
          null, 7, { concept: 2, name: 5, when: "2026-01-01" }, { concept: 1e9, when: "2026-01-01" },
          { concept: 2, name: "<img src=x onerror='window.hacked=1'>", starred: true, when: "2026-01-01" },
        ]))"""
    )
    page = named.go("concept/2")
    expect(page.get_by_label("Your name for concept 2")).to_have_value("<img src=x onerror='window.hacked=1'>")
    assert page.evaluate("atlas.notes.own().length") == 1
    page.evaluate("localStorage.setItem(`rosetta-notes ${atlas.run.dictionary}`, '{')")
    page = named.go("notes")
    assert page.evaluate("atlas.notes.own().length") == 0
