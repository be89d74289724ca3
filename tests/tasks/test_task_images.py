"""The images of a folder: what is stored of each file, in which order, and whether they are known again."""

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rosetta.errors import UserError
from rosetta.recipe import Recipe
from storage import zarrs
from storage.check import check_root
from storage.durable import DurableStore
from storage.fingerprint import fingerprint
from storage.images import PATH
from storage.location import Root
from storage.mend import mend
from storage.sealing import seal_finished
from storage.shared import Place
from tasks import images as stage
from tasks import source_images
from tasks.images import draw_images
from tasks.source_images import check_sources, in_order, recognise, remember
from tasks.source_images import settings as settings_of

SIDE, BLOCK = 4, 4


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stage, "block_size", lambda *_: BLOCK)


def write(file: Path, seed: int, whole: bool = True) -> None:
    """A picture whose file has the same size whatever is in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file)
    if not whole:
        file.write_bytes(file.read_bytes()[:-20])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three classes of 6, 3 and 2 pictures; two of them have the same names."""
    for seed, name in enumerate([*(f"cat/{i}" for i in range(6)), *(f"dog/{i}" for i in range(3)), "owl/x", "owl/y"]):
        write(tmp_path / "photos" / f"{name}.bmp", seed)
    return tmp_path / "photos"


def recipe_of(folder: Path, **more) -> Recipe:
    models = [{"name": name, "model": "timm/resnet18", "weights": "random:0"} for name in "ab"]
    images = {"source": str(folder), "size": SIDE, **more}
    return Recipe.model_validate({"name": "it", "root": "none", "images": images, "models": models})


def mine(root: Root, folder: Path, **more) -> str:
    """As the flow does: refused by what is there, or read; `done` or `skipped`."""
    recipe = recipe_of(folder, **more)
    files = in_order(recipe.images)
    found = recognise(Place(root, PATH), recipe.images, files)
    remember(root, found)
    found.require_none_other()
    return draw_images.fn(root, found.fingerprint or settings_of(recipe.images), recipe, None, files, "cpu").outcome


def fingerprint_of(root: Root) -> str:
    return str(zarrs.open_complete(root, PATH).attrs["fingerprint"])


def bytes_of(root: Root) -> dict[str, bytes]:
    return {file: root.read_bytes(file) for file in root.find(PATH)}


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


def test_each_image_says_which_file_it_is(folder, root):
    assert mine(root, folder) == "done"
    found = xr.open_zarr(root.local / PATH)
    listed = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.bmp"))
    assert sorted(found["source"].values) == listed
    assert [listed[place] for place in found["place"].values] == list(found["source"].values)
    for image, source in enumerate(found["source"].values):
        content = (folder / source).read_bytes()
        assert found["label"].values[image] == source.split("/")[0]
        assert found["sha256"].values[image] == hashlib.sha256(content).hexdigest()
        np.testing.assert_array_equal(found["pixels"][image], np.asarray(Image.open(folder / source)))
    assert {found[name].dims for name in ("source", "label", "place", "sha256", "stamp")} == {("image",)}
    assert mine(root, folder) == "skipped"


def test_a_folder_without_folders_has_no_labels(folder, root):
    mine(root, folder / "cat")
    assert "label" not in xr.open_zarr(root.local / PATH)


def test_some_of_a_folder_are_drawn_from_all_of_it(folder, root):
    mine(root, folder, count=6)
    labels = Counter(xr.open_zarr(root.local / PATH)["label"].values.tolist())
    for label, share in {"cat": 6 * 6 / 11, "dog": 3 * 6 / 11, "owl": 2 * 6 / 11}.items():
        assert abs(labels[label] - share) < 1


def test_frames_of_a_film_stay_as_listed(folder, root):
    mine(root, folder, order="listed", count=7)
    found = xr.open_zarr(root.local / PATH)
    assert found["source"].values.tolist() == [*(f"cat/{i}.bmp" for i in range(6)), "dog/0.bmp"]
    assert found["place"].values.tolist() == list(range(7))


