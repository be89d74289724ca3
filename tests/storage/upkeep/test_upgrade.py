"""A root of format 2 becomes one of this format with the same values, wherever the process is killed."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import format_2
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from damage import flip
from format_2 import IMAGES_NOW, MAPS_NOW, require_maps, require_upgraded
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import write_maps

from flows.command.upkeep import prune
from flows.command.upkeep import status as show
from rosetta.errors import UserError
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.images import ImageStore
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.lock import locked
from storage.filesystem.root import Root
from storage.filesystem.traffic import CountedStore
from storage.upkeep import format_2 as rewriting
from storage.upkeep.check import check_root
from storage.upkeep.decoded import Decoded
from storage.upkeep.formats import format_of_root, require_present
from storage.upkeep.prune import find_leftovers, remove
from storage.upkeep.status import status
from storage.upkeep.upgrade import Upgrade

NUMBERS = count()


def upgraded(root: Root) -> Upgrade:
    """As the command does, but for what follows from a plan."""
    upgrade = Upgrade(root)
    upgrade.begin()
    upgrade.artifacts()
    upgrade.end()
    return upgrade


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path) -> Root:
    root = Root(str(tmp_path / "old") if request.param == "disk" else f"memory://upgrade-{next(NUMBERS)}/old")
    format_2.write(root)
    return root


def test_every_value_stays_and_every_fingerprint_is_renewed(root):
    assert format_of_root(root) == 2
    done = upgraded(root)
    assert done.rewritten == [
        "images.zarr", "activations/g.zarr", "correlations/g~g.zarr", "tables/buddies.parquet"
    ]  # fmt: skip
    assert done.removed == []
    require_upgraded(root)
    assert upgraded(root).rewritten == []


def test_what_is_known_of_the_rounding_is_said(root):
    upgraded(root)
    store = ActivationStore.read(root, "g")
    std, mean = store.of_layer("low", "std"), store.of_layer("low", "mean")
    expected = np.divide(2**-11 / np.sqrt(3) * np.hypot(mean, std), std, out=np.zeros(3), where=std > 0)
    np.testing.assert_allclose(store.of_layer("low", "rounding"), expected)
    assert store.of_layer("low", "rounding")[1] == 0  # a dead unit
    assert set(store.of_layer("deep/high", "rounding")) == {0}
    low, high = store.group["low/rounding"].attrs["comment"], store.group["deep/high/rounding"].attrs["comment"]
    assert "stimated" in low
    assert "float32" in high
    assert store.group["low/activation"].attrs["quantization"] == "bitround"
    assert "quantization" not in store.group["deep/high/activation"].attrs
    # A run that mends a block ends with the same statistics.
    kept = layout.bookkeeping(store.group)
    np.testing.assert_array_equal(kept["peak"][:, :3], store.peaks("low"))
    assert kept["moments"].shape == (3, 3, 23)


def test_it_opens_with_plain_xarray(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root)
    upgraded(root)
    tree = xr.open_datatree(tmp_path / "activations/g.zarr", engine="zarr")
    values = format_2.maps()["low"].astype(np.float64)
    mean = tree["low"]["activation"].mean(("image", "y", "x"))
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-6)
    assert tree["low"]["unit"].values.tolist() == [0, 1, 2]
    schema = pq.read_schema(tmp_path / "tables/buddies.parquet")
    assert schema.field("pearson").metadata[b"description"]


def test_many_small_blocks_become_fewer_files(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    format_2.write(root)
    monkeypatch.setattr(rewriting, "few_files", lambda units, images, chunk: 2 * chunk)
    upgraded(root)
    store = require_maps(root)
    assert (store.block, store.chunk) == (8, 4)
    assert store.written().tolist() == [True, True]
    assert check_root(root) == [one for one in check_root(root) if one.kind == "missing"]


def test_finished_blocks_of_an_unfinished_store_are_kept(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root, missing=(1,))
    assert format_of_root(root) == 2
    assert upgraded(root).removed == []
    attributes = layout.stored_attributes(root, "activations/g.zarr")
    assert not attributes["complete"]
    store = ActivationStore.open(root, MAPS_NOW, "g")
    assert store.written().tolist() == [True, False, True]
    for layer, values in format_2.maps().items():
        for span in (slice(0, 4), slice(8, 10)):
            np.testing.assert_array_equal(store.maps(layer, span), values[span].astype(np.float32))


def test_a_store_in_which_nothing_is_written_goes(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root, missing=(0, 1, 2))
    done = upgraded(root)
    assert done.removed == ["activations/g.zarr"]
    assert not (tmp_path / "activations/g.zarr").exists()
    assert ImageStore.open(root, IMAGES_NOW) is not None


def test_a_pair_that_was_cut_short_before_its_neighbours_were_chosen(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root)
    made = format_2.fingerprint("correlations", of="g~d")
    group = zarr.create_group(root.store("correlations/g~d.zarr"))
    units, k = (3, 2), 2
    nearest = {
        "ab": (np.array([[0, 1]] * 3, np.int32), np.array([[0.5, 0.25]] * 3, np.float32)),
        "ba": (np.array([[2, 0]] * 2, np.int32), np.array([[0.5, -0.5]] * 2, np.float32)),
    }
    for side, count_of in zip("ab", units, strict=True):
        format_2.array(group, f"layer_{side}", np.array(["low"] * count_of, object), f"unit_{side}")
        format_2.array(group, f"channel_{side}", np.arange(count_of, dtype=np.int32), f"unit_{side}")
    for (side, values), own in zip(nearest.items(), "ab", strict=True):
        for name, found in zip(("neighbours", "pearson"), values, strict=True):
            format_2.array(group, f"{name}_{side}", np.full_like(found, -1), f"unit_{own} neighbour")
            format_2.array(group, f"candidates/{name}_{side}", found[None], f"panel unit_{own} neighbour")
    format_2.array(group, "written", np.ones((1, 1), bool), "panel_a panel_b", 1)
    about = {"model_a": "g", "model_b": "d", "keep": "neighbours", "units_a": 3, "units_b": 2}
    format_2.seal(group, made, about, complete=False)
    upgraded(root)
    store = NeighbourStore.open(root, format_2.renewed(made), "g", "d")
    assert store is not None
    assert store.written().all()
    store.finish()
    for found, (unit, pearson) in zip(store.neighbours(k), nearest.values(), strict=True):
        np.testing.assert_array_equal(found.unit, unit)
        np.testing.assert_array_equal(found.pearson, pearson)


@pytest.mark.parametrize("seed", range(3))
def test_any_bit_of_an_upgraded_root_counts(seed, tmp_path):
    root = Root(str(tmp_path / "old"))
    format_2.write(root)
    upgraded(root)
    for file in flip(tmp_path / "old", 4, seed):
        found = [one.artifact for one in check_root(root) if one.kind != "missing"]
        assert any(file == one or file.startswith(f"{one}/c") for one in found), file


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_after(operations: int, error: Callable[[], BaseException] = Killed) -> Iterator[list[int]]:
    """From so many operations of the file system on, nothing works any more; counts them."""
    done = [0]

    def counted(name, owner):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            if done[0] >= operations:
                raise error()
            done[0] += 1
            return real(*args, **kwargs)

        patch.setattr(owner, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("pipe_file", "cp_file", "_rm", "rmdir"):
            counted(name, MemoryFileSystem)
        for name in ("write_bytes", "remove", "move"):
            counted(name, Root)
        counted("set", CountedStore)
        yield done


def operations_of(make: Callable[[], Root]) -> int:
    root = make()
    with killed_after(1 << 30) as done:
        upgraded(root)
    return done[0]


@pytest.fixture(scope="module", params=["disk", "memory"])
def kept(request, tmp_path_factory) -> tuple[Callable[[], Root], int]:
    """A way to have an old root again and again, and how many operations its upgrade takes."""
    folder = tmp_path_factory.mktemp("kept")
    format_2.write(Root(str(folder / "old")))

    def make() -> Root:
        if request.param == "disk":
            shutil.rmtree(folder / "copy", ignore_errors=True)
            shutil.copytree(folder / "old", folder / "copy")
            return Root(str(folder / "copy"))
        root = Root(f"memory://killed-{next(NUMBERS)}")
        for file in (folder / "old").rglob("*"):
            if file.is_file():
                root.write_bytes(file.relative_to(folder / "old").as_posix(), file.read_bytes())
        return root

    return make, operations_of(make)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_kill_at_any_moment_loses_nothing(kept, data):
    make, operations = kept
    root = make()
    with pytest.raises(Killed), killed_after(data.draw(st.integers(0, operations - 1), label="operations")):
        upgraded(root)
    if not root.exists("upgrade/journal.json"):
        assert format_of_root(root) == 2 or not Upgrade(root).has_work
    else:
        with pytest.raises(UserError, match="an upgrade was cut short; run rosetta upgrade"):
            require_present(root)
        require_nothing_to_prune(root)
    upgraded(root)
    require_upgraded(root)


def require_nothing_to_prune(root: Root) -> None:
    """That an unfinished upgrade is said, and that nothing is offered for removal."""
    state, found = status(root), find_leftovers(root)
    assert state.upgrade == f"cut short; run rosetta upgrade {root.shown} to finish it"
    assert state.state == "incomplete"
    assert found.leftovers == found.entries == ()
    assert found.kept == (("upgrade", f"may hold the only copy of a store (upgrade {state.upgrade})"),)


def test_what_a_kill_leaves_is_no_leftover(tmp_path, capsys, monkeypatch):
    root = Root(str(tmp_path))
    format_2.write(root)
    write_maps(root, "gone", {"layer": np.zeros((8, 1, 2, 2), np.float32)}, block=4)  # no recipe names it
    root.write_bytes("upgrade/.x.part", b"")
    os.utime(tmp_path / "upgrade/.x.part", (0, 0))
    monkeypatch.setattr(Root, "move", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        upgraded(root)
    monkeypatch.undo()
    assert not root.exists("images.zarr")
    only_copy = root.find("upgrade/images.zarr")
    assert only_copy
    require_nothing_to_prune(root)
    show(str(tmp_path))
    assert f"Upgrade: cut short; run rosetta upgrade {tmp_path} to finish it\n" in capsys.readouterr().out
    with pytest.raises(UserError, match="an upgrade was cut short; run rosetta upgrade"):
        prune(str(tmp_path), yes=True)
    assert capsys.readouterr().out.startswith("upgrade  ")
    with locked(root):
        assert status(root).upgrade == f"under way; if it stops, rosetta upgrade {tmp_path} resumes it"
        assert status(root).state == "running"
    # Without its journal it is not known to be unfinished, but still the only copy.
    journal = root.read_bytes("upgrade/journal.json")
    root.remove("upgrade/journal.json")
    assert ("upgrade", "holds the only copy of images.zarr; move that to its place first") in find_leftovers(root).kept
    root.write_bytes("upgrade/journal.json", journal)
    assert root.find("upgrade/images.zarr") == only_copy
    upgraded(root)
    require_upgraded(root)
    assert status(root).upgrade is None


def test_what_an_ended_upgrade_left_goes(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root)
    upgraded(root)
    root.write_bytes("upgrade/images.zarr/zarr.json", b"{}")
    found = find_leftovers(root)
    assert [(one.path, one.why) for one in found.leftovers] == [("upgrade", "left by an upgrade that has ended")]
    remove(root, found)
    assert not root.exists("upgrade")
    require_upgraded(root)


def test_a_full_disk_leaves_the_old_stores(kept):
    make, operations = kept
    root = make()
    with (
        pytest.raises(OSError, match="No space"),
        killed_after(operations // 3, lambda: OSError(errno.ENOSPC, "No space left on device")),
    ):
        upgraded(root)
    upgraded(root)
    require_upgraded(root)


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_is_found_before_anything_is_replaced(seed, tmp_path):
    root = Root(str(tmp_path / "old"))
    format_2.write(root)
    # Without seals only what has a checksum of its own is known.
    chunks = tmp_path / "old/activations/g.zarr/low/activation"
    flip(chunks / "c", 1, seed)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"g.zarr/low/activation entries .* damaged .* nothing was upgraded"):
        upgraded(root)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_new_store_that_reads_back_otherwise_replaces_nothing(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    format_2.write(root)
    monkeypatch.setattr(rewriting, "encode", lambda chunk, codec: _encode(chunk + 1, codec))
    with pytest.raises(UserError, match=r"activations/g.zarr: .*activation reads back with other values"):
        upgraded(root)
    assert not layout.array_of(layout.open_complete(root, "activations/g.zarr"), "low", "activation").shards
    monkeypatch.undo()
    upgraded(root)
    require_upgraded(root)


_encode = rewriting.encode


def test_a_damaged_journal_is_told_in_a_line(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root)
    root.write_bytes("upgrade/journal.json", b"{")
    with pytest.raises(UserError, match=r"upgrade/journal.json under .* is damaged"):
        upgraded(root)


def test_a_format_that_is_too_old_is_refused(tmp_path):
    root = Root(str(tmp_path))
    format_2.write(root)
    root.write_bytes("provenance.json", json.dumps({"format": 1}).encode())
    with pytest.raises(UserError, match="of format 1, too old to upgrade"):
        upgraded(root)


@given(
    values=st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=20),
    cut=st.integers(0, 20),
)
def test_digests_are_of_values_and_not_of_how_they_are_kept(values, cut):
    def digest(*pieces: np.ndarray) -> str:
        decoded = Decoded()
        for piece in pieces:
            decoded.add(piece)
        return decoded.hexadecimal

    half = np.array(values, np.float16)
    assert digest(half) == digest(half.astype(np.float32)) == digest(half.astype(">f4"))
    assert digest(half) == digest(half[::-1][::-1])
    other = half.copy()
    other.view(np.uint16)[cut % len(other)] ^= 1
    assert digest(half) != digest(other)


def test_digests_tell_texts_apart():
    def digest(*texts: str) -> str:
        decoded = Decoded()
        decoded.add(np.array(texts, object))
        return decoded.hexadecimal

    assert digest("ab", "c") != digest("a", "bc")
    assert digest("é") == digest("é") != digest("e")
