"""The images of a folder: what is stored of each file, in which order, and whether they are known again."""

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import BLOCK, SIDE, bytes_of, classes, fingerprint_of, mine, recipe_of, repaint, write
from PIL import Image

from rosetta.errors import UserError
from rosetta.mining.halves import run_halves
from storage.artifacts import catalogue
from storage.artifacts import layout as zarrs
from storage.artifacts.attributes import encode
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.source_images import SourceStore
from storage.filesystem.root import Root
from tasks.dump import images as stage
from tasks.source import recognition as source_images
from tasks.source.recognition import check_sources


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stage, "block_size", lambda *_: BLOCK)


@pytest.fixture
def folder(tmp_path) -> Path:
    return classes(tmp_path / "photos")


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


def test_each_image_says_which_file_it_is(folder, root):
    assert mine(root, folder) == "done"
    found = xr.open_zarr(root.local / catalogue.IMAGES.path())
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
    assert "label" not in xr.open_zarr(root.local / catalogue.IMAGES.path())


def test_some_of_a_folder_are_drawn_from_all_of_it(folder, root):
    mine(root, folder, count=6)
    labels = Counter(xr.open_zarr(root.local / catalogue.IMAGES.path())["label"].values.tolist())
    for label, share in {"cat": 6 * 6 / 11, "dog": 3 * 6 / 11, "owl": 2 * 6 / 11}.items():
        assert abs(labels[label] - share) < 1


def test_frames_of_a_film_stay_as_listed(folder, root):
    mine(root, folder, order="listed", count=7)
    found = xr.open_zarr(root.local / catalogue.IMAGES.path())
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
        for number, some in enumerate([listed, listed.take(np.array(order))]):
            patch.setattr(source_images, "list_source", lambda _, some=some: some)
            mine(root := Root(str(place / f"root {number}")), place / "photos")
            roots.append(bytes_of(root))
    assert roots[0] == roots[1]


# Halves.


def halves_by_source(root: Root) -> dict[str, int]:
    found = xr.open_zarr(root.local / catalogue.IMAGES.path())
    assert found["half"].dtype == np.int8
    return dict(zip(found["source"].values.tolist(), found["half"].values.tolist(), strict=True))


def test_each_image_belongs_to_a_half_whatever_their_order(folder, root, tmp_path):
    mine(root, folder)
    halves = halves_by_source(root)
    assert sorted(Counter(halves.values()).items()) == [(1, 6), (2, 5)], "of 11"
    of_cats = Counter(half for source, half in halves.items() if source.startswith("cat"))
    assert abs(of_cats[1] - of_cats[2]) <= 2
    mine(listed := Root(str(tmp_path / "listed")), folder, order="listed")
    assert halves_by_source(listed) == halves
    mine(other := Root(str(tmp_path / "other")), folder, seed=3)
    assert halves_by_source(other) != halves


def test_bad_files_leave_the_halves_balanced(folder, root):
    write(folder / "cat/0.bmp", 0, whole=False)
    mine(root, folder, skip_bad=True)
    assert sorted(Counter(halves_by_source(root).values()).items()) == [(1, 5), (2, 5)]


def test_finished_images_of_an_earlier_version_keep_their_runs(folder, root):
    mine(root, folder)
    group = zarrs.open_existing(root, catalogue.IMAGES.path())
    depends = {key: value for key, value in zarrs.attributes_of(group)["depends"].items() if key != "halves"}
    del group["half"]
    group.update_attributes(encode(Fingerprint(depends).attributes()))
    zarrs.complete(group)
    before = fingerprint_of(root)
    assert mine(root, folder) == "skipped"
    assert fingerprint_of(root) == before
    np.testing.assert_array_equal(SourceStore.read(root).first_half(), run_halves(11))
    repaint(folder, "cat/0.bmp")
    with pytest.raises(UserError, match=r"cat/0\.bmp changed"):
        mine(root, folder)


def test_a_half_that_is_none_is_refused(folder, root):
    mine(root, folder)
    group = zarrs.open_existing(root, catalogue.IMAGES.path())
    group["half"][3] = 7
    with pytest.raises(UserError, match=r"half of .* is no half, 1 or 2, of each of 11 images"):
        SourceStore.read(root).first_half()


# What is known again.


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
    root.remove(catalogue.IMAGES.path())
    write(folder / "cat/1.bmp", 1)
    mine(root, folder)
    if change != "another size":  # it has been put right again
        assert fingerprint_of(root) != before, "what follows from the images is rebuilt, too"


SETTINGS = {"order": "listed", "seed": 1, "size": 8}


@pytest.mark.parametrize("key", SETTINGS)
def test_other_settings_are_named(folder, root, key):
    mine(root, folder)
    with pytest.raises(UserError, match=f"{key}: "):
        mine(root, folder, **{key: SETTINGS[key]})


def test_content_alone_decides(folder, root, tmp_path):
    """The same files in another place and with other times are the same images; rebuilt they have the same name."""
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
        root.write_bytes(catalogue.AGREED, content)
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
        "cat/0.bmp": "differs from what was mined",
        "dog/2.bmp": "is gone since it was mined",
    }


# Stores of before.


def older(root: Root, folder: Path, complete: bool = True) -> str:
    """What the version before this one left of a folder: names and sizes in its fingerprint, all as listed."""
    files = sorted(folder.rglob("*.bmp"))
    made = fingerprint("images", files=[[file.name, file.stat().st_size] for file in files], size=SIDE)
    group = zarrs.create_store(root, catalogue.IMAGES.path())
    axes = {"image": (len(files), 16), "y": SIDE, "x": SIDE, "rgb": 3}
    zarrs.create_array(group, "pixels", "uint8", axes, "pixels", coordinates="source")
    zarrs.create_written(group, block=1)
    zarrs.create_labels(group, "source", [file.name for file in files], "image", "source")
    zarrs.seal_layout(group, made, {"block": 16})
    group["pixels"][:] = np.stack([np.asarray(Image.open(file)) for file in files])
    if complete:
        zarrs.written_of(group)[0] = True
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
    assert [finding.artifact for finding in check_sources(root)] == [catalogue.IMAGES.path()]
