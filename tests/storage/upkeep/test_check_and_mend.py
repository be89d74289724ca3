"""Seals find a changed bit, in themselves too; stores bring data to the disk before the marker."""

import os
from pathlib import Path

import finished
import numpy as np
import pandas as pd
import pytest
import zarr
from damage import flip
from described import described

from rosetta.errors import UserError
from storage.artifacts import layout, seals
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.guided import Found, GuidedStore, write_table
from storage.artifacts.seals import BrokenSealError, Seal
from storage.filesystem.local import is_marker
from storage.filesystem.lock import locked
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.mend import mend
from storage.upkeep.sealing import seal, seal_finished, seal_guided, unsealed
from storage.upkeep.status import artifacts

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


def test_a_table_is_missed_unless_the_recipe_leaves_it_out(root):
    text = root.read_bytes("recipe.toml")

    def missed(*leave_out: str) -> set[str]:
        seals.discard(root, "recipe.toml")
        root.write_bytes("recipe.toml", text + f"[trust]\ntests = ['chance']\nleave_out = {[*leave_out]}\n".encode())
        return {finding.artifact for finding in check_root(root)}

    for measurement, table in {"layers": "layers", "one_to_one": "distances", "rarefaction": "rarefaction"}.items():
        path = f"tables/{table}.parquet"
        root.remove(path)
        assert path in missed()
        assert path not in missed(measurement)


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


def test_damaged_metadata_hide_no_damaged_chunk(root):
    files = ["activations/d.zarr/early/activation/zarr.json", "activations/d.zarr/early/activation/c/1/0/0/0"]
    for file in files:
        damage(root, file)
    assert [finding.artifact for finding in check_root(root)] == [files[0], "activations/d.zarr/early/activation"]
    mend(root)
    assert written(root, "activations/d.zarr").tolist() == [True, False, True]


