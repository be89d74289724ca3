"""Words and notes in the atlas, against the store and the table that they come from."""

import base64

import numpy as np
import pytest
from atlas_files import finished_run, opened, read

from rosetta.errors import UserError
from rosetta.naming.notes import Note
from storage.artifacts import tables
from storage.artifacts.catalogue import EDITS, NOTES, ROSETTA, WORDS
from storage.artifacts.dictionary import dictionary_of
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.notes import notes, stored_notes, write_notes
from storage.artifacts.words import WordStore
from storage.filesystem.root import Root
from tasks.report.atlas.names import about_names, name_files

WORDS_HERE = ["nose", "<b>", "é", "sky blue"]
WRITTEN = [
    Note(0, "Ada", "2026-01-01T00:00:00.000Z", True, "nose", "", "a.json"),
    Note(0, "Bo", "2026-01-02T00:00:00.000Z", False, "", "", "b.json"),
    Note(1, "<b>", "2026-01-03T00:00:00.000Z", False, "é 🦩", "two\nlines", "b.json"),
]
"""Bo took back what he had said."""


@pytest.fixture
def root(tmp_path):
    place = Root(str(tmp_path / "root"))
    finished_run(place)
    return place


def written(run, tmp_path):
    """The files, on disk."""
    for path, content in name_files(run):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def test_nothing_is_written_where_nothing_was_named(root):
    assert list(name_files(opened(root))) == []
    about = about_names(opened(root))
    assert about == {"dictionary": dictionary_of(root), "words": 0, "notes": False, "guided": []}
    with pytest.raises(UserError, match="rosetta notes"):
        notes(root)


def test_words_are_those_of_the_store(root, tmp_path):
    count = opened(root).concepts
    score = np.random.default_rng(0).normal(size=(count, len(WORDS_HERE))).astype(np.float32)
    null = np.full(count, 0.25)
    depends = fingerprint("labels", dictionary=dictionary_of(root))
    WordStore.write(root, depends, np.arange(count), WORDS_HERE, score, null, score.T, {})
    value = read(written(opened(root), tmp_path), "words")
    assert value["words"] == WORDS_HERE
    assert value["concept"] == list(range(count))
    stored = WordStore.read(root).score
    coded = np.frombuffer(base64.b64decode(value["score"]), np.uint8).reshape(stored.shape)
    assert np.array_equal(coded >= 128, stored > 0.25)
    assert np.array_equal(np.argmax(coded, axis=1), np.argmax(stored, axis=1))
    assert about_names(opened(root))["words"] == len(WORDS_HERE)


def test_words_of_another_dictionary_are_left_out(root):
    count = opened(root).concepts
    score = np.zeros((count, 1), np.float32)
    WordStore.write(
        root, fingerprint("labels", dictionary="x"), np.arange(count), ["a"], score, np.zeros(count), score.T, {}
    )
    assert root.exists(WORDS.path())
    assert list(name_files(opened(root))) == []


def test_notes_come_back_as_they_were_written(root, tmp_path):
    write_notes(root, WRITTEN)
    assert stored_notes(root) == WRITTEN
    told = read(written(opened(root), tmp_path), "notes")
    assert [(one["concept"], one["author"], one["name"], one["note"]) for one in told] == [
        (0, "Ada", "nose", ""), (1, "<b>", "é 🦩", "two\nlines"),
    ]  # fmt: skip
    assert notes(root)["cluster"].tolist() == [0, 0, 1]
    content = root.read_bytes(NOTES.path())
    write_notes(root, stored_notes(root))
    assert root.read_bytes(NOTES.path()) == content
    write_notes(root, [])
    assert stored_notes(root) == []


def test_notes_of_an_earlier_dictionary_are_refused_and_not_shown(root):
    write_notes(root, WRITTEN)
    rosetta = tables.read(root, ROSETTA.path())
    tables.write(root, ROSETTA.path(), rosetta.assign(trusted=~rosetta["trusted"]), fingerprint("judged otherwise"))
    assert len(notes(root)) == len(WRITTEN)
    other = rosetta.assign(cluster=rosetta["cluster"].to_numpy()[::-1])
    tables.write(root, ROSETTA.path(), other, fingerprint("dictionary"))
    with pytest.raises(UserError, match=r"earlier dictionary; .* --replace"):
        notes(root)
    assert list(name_files(opened(root))) == []
    assert about_names(opened(root))["notes"] is False


def test_pages_of_edits_are_listed(root):
    root.write_bytes(f"{EDITS.path('smile')}/index.html", b"")
    root.write_bytes(f"{EDITS.path('half')}/metrics.parquet", b"")
    (found,) = about_names(opened(root))["guided"]
    assert found == {"kind": "edit", "name": "smile", "address": "../edits/smile/index.html"}
