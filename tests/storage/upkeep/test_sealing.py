"""One file of a sealed folder that is written anew."""

import finished
import pytest

from storage.artifacts import seals
from storage.artifacts.catalogue import REPORT
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.sealing import replace_file, seal_finished

FILE, OTHER = "report/index.html", "report/data/other.js"


@pytest.fixture
def root(tmp_path):
    place = Root(str(finished.write(tmp_path / "root")))
    place.write_bytes(FILE, b"page")
    place.write_bytes(OTHER, b"data")
    seal_finished(place)
    return place


def damaged(root):
    return [finding.shown for finding in check_root(root) if finding.artifact.startswith(REPORT.path())]


def test_it_is_whole_afterwards(root):
    replace_file(root, REPORT.path(), FILE, b"another page")
    assert root.read_bytes(FILE) == b"another page"
    assert damaged(root) == []
    root.write_bytes(FILE, b"damaged")
    assert len(damaged(root)) == 1


def test_damage_to_others_still_shows(root):
    root.write_bytes(OTHER, b"damaged")
    before = damaged(root)
    replace_file(root, REPORT.path(), FILE, b"another page")
    assert damaged(root) == before != []


def test_a_folder_without_a_seal_gets_none(root):
    root.remove(seals.path(REPORT.path()))
    replace_file(root, REPORT.path(), FILE, b"another page")
    assert not root.exists(seals.path(REPORT.path()))


def test_a_damaged_seal_stays_damaged(root):
    root.write_bytes(seals.path(REPORT.path()), b"{}")
    before = [finding.shown for finding in check_root(root)]
    replace_file(root, REPORT.path(), FILE, b"another page")
    assert [finding.shown for finding in check_root(root)] == before != []
