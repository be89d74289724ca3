"""`rosetta notes` as a user runs it: from files to the table, the page and back, and what is one line."""

import json
import shutil

import pytest
from atlas_files import read
from command import refused

from storage import open_run
from storage.artifacts.catalogue import NOTES
from storage.artifacts.dictionary import dictionary_of
from storage.filesystem.root import Root
from storage.upkeep.check import check_root

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(run, tmp_path_factory):
    place = tmp_path_factory.mktemp("noted") / "root"
    shutil.copytree(run[0], place)
    return place


@pytest.fixture
def file(root, tmp_path):
    """Writes a file of notes on the run's dictionary, of which something may be otherwise."""
    dictionary = dictionary_of(Root(str(root)))

    def write(name: str, *notes: dict, **changes: object) -> str:
        whole = {"format": "rosetta-notes", "version": 1, "dictionary": dictionary, "author": name, "notes": notes}
        (tmp_path / f"{name}.json").write_text(json.dumps({**whole, **changes}))
        return str(tmp_path / f"{name}.json")

    return write


def note(concept: int, name: str, day: int = 1, **more: object) -> dict:
    return {"concept": concept, "name": name, "when": f"2026-01-{day:02}T00:00:00Z", **more}


def test_files_become_a_table_and_a_page(rosetta, root, file):
    ada = file("ada", note(0, "nose [/b]", starred=True), note(1, "ear"))
    later = file("later", note(0, "mouth", 2), author="ada")
    bo = file("bo", note(0, "<b>", note="two\nlines"))
    found = rosetta.json("notes", root, later, ada, bo)["notes"]
    told = [(one["concept"], one["author"], one["name"]) for one in found]
    assert told == [(0, "ada", "mouth"), (0, "bo", "<b>"), (1, "ada", "ear")]
    content = (root / NOTES.path()).read_bytes()
    assert rosetta.json("notes", root, ada)["notes"] == found, "an earlier note changes nothing"
    assert (root / NOTES.path()).read_bytes() == content
    assert rosetta.json("notes", root)["notes"] == found
    printed = rosetta("notes", root)
    assert printed.returncode == 0
    assert "two lines" in printed.stdout
    assert read(root / "report", "notes") == found
    assert '"notes":true' in (root / "report/index.html").read_text()
    assert open_run(root).notes["name"].tolist() == ["mouth", "<b>", "ear"]
    assert check_root(Root(str(root))) == []


def test_what_does_not_fit_is_one_line_and_writes_nothing(rosetta, root, file, tmp_path):
    before = (root / NOTES.path()).read_bytes() if (root / NOTES.path()).exists() else None
    (tmp_path / "text.txt").write_text("hello")
    refused(rosetta("notes", tmp_path / "nowhere", file("a")), "holds no run")
    refused(rosetta("notes", root, tmp_path / "none.json"), "none.json cannot be read")
    refused(rosetta("notes", root, tmp_path / "text.txt"), "text.txt is not JSON")
    refused(rosetta("notes", root, file("b", version=7)), "version 7")
    refused(rosetta("notes", root, file("c", note(99999, "x"))), "concept 99999 is not in the dictionary")
    refused(rosetta("notes", root, file("d", note(0, "x"), dictionary="other")), "another dictionary")
    after = (root / NOTES.path()).read_bytes() if (root / NOTES.path()).exists() else None
    assert before == after
