"""Reading a folder of which files are bad, that is cut short, or that is damaged later."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import BLOCK, CutError, bytes_of, classes, cut_at, fingerprint_of, mine, recipe_of, repaint, write

from rosetta.errors import UserError
from storage.artifacts import catalogue
from storage.artifacts import layout as zarrs
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.mend import mend
from storage.upkeep.sealing import seal_finished
from tasks.dump import images as stage
from tasks.source import squares
from tasks.source.recognition import in_order


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stage, "block_size", lambda *_: BLOCK)


@pytest.fixture
def folder(tmp_path) -> Path:
    return classes(tmp_path / "photos")


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


@settings(max_examples=30)
@given(bad=st.sets(st.integers(0, 10)), count=st.none() | st.integers(1, 11))
def test_every_bad_file_is_named_or_left_out(tmp_path_factory, bad, count):
    place = tmp_path_factory.mktemp("bad")
    for seed in range(11):
        write(place / "photos" / f"{'ab'[seed % 2]}/{seed}.bmp", seed, whole=seed not in bad)
    more = {} if count is None else {"count": count}
    order = [file.source for file in in_order(recipe_of(place / "photos").images)]
    wrong = [source for source in order if int(Path(source).stem) in bad]
    good = [source for source in order if source not in wrong]
    root, fresh = Root(str(place / "root")), Root(str(place / "fresh"))
    chosen_bad = [source for source in order[:count] if source in wrong]
    if not chosen_bad:
        mine(root, place / "photos", **more)
        assert xr.open_zarr(root.local / catalogue.IMAGES.path())["source"].values.tolist() == good[:count]
        return
    with pytest.raises(UserError) as told:
        mine(root, place / "photos", **more)
    assert len(chosen_bad) == 1 or f"{len(chosen_bad)} of {count or 11} files cannot be read" in str(told.value)
    assert all(source in str(told.value) for source in sorted(chosen_bad)[:5])
    assert not zarrs.attributes_at(Place(root, catalogue.IMAGES.path()))["complete"]
    if not good:
        with pytest.raises(UserError, match="none of its 11 files can be read"):
            mine(root, place / "photos", skip_bad=True, **more)
        return
    assert mine(root, place / "photos", skip_bad=True, **more) == "done", "with no --replace"
    found = xr.open_zarr(root.local / catalogue.IMAGES.path())
    assert found["source"].values.tolist() == good[:count]
    assert zarrs.markers(zarr.open_group(root.local / catalogue.IMAGES.path())).size == -(-len(good[:count]) // BLOCK)
    left_out = json.loads(found.attrs["left_out_json"])
    left = [one["source"] for one in left_out]
    assert left == [source for source in wrong if order.index(source) < order.index(good[:count][-1]) or
                    len(good) < (count or 11)]  # fmt: skip
    assert all("damaged" in one["reason"] for one in left_out)
    mine(fresh, place / "photos", skip_bad=True, **more)
    assert bytes_of(fresh) == bytes_of(root), "in two runs or in one"
    assert mine(root, place / "photos", skip_bad=True, **more) == "skipped"


def test_bad_files_may_simply_be_removed(folder, root):
    for name in ("cat/2.bmp", "owl/x.bmp"):
        write(folder / name, 0, whole=False)
    with pytest.raises(UserError, match="2 of 11 files"):
        mine(root, folder)
    (folder / "cat/2.bmp").unlink()
    (folder / "owl/x.bmp").write_text("none at all")
    with pytest.raises(UserError, match=r"owl/x\.bmp is not an image"):
        mine(root, folder)
    (folder / "owl/x.bmp").unlink()
    assert mine(root, folder) == "done"
    assert xr.open_zarr(root.local / catalogue.IMAGES.path())["pixels"].shape[0] == 9


def test_one_left_out_counts_again_when_it_changes(folder, root):
    write(folder / "cat/2.bmp", 0, whole=False)
    mine(root, folder, skip_bad=True)
    (folder / "cat/2.bmp").touch()
    assert mine(root, folder, skip_bad=True) == "skipped"
    with pytest.raises(UserError, match=r"cat/2\.bmp new"):
        mine(root, folder)
    write(folder / "cat/2.bmp", 0)
    with pytest.raises(UserError, match=r"cat/2\.bmp changed"):
        mine(root, folder, skip_bad=True)


# Runs that are cut short, and damage.


def without_gathered(root: Root) -> dict[str, object]:
    """All files but the copies of metadata at the top, which only make a finished store open faster."""
    found: dict[str, object] = dict(bytes_of(root))
    top = json.loads(root.read_bytes(f"{catalogue.IMAGES.path()}/zarr.json"))
    return {**found, f"{catalogue.IMAGES.path()}/zarr.json": {**top, "consolidated_metadata": None}}


def test_whatever_write_is_the_last_the_run_goes_on_to_the_same_bytes(folder, tmp_path):
    for name in ("cat/1.bmp", "dog/0.bmp", "owl/y.bmp"):
        write(folder / name, 0, whole=False)
    whole = Root(str(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch:
        total = cut_at(patch, 10**6)
        mine(whole, folder, skip_bad=True)
    assert total[0] > 30
    for writes in range(total[0]):
        root = Root(str(tmp_path / f"cut {writes}"))
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, writes)
            with pytest.raises(CutError):
                mine(root, folder, skip_bad=True)
        mine(root, folder, skip_bad=True)
        assert without_gathered(root) == without_gathered(whole), writes


def test_a_block_of_which_a_file_changed_meanwhile_is_read_again(folder, root, tmp_path):
    order = [file.source for file in in_order(recipe_of(folder).images)]
    write(folder / order[9], 0, whole=False)
    with pytest.raises(UserError):
        mine(root, folder)
    repaint(folder, order[1])
    write(folder / order[9], 9)
    mine(root, folder)
    fresh = Root(str(tmp_path / "fresh"))
    mine(fresh, folder)
    assert bytes_of(root) == bytes_of(fresh)


@pytest.mark.parametrize("array", ["pixels", "source", "stamp", "sha256", "crop", "composited", "place", "label"])
def test_damage_is_mended_from_the_files(folder, root, monkeypatch, array):
    mine(root, folder)
    root.write_bytes("recipe.toml", recipe_of(folder).to_toml().encode())
    seal_finished(root)
    before = bytes_of(root)
    labels = array in ("place", "label")
    inside = {"pixels": "1/0/0/0", "crop": "1/0"}.get(array, "0" if labels else "1")
    chunk = f"{catalogue.IMAGES.path()}/{array}/c/{inside}"
    content = bytearray(root.read_bytes(chunk))
    content[len(content) // 2] ^= 4
    root.write_bytes(chunk, bytes(content))
    assert any(finding.kind in ("chunk", "file") for finding in check_root(root))
    mend(root)
    read, counted = [], squares.content_of
    monkeypatch.setattr(squares, "content_of", lambda file: read.append(file) or counted(file))
    mine(root, folder)
    assert bytes_of(root) == before
    assert len(read) == (0 if labels else BLOCK), "only the block that was damaged"


def test_what_is_mended_from_other_files_is_no_longer_the_same(folder, root):
    mine(root, folder)
    before = fingerprint_of(root)
    group = zarr.open_group(root.store(catalogue.IMAGES.path()), mode="r+", use_consolidated=False)
    source = str(group["source"][5])
    zarrs.written_of(group)[1] = False
    group["source"][4:8] = np.array([""] * 4, dtype=object)
    group.attrs["complete"] = False
    repaint(folder, source)
    mine(root, folder)
    assert fingerprint_of(root) != before


def test_a_store_that_was_never_finished_holds_nothing_up(folder, root, tmp_path):
    write(folder / "cat/0.bmp", 0, whole=False)
    with pytest.raises(UserError):
        mine(root, folder)
    write(folder / "cat/0.bmp", 0)
    assert mine(root, folder, seed=5, size=8) == "done"
    fresh = Root(str(tmp_path / "fresh"))
    mine(fresh, folder, seed=5, size=8)
    assert bytes_of(root) == bytes_of(fresh)
