"""Weights under a run's root: written once, whole, and known by their digest."""

import hashlib

import pytest

from rosetta.zoo.weights.source import Folder, FromFile
from storage.artifacts.offered_weights import OfferedWeights, offered_weights
from storage.filesystem.root import Root

CONTENT = {"model.safetensors": b"tensors", "vae/config.json": b"{}", "model_index.json": b"[]"}


@pytest.fixture
def several(tmp_path) -> tuple[OfferedWeights, list[tuple[str, FromFile]]]:
    folder = tmp_path / "there"
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    there = Folder("there", str(folder))
    copy = OfferedWeights(Root(str(tmp_path / "root")), there.sha256(CONTENT))
    return copy, [(name, there.file(name)) for name in CONTENT]


def test_several_files_are_kept_under_their_names(several):
    copy, files = several
    assert (copy.files, copy.url(folder=True), copy.intact) == ([], None, False)
    copy.offer(files)
    assert copy.files == sorted(CONTENT)
    assert {name: copy.root.read_bytes(f"{copy.path}/{name}") for name in CONTENT} == CONTENT
    assert copy.intact
    assert copy.url(folder=True) == f"{copy.root.url}/weights/{copy.sha256}"
    assert offered_weights(copy.root) == [copy]


def test_what_is_there_is_not_copied_again_unless_it_is_damaged(several):
    copy, files = several
    copy.offer(files)
    file = copy.root.local / copy.path / "model.safetensors"
    before = file.stat().st_mtime_ns
    copy.offer(files)
    assert file.stat().st_mtime_ns == before
    file.write_bytes(b"tensorS")
    (copy.root.local / copy.path / "left").write_bytes(b"of a copy that was cut short")
    assert not copy.intact
    copy.offer(files)
    assert copy.intact
    assert copy.files == sorted(CONTENT)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors.index.json"])
def test_one_file_is_named_itself(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    copy = OfferedWeights(Root(str(tmp_path / "root")), hashlib.sha256(b"content").hexdigest())
    copy.offer([(name, FromFile(name, str(tmp_path / name)))])
    assert copy.intact
    assert copy.url(folder=False) == f"{copy.root.url}/weights/{copy.sha256}/{name}"


def test_a_root_without_any(tmp_path):
    assert offered_weights(Root(str(tmp_path / "root"))) == []