@settings(max_examples=20)
@given(order=st.permutations(range(11)))
def test_the_order_of_a_listing_changes_no_byte(tmp_path_factory, order):
    place = tmp_path_factory.mktemp("listing")
    for seed in range(11):
        write(place / "photos" / f"{'abc'[seed % 3]}/{seed}.bmp", seed)
        os.utime(place / "photos" / f"{'abc'[seed % 3]}/{seed}.bmp", ns=(1, 1))
    images = recipe_of(place / "photos").images
    listed = source_images.list_source(images)
    with pytest.MonkeyPatch.context() as patch:
        roots = []
        for number, some in enumerate([listed, [listed[at] for at in order]]):
            patch.setattr(source_images, "list_source", lambda _, some=some: some)
            mine(root := Root(str(place / f"root {number}")), place / "photos")
            roots.append(bytes_of(root))
    assert roots[0] == roots[1]


# What is known again.


def repaint(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, 1000)


def swap(folder: Path) -> None:
    (folder / "cat/0.bmp").rename(folder / "held")
    (folder / "dog/0.bmp").rename(folder / "cat/0.bmp")
    (folder / "held").rename(folder / "dog/0.bmp")


def rename(folder: Path) -> None:
    (folder / "cat/0.bmp").rename(folder / "cat/9.bmp")