def damage(root: Root, file: str) -> None:
    content = bytearray(root.read_bytes(file))
    content[len(content) // 2] ^= 4
    root.write_bytes(file, bytes(content))


def written(root: Root, store: str) -> np.ndarray:
    return layout.markers(zarr.open_group(root.store(store), mode="r"))


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


def begin_again(root: Root, store: str) -> None:
    """A store as it is before its end."""
    seals.break_seal(root, store)
    zarr.open_group(root.store(store), mode="r+").attrs["complete"] = False


def test_a_torn_marker_says_nothing(root):
    begin_again(root, "activations/d.zarr")
    root.write_bytes(
        "activations/d.zarr/bookkeeping/written/c/1", root.read_bytes("activations/d.zarr/bookkeeping/written/c/1")[:3]
    )
    store = ActivationStore.open(root, fingerprint("activations", of="d"), "d")
    assert store.written().tolist() == [True, False, True]
    assert [entry.done for entry in artifacts(root) if entry.artifact == "activations/d.zarr"] == [2]
    assert [finding.kind for finding in check_root(root)] == ["unfinished", "chunk"]
    mend(root)
    assert [finding.kind for finding in check_root(root)] == ["unfinished"]


@pytest.mark.parametrize("lost", [True, False])
def test_of_an_unfinished_store_what_is_in_is_looked_at(root, lost):
    begin_again(root, "activations/d.zarr")
    layout.written_of(zarr.open_group(root.store("activations/d.zarr"), mode="r+"))[2] = False
    for block in (0, 2):
        chunk = f"activations/d.zarr/early/activation/c/{block}/0/0/0"
        root.remove(chunk) if lost else damage(root, chunk)
    told = {finding.artifact: finding.problem.partition(" (")[0] for finding in check_root(root)}
    assert told.pop("activations/d.zarr").startswith("is not finished")
    state = "missing" if lost else "damaged"
    assert told == {"activations/d.zarr/early/activation": f"entries 0 to 3 of image are {state}"}, "2 is not in yet"
    mend(root)
    assert written(root, "activations/d.zarr").tolist() == [False, True, False]
    assert [finding.kind for finding in check_root(root)] == ["unfinished"]


PLACE, MADE = "edits/smile", fingerprint("edit", of="spots")


@pytest.fixture
def edited(root):
    """With an edit of three images in two batches."""
    random = np.random.default_rng(0)
    store = GuidedStore.create(
        root, PLACE, MADE, model="g", guidance=["edit"], sources=["a", "b", "c"],
        targets=random.integers(256, size=(3, 4, 4, 3), dtype=np.uint8), classes=None, size=(4, 4), latent={"z": 5},
        frame_steps=[0, 2], steps=2, terms=["rec"], batch=2,
    )  # fmt: skip
    for images in (slice(0, 2), slice(2, 3)):
        many = images.stop - images.start
        latents = random.normal(size=(2, many, 5)).astype(np.float32)
        frames = random.integers(256, size=(many, 2, 4, 4, 3), dtype=np.uint8)
        store.write(0, images, Found(*latents, frames, np.zeros((many, 3, 1), np.float32)))
    store.finish()
    metrics = described(f"{PLACE}/metrics.parquet", pd.DataFrame({"image": [0, 1, 2]}))
    write_table(root, PLACE, "metrics", metrics, MADE)
    root.write_bytes(f"{PLACE}/pictures/000.webp", bytes(range(64)))
    root.write_bytes(f"{PLACE}/index.html", b"<p>shown</p>")
    seal_guided(root, PLACE)
    return root


def test_one_wrong_bit_of_an_edit_is_named(edited):
    assert check_root(edited) == []
    for file in [file for file in edited.find("") if "edits" in file]:
        before = edited.read_bytes(file)
        damage(edited, file)
        found = check_root(edited)
        assert len(found) == 1
        assert file == found[0].artifact or file.startswith(f"{found[0].artifact}/c")
        edited.write_bytes(file, before)


def test_of_an_edit_just_what_was_damaged_goes(edited):
    damage(edited, f"{PLACE}/result.zarr/latent/c/0/1/0")
    (found,) = mend(edited)
    assert found.again == "rosetta edit"
    assert GuidedStore.open(edited, MADE, PLACE).missing() == [(0, slice(2, 3))]
    assert [finding.kind for finding in check_root(edited)] == ["unfinished"]
    for file in ("metrics.parquet", "index.html", "pictures/000.webp"):
        assert edited.exists(f"{PLACE}/{file}")


def test_the_page_of_an_edit_goes_with_its_pictures(edited):
    damage(edited, f"{PLACE}/pictures/000.webp")
    assert len(mend(edited)) == 1
    assert not edited.exists(f"{PLACE}/index.html")
    assert GuidedStore.read(edited, PLACE).missing() == []
    assert [finding.problem for finding in check_root(edited)] == ["has no index.html; rosetta edit writes it"]


def test_of_an_edit_too_what_can_be_put_back_is(edited):
    before = {file: edited.read_bytes(file) for file in edited.find("")}
    damage(edited, f"{PLACE}/result.zarr/latent/zarr.json")
    damage(edited, seals.path(PLACE))
    assert {finding.again for finding in mend(edited)} == {""}
    assert {file: edited.read_bytes(file) for file in edited.find("")} == before


def test_an_edit_that_is_at_work_is_not_mended(edited):
    damage(edited, f"{PLACE}/pictures/000.webp")
    with locked(edited, f"{PLACE}.lock"), pytest.raises(UserError, match="is in use"):
        mend(edited)
    assert edited.exists(f"{PLACE}/index.html")


def test_a_figure_is_looked_at_and_one_that_was_removed_is_not_missed(root):
    path = "figures/concept-0.png"
    root.write_bytes(path, bytes(range(99)))
    seal(root, path)
    damage(root, path)
    (found,) = mend(root)
    assert (found.artifact, found.again) == (path, "rosetta report")
    assert not root.exists(path)
    assert check_root(root) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux which file a descriptor is of")
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
