"""Seals find a changed bit, in themselves too; stores bring data to the disk before the marker."""

import os
from pathlib import Path

import finished
import numpy as np
import pytest
import zarr
from flips import flip

from storage import seals
from storage.check import check_root
from storage.durable import is_marker
from storage.location import Root
from storage.mend import mend
from storage.sealing import seal_finished, unsealed
from storage.seals import BrokenSealError, Seal

SEAL = Seal("tables/a.parquet", {"tables/a.parquet": b"\x00\xff<"}, {"b": "0" * 64})


def test_a_seal_reads_as_it_was_written():
    assert Seal.decode(SEAL.encode()) == SEAL


def test_any_bit_of_a_seal_counts():
    content = SEAL.encode()
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << (place % 8)
        with pytest.raises(BrokenSealError):
            Seal.decode(bytes(changed))


@pytest.fixture
def root(tmp_path):
    root = Root(str(finished.write(tmp_path / "root")))
    seal_finished(root)
    return root


def test_everything_that_is_finished_is_sealed_once(root):
    assert unsealed(root) == []
    assert seals.read(root, "activations/d.zarr") is not None
    assert check_root(root) == []
    before = {file: root.read_bytes(file) for file in root.find("seals")}
    seal_finished(root)
    assert {file: root.read_bytes(file) for file in root.find("seals")} == before
    seals.discard(root, "tables/units.parquet")
    assert seals.read(root, "tables/units.parquet") is None


@pytest.mark.parametrize("seed", range(6))
def test_one_wrong_bit_is_named(root, seed):
    for file in flip(root.local, 1, seed):
        found = check_root(root)
        assert len(found) == 1
        assert file == found[0].artifact or file.startswith(f"{found[0].artifact}/c")


def test_a_lost_file_is_named(root):
    chunk = "activations/d.zarr/early/activation/c/1/0/0/0"
    root.remove(chunk)
    root.remove("activations/d.zarr/early/unit/zarr.json")
    told = {finding.artifact: finding.problem for finding in check_root(root)}
    assert told == {
        "activations/d.zarr/early/activation": "entries 4 to 7 of image are missing",
        "activations/d.zarr/early/unit/zarr.json": "is missing",
    }


def damage(root: Root, file: str) -> None:
    content = bytearray(root.read_bytes(file))
    content[len(content) // 2] ^= 4
    root.write_bytes(file, bytes(content))


def written(root: Root, store: str) -> np.ndarray:
    return zarr.open_group(root.store(store), mode="r")["written"][:]


def test_what_can_be_put_back_is_and_nothing_else_is_touched(root):
    labels = "activations/d.zarr/early/unit/c/0"
    before = {file: root.read_bytes(file) for file in root.find("")}
    for file in (labels, "recipe.toml", "correlations/g~d.zarr/zarr.json"):
        damage(root, file)
    assert len(mend(root)) == 3
    assert {file: root.read_bytes(file) for file in root.find("")} == before


def test_a_damaged_chunk_goes_with_its_marker(root):
    damage(root, "activations/d.zarr/early/activation/c/1/0/0/0")
    damage(root, "images.zarr/pixels/c/2/0/0/0")
    mend(root)
    assert written(root, "activations/d.zarr").tolist() == [True, False, True]
    assert written(root, "images.zarr").tolist() == [True, True, False]
    unfinished = {finding.artifact for finding in check_root(root) if finding.kind == "unfinished"}
    assert unfinished == {"activations/d.zarr", "images.zarr", "activations/g.zarr"}, "g makes the pixels"
    assert written(root, "activations/g.zarr").all()


def test_tables_go_as_a_whole(root):
    damage(root, "tables/buddies.parquet")
    mend(root)
    assert not root.exists("tables/buddies.parquet")
    assert seals.read(root, "tables/buddies.parquet") is None
    assert root.exists("tables/units.parquet")


def test_a_broken_seal_is_made_anew(root):
    file = seals.path("tables/units.parquet")
    before = root.read_bytes(file)
    damage(root, file)
    assert [finding.kind for finding in mend(root)] == ["seal"]
    seal_finished(root)
    assert root.read_bytes(file) == before


def test_data_are_on_the_disk_before_their_marker(tmp_path, monkeypatch):
    """As a power cut would have it: what was not brought to the disk before the marker was written may be gone."""
    events: list[tuple[str, str]] = []
    sync, move = os.fsync, Path.replace
    named = lambda descriptor: str(Path(f"/proc/self/fd/{descriptor}").readlink())  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append(("disk", named(descriptor))), sync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append(("named", str(b))), move(a, b))[1])
    root = finished.write(tmp_path / "root")
    markers = 0
    for place, (what, file) in enumerate(events):
        store, _, key = file.partition(".zarr/")
        if what != "named" or not is_marker(key):
            continue
        markers += 1
        before = [name for event, name in events[:place] if event == "named" and name.startswith(f"{store}.zarr/")]
        safe = {name for event, name in events[:place] if event == "disk"}
        assert set(before) <= safe, key
        assert ("disk", file) in events[place:], "the marker itself follows"
    assert markers > 20
    assert root.exists()
