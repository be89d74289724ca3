"""Files of notes: what is read, what is refused in one line, and how notes of several files become one list."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.errors import UserError
from rosetta.naming.notes import MOST_BYTES, NAME, TEXT, Note, merged, parse

ENTRY = {"concept": 3, "name": "nose", "starred": True, "note": "of both\nsides", "when": "2026-11-27T10:00:00Z"}


def file(**changes: object) -> bytes:
    whole = {"format": "rosetta-notes", "version": 1, "run": "faces", "dictionary": "abc", "author": "Ada"}
    return json.dumps({**whole, "notes": [ENTRY], **changes}).encode()


def test_a_file_is_read():
    found = parse(file(), "a.json")
    assert found.dictionary == "abc"
    assert found.notes == (Note(3, "Ada", "2026-11-27T10:00:00.000Z", True, "nose", "of both\nsides", "a.json"),)
    assert parse(file(author=""), "a.json").notes[0].author == "a.json"


@pytest.mark.parametrize(
    ("when", "read"),
    [
        ("2026-11-27T11:30:00.5+01:30", "2026-11-27T10:00:00.500Z"),
        ("2026-11-27T10:00:00", "2026-11-27T10:00:00.000Z"),
        ("2026-11-27", "2026-11-27T00:00:00.000Z"),
    ],
)
def test_times_are_of_one_zone(when, read):
    assert parse(file(notes=[{**ENTRY, "when": when}]), "a.json").notes[0].when == read


def entry(**changes: object) -> bytes:
    return file(notes=[{**ENTRY, **changes}])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "a.json is not JSON"),
        (b"\xff\xfe", "a.json is not JSON"),
        (b"[" * 100_000, "a.json is not JSON"),
        (b"[]", "is not a file of notes"),
        (file(format="x"), "is not a file of notes"),
        (file(version=2), "is of version 2 of the format of notes, and this rosetta reads 1"),
        (file(version=None), "version None"),
        (file(notes=3), "notes"),
        (file(more=1), "unknown key 'more'"),
        (b" " * (MOST_BYTES + 1), "larger than 4 MiB"),
        (entry(concept=-1), "concept"),
        (entry(concept="3"), "concept"),
        (entry(concept=2**40), "concept"),
        (entry(starred=1), "starred"),
        (entry(name="x" * (NAME + 1)), "100 characters"),
        (entry(note="x" * (TEXT + 1)), "2000 characters"),
        (entry(name="a\nb"), "control character"),
        (entry(name="\x1b[31m"), "control character"),
        (entry(note="\x9b"), "control character"),
        (entry(name="\ud800"), "name"),
        (entry(when="soon"), "no time in ISO 8601"),
        (entry(when="0001-01-01T00:00:00+23:59"), "no time in ISO 8601"),
    ],
)
def test_what_is_wrong_is_one_line(content, told):
    with pytest.raises(UserError, match=r"a\.json") as refused:
        parse(content, "a.json")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


notes = st.lists(
    st.builds(
        Note, st.integers(0, 3), st.sampled_from(["Ada", "Bo"]), st.sampled_from(["2026-01-01", "2026-01-02"]),
        st.booleans(), st.sampled_from(["", "nose", "ear"]), st.sampled_from(["", "left"]), st.sampled_from("ab"),
    )
)  # fmt: skip


@given(notes, st.randoms(use_true_random=False))
def test_the_order_of_notes_says_nothing(given_notes, random):
    other = random.sample(given_notes, len(given_notes))
    assert merged(given_notes) == merged(other)


@given(notes, notes)
def test_merging_again_changes_nothing(first, second):
    once = merged([*first, *second])
    assert merged([*once, *first]) == once
    assert merged([*merged(first), *merged(second)]) == once


@given(notes)
def test_the_latest_of_each_author_and_concept_stays(given_notes):
    found = merged(given_notes)
    keys = [(one.concept, one.author) for one in found]
    assert keys == sorted({(one.concept, one.author) for one in given_notes})
    for one in found:
        rivals = [other for other in given_notes if (other.concept, other.author) == (one.concept, one.author)]
        assert one in rivals
        assert one.when == max(other.when for other in rivals)