CHANGES = {
    "every file": (lambda folder: [repaint(folder, str(file)) for file in folder.rglob("*.bmp")], "and 6 more changed"),
    "one file": (lambda folder: repaint(folder, "dog/1.bmp"), "(dog/1.bmp changed)"),
    "two files swapped": (swap, "cat/0.bmp changed|dog/0.bmp, cat/0.bmp changed|cat/0.bmp, dog/0.bmp changed"),
    "a file more": (lambda folder: write(folder / "cat/new.bmp", 3), "cat/new.bmp new"),
    "a file less": (lambda folder: (folder / "owl/x.bmp").unlink(), "owl/x.bmp gone"),
    "a file of another name": (rename, "cat/9.bmp new, cat/0.bmp gone"),
    "another size": (lambda folder: write(folder / "cat/1.bmp", 1, whole=False), "(cat/1.bmp changed)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_files_are_noticed_and_named(folder, root, change):
    mine(root, folder)
    before, kept = fingerprint_of(root), bytes_of(root)
    act, told = CHANGES[change]
    act(folder)
    with pytest.raises(UserError) as refused:
        mine(root, folder)
    assert any(one in str(refused.value) for one in told.split("|"))
    assert "--replace" in str(refused.value)
    assert bytes_of(root) == kept, "nothing is lost"
    root.remove(PATH)
    write(folder / "cat/1.bmp", 1)
    mine(root, folder)
    if change != "another size":  # it has been put right again
        assert fingerprint_of(root) != before, "what follows from the images is made anew, too"


SETTINGS = {"order": "listed", "seed": 1, "size": 8}


@pytest.mark.parametrize("key", SETTINGS)
def test_other_settings_are_named(folder, root, key):
    mine(root, folder)
    with pytest.raises(UserError, match=f"{key}: "):
        mine(root, folder, **{key: SETTINGS[key]})


def test_content_alone_decides(folder, root, tmp_path):
    """The same files in another place and with other times are the same images; made anew they have the same name."""
    mine(root, folder)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert mine(root, tmp_path / "copy") == "skipped"
    other = Root(str(tmp_path / "other"))
    mine(other, tmp_path / "copy")
    assert fingerprint_of(other) == fingerprint_of(root)


def test_what_was_touched_is_read_once(folder, root, monkeypatch):
    mine(root, folder)
    before, read = bytes_of(root), []
    counted = source_images.content_of
    monkeypatch.setattr(source_images, "content_of", lambda file: read.append(file.source) or counted(file))
    assert mine(root, folder) == "skipped"
    assert read == []
    for name in ("cat/3.bmp", "owl/y.bmp"):
        (folder / name).touch()
    assert mine(root, folder) == "skipped"
    assert sorted(read) == ["cat/3.bmp", "owl/y.bmp"], "only those are read"
    assert mine(root, folder) == "skipped"
    assert len(read) == 2, "and remembered"
    assert bytes_of(root) == before
    repaint(folder, "cat/3.bmp")
    with pytest.raises(UserError, match=r"cat/3\.bmp changed"):
        mine(root, folder)


def test_a_remembered_stamp_that_is_damaged_says_nothing(folder, root):
    mine(root, folder)
    (folder / "cat/3.bmp").touch()
    mine(root, folder)
    for content in (b"", b"[]", b"{}", b'{"images": 3, "stamps": 4}', b"\xff"):
        root.write_bytes("images.stamps.json", content)
        assert mine(root, folder) == "skipped"


def test_check_reads_the_files(folder, root):
    mine(root, folder)
    root.write_bytes("recipe.toml", recipe_of(folder).to_toml().encode())
    assert check_sources(root) == []
    times = (folder / "cat/0.bmp").stat()
    repaint(folder, "cat/0.bmp")
    os.utime(folder / "cat/0.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))
    (folder / "dog/2.bmp").unlink()
    write(folder / "dog/7.bmp", 3)
    assert {finding.artifact.rpartition(": ")[2]: finding.problem for finding in check_sources(root)} == {
        "cat/0.bmp": "has another content than was mined",
        "dog/2.bmp": "is gone since it was mined",
    }


# Files that are bad.


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
        assert xr.open_zarr(root.local / PATH)["source"].values.tolist() == good[:count]
        return
    with pytest.raises(UserError) as told:
        mine(root, place / "photos", **more)
    assert all(source in str(told.value) for source in chosen_bad[:5])
    assert len(chosen_bad) == 1 or f"{len(chosen_bad)} of {count or 11} files cannot be read" in str(told.value)
    assert not zarrs.attributes_at(Place(root, PATH))["complete"]
    if not good:
        with pytest.raises(UserError, match="none of its 11 files can be read"):
            mine(root, place / "photos", skip_bad=True, **more)
        return
    assert mine(root, place / "photos", skip_bad=True, **more) == "done", "with no --replace"
    found = xr.open_zarr(root.local / PATH)
    assert found["source"].values.tolist() == good[:count]
    assert found["written"].size == -(-len(good[:count]) // BLOCK)
    left = [one["source"] for one in found.attrs["left_out"]]
    assert left == [source for source in wrong if order.index(source) < order.index(good[:count][-1]) or
                    len(good) < (count or 11)]  # fmt: skip
    assert all("damaged" in one["reason"] for one in found.attrs["left_out"])
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
    with pytest.raises(UserError, match=r"owl/x\.bmp is no image"):
        mine(root, folder)
    (folder / "owl/x.bmp").unlink()
    assert mine(root, folder) == "done"
    assert xr.open_zarr(root.local / PATH)["pixels"].shape[0] == 9


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


class CutError(Exception):
    """The machine goes off."""


def cut_at(patch: pytest.MonkeyPatch, writes: int) -> list[int]:
    """Let so many files be written and no more; counts them."""
    done = [0]

    def counted(kept):
        def counting(self, *arguments, **named):
            done[0] += 1
            if done[0] > writes:
                raise CutError
            return kept(self, *arguments, **named)

        return counting

    for name in ("_set", "set_sync"):
        patch.setattr(DurableStore, name, counted(getattr(DurableStore, name)))
    return done


def without_gathered(root: Root) -> dict[str, object]:
    """All files but the copies of metadata at the top, which only make a finished store open faster."""
    found: dict[str, object] = dict(bytes_of(root))
    top = json.loads(root.read_bytes(f"{PATH}/zarr.json"))
    return {**found, f"{PATH}/zarr.json": {**top, "consolidated_metadata": None}}


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


@pytest.mark.parametrize("array", ["pixels", "source", "stamp", "sha256", "place", "label"])
def test_damage_is_mended_from_the_files(folder, root, monkeypatch, array):
    mine(root, folder)
    root.write_bytes("recipe.toml", recipe_of(folder).to_toml().encode())
    seal_finished(root)
    before = bytes_of(root)
    labels = array in ("place", "label")
    chunk = f"{PATH}/{array}/c/{'0' if labels else '1/0/0/0' if array == 'pixels' else '1'}"
    content = bytearray(root.read_bytes(chunk))
    content[len(content) // 2] ^= 4
    root.write_bytes(chunk, bytes(content))
    assert any(finding.kind in ("chunk", "file") for finding in check_root(root))
    mend(root)
    read, counted = [], stage.content_of
    monkeypatch.setattr(stage, "content_of", lambda file: read.append(file) or counted(file))
    mine(root, folder)
    assert bytes_of(root) == before
    assert len(read) == (0 if labels else BLOCK), "only the block that was damaged"


def test_what_is_mended_from_other_files_is_no_longer_the_same(folder, root):
    mine(root, folder)
    before = fingerprint_of(root)
    group = zarr.open_group(root.store(PATH), mode="r+", use_consolidated=False)
    source = str(group["source"][5])
    group["written"][1] = False
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


# Stores of before.


def older(root: Root, folder: Path, complete: bool = True) -> str:
    """What the version before this one left of a folder: names and sizes in its fingerprint, all as listed."""
    files = sorted(folder.rglob("*.bmp"))
    made = fingerprint("images", files=[[file.name, file.stat().st_size] for file in files], size=SIDE)
    group = zarrs.create_store(root, PATH)
    zarrs.create_array(
        group, "pixels", shape=(len(files), SIDE, SIDE, 3), chunks=(16, SIDE, SIDE, 3), dtype="uint8",
        dimensions=("image", "y", "x", "rgb"), coordinates="source",
    )  # fmt: skip
    zarrs.create_array(group, "written", shape=(1,), chunks=(1,), dtype="bool", dimensions=("block",), fill=False)
    zarrs.create_labels(group, "source", [file.name for file in files], "image")
    zarrs.seal_layout(group, made, {"block": 16})
    group["pixels"][:] = np.stack([np.asarray(Image.open(file)) for file in files])
    if complete:
        group["written"][0] = True
        zarrs.complete(group)
    return made.digest


def test_older_images_are_the_same_as_long_as_their_names_and_sizes_are(folder, root):
    digest = older(root, folder)
    before = bytes_of(root)
    for more in ({}, {"order": "listed"}, {"seed": 4}):
        assert mine(root, folder, **more) == "skipped"
    assert (fingerprint_of(root), bytes_of(root)) == (digest, before)
    with pytest.raises(UserError, match="size: 4 → 8"):
        mine(root, folder, size=8)
    write(folder / "dog/zzz.bmp", 1)
    with pytest.raises(UserError, match=r"zzz.bmp is another file than before\); give --replace"):
        mine(root, folder)
    (folder / "dog/zzz.bmp").unlink()
    (folder / "owl/y.bmp").unlink()
    with pytest.raises(UserError, match="11 files → 10 files"):
        mine(root, folder)


def test_older_images_that_are_not_all_there_say_why_they_are_left(folder, root):
    older(root, folder, complete=False)
    with pytest.raises(UserError, match=r"begun by an older rosetta.*--replace"):
        mine(root, folder)


def test_check_says_that_older_images_cannot_be_compared(folder, root):
    older(root, folder)
    root.write_bytes("recipe.toml", recipe_of(folder).to_toml().encode())
    assert [finding.artifact for finding in check_sources(root)] == [PATH]
