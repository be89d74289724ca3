"""The stage `images` over files of many images: the same store as of single files, cut short and gone on with."""

import hashlib
import os
from pathlib import Path

import many_images
import numpy as np
import pytest
import xarray as xr
from many_images import KINDS, PICTURES, Picture, bmp, file_of, label_of, put, tar_of
from photos import BLOCK, CutError, bytes_of, cut_at, fingerprint_of, mine, recipe_of

from rosetta.errors import UserError
from storage.artifacts import catalogue
from storage.artifacts.attributes import decode
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump import images as stage
from tasks.source import recognition
from tasks.source.recognition import check_sources, in_order


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stage, "block_size", lambda *_: BLOCK)


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


def opened(root: Root) -> xr.Dataset:
    return xr.open_zarr(root.local / catalogue.IMAGES.path())


def suffix(kind: str) -> str:
    return kind.split()[0]


def chunks_of(root: Root) -> dict[str, bytes]:
    return {name: content for name, content in bytes_of(root).items() if "/c/" in name}


def changed(number: int, seed: int = 1000) -> list[Picture]:
    """The pictures, of which one has other pixels."""
    return [Picture(one.name, bmp(seed), one.label) if at == number else one for at, one in enumerate(PICTURES)]


def rewrite(kind: str, source: str, pictures: list[Picture]) -> None:
    many_images.write(kind, source if kind == "arrow" else source.rpartition("/")[0], pictures)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["disk", "memory"])
@pytest.mark.parametrize("more", [{}, {"seed": 5, "count": 7}, {"order": "listed"}])
def test_each_image_is_that_of_its_file(kind, where, more, tmp_path, root):
    at = f"memory://{tmp_path.name}" if where == "memory" else str(tmp_path / "data")
    source = many_images.write(kind, at)
    assert mine(root, source, **more) == "done"
    found = opened(root)
    files = in_order(recipe_of(source, **more).images)[: more.get("count")]
    sources = found["source"].values.tolist()
    assert sources == [file.source for file in files]
    assert (sources == sorted(sources)) == (more == {"order": "listed"})
    named = {picture.name: picture for picture in PICTURES}
    for image, source_of in enumerate(sources):
        picture = named[source_of.partition("/")[2]]
        assert found["label"].values[image] == label_of(kind, picture)
        assert found["sha256"].values[image] == hashlib.sha256(picture.content).hexdigest()
        seed = int(picture.name[:2])
        np.testing.assert_array_equal(
            found["pixels"][image], np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        )
    assert found.attrs.get("seed") == (None if "order" in more else more.get("seed", 0))
    assert mine(root, source, **more) == "skipped"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_cut_goes_on_to_the_same_bytes(kind, tmp_path):
    bad = Picture("04.bmp", b"BM none", 1)
    source = many_images.write(kind, str(tmp_path / "data"), [*PICTURES[:4], bad, *PICTURES[5:]])
    whole = Root(str(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch:
        total = cut_at(patch, 10**6)
        mine(whole, source, skip_bad=True)
    assert total[0] > 30
    assert opened(whole).sizes["image"] == 10
    for writes in range(1, total[0], 7):
        root = Root(str(tmp_path / f"cut {writes}"))
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, writes)
            with pytest.raises(CutError):
                mine(root, source, skip_bad=True)
        mine(root, source, skip_bad=True)
        assert fingerprint_of(root) == fingerprint_of(whole)
        assert chunks_of(root) == chunks_of(whole), writes


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_changed_is_named_and_no_other(kind, tmp_path, root):
    source = many_images.write(kind, str(tmp_path / "data"))
    mine(root, source)
    kept = bytes_of(root)
    rewrite(kind, source, changed(8))
    with pytest.raises(UserError, match=rf"\(1\.{suffix(kind)}/08\.bmp changed\); give --replace"):
        mine(root, source)
    assert bytes_of(root) == kept
    rewrite(kind, source, PICTURES)
    assert mine(root, source) == "skipped", "content decides"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_touched_is_read_once(kind, tmp_path, root, monkeypatch):
    source = many_images.write(kind, str(tmp_path / "data"))
    mine(root, source)
    read, kept = [], recognition.content_of
    monkeypatch.setattr(recognition, "content_of", lambda file: read.append(file.source) or kept(file))
    assert mine(root, source) == "skipped"
    assert read == []
    os.utime(tmp_path / f"data/1.{suffix(kind)}", ns=(1, 1))
    for _ in range(2):
        assert mine(root, source) == "skipped"
    assert sorted(read) == [f"1.{suffix(kind)}/{picture.name}" for picture in PICTURES[6:]], "and remembered"


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_come_and_go_are_named(kind, tmp_path, root):
    source = many_images.write(kind, str(tmp_path / "data"))
    mine(root, source)
    rewrite(kind, source, [*PICTURES, Picture("new.bmp", bmp(77), 0)])
    with pytest.raises(UserError, match=rf"1\.{suffix(kind)}/new\.bmp new"):
        mine(root, source)
    put(f"{tmp_path}/data/1.{suffix(kind)}", file_of(kind, PICTURES[6:10]))
    with pytest.raises(UserError, match=rf"1\.{suffix(kind)}/10\.bmp gone"):
        mine(root, source)


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_are_no_images_are_named_or_left_out(kind, tmp_path, root):
    bad = [Picture("03.bmp", b"no image", 0), Picture("07.bmp", bmp(7)[:-20], 1)]
    pictures = [bad[0] if one.name == "03.bmp" else bad[1] if one.name == "07.bmp" else one for one in PICTURES]
    source = many_images.write(kind, str(tmp_path / "data"), pictures)
    with pytest.raises(UserError) as refused:
        mine(root, source)
    line = str(refused.value)
    assert f"2 of 11 images cannot be read: 0.{suffix(kind)}/03.bmp is not an image" in line
    assert f"1.{suffix(kind)}/07.bmp is damaged" in line
    assert "skip_bad=true" in line
    assert mine(root, source, skip_bad=True) == "done"
    assert opened(root).sizes["image"] == 9
    assert {one["source"] for one in decode(opened(root).attrs)["left_out"]} == {
        f"0.{suffix(kind)}/03.bmp", f"1.{suffix(kind)}/07.bmp"
    }  # fmt: skip
    assert mine(root, source, skip_bad=True) == "skipped"


def test_check_names_members_that_changed(tmp_path, root):
    source = many_images.write("parquet", str(tmp_path / "data"))
    mine(root, source)
    root.write_bytes("recipe.toml", recipe_of(source).to_toml().encode())
    assert check_sources(root) == []
    rewrite("parquet", source, changed(2)[:10])
    found = {one.artifact.rpartition(": ")[2]: one.problem for one in check_sources(root)}
    assert found["0.parquet/02.bmp"] == "differs from what was mined"
    assert found["1.parquet/10.bmp"] == "is gone since it was mined"


# Labels.


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_changed_are_never_kept_silently(kind, tmp_path, root):
    """Those of the dataset are part of the content of its images."""
    source = many_images.write(kind, str(tmp_path / "data"))
    mine(root, source)
    before = fingerprint_of(root)
    other = [Picture(one.name, one.content, 2 if one.name == "05.bmp" else one.label) for one in PICTURES]
    rewrite(kind, source, [Picture(one.name, one.content, 1 if one.name == "05.bmp" else one.label) for one in other])
    now, then = (label_of(kind, Picture("", b"", label)) for label in (1, 2))
    with pytest.raises(
        UserError, match=rf"\(labels changed, 0\.{suffix(kind)}/05\.bmp: '{then}' → '{now}'\); give --re"
    ):
        mine(root, source)
    rewrite(kind, source, [Picture(one.name, one.content) for one in PICTURES])
    with pytest.raises(UserError, match=r"labels changed, .* and 6 more"):
        mine(root, source)
    root.remove(catalogue.IMAGES.path())
    mine(root, source)
    assert "label" not in opened(root)
    assert fingerprint_of(root) != before


def test_a_table_of_labels(tmp_path, root, caplog):
    for seed, name in enumerate(("cat/0", "cat/1", "dog/0")):
        put(f"{tmp_path}/photos/{name}.bmp", bmp(seed))
    photos, table = tmp_path / "photos", f"{tmp_path}/labels.csv"
    put(table, b"source,label\ncat/0.bmp,tabby\ndog/0.bmp,hound\n")
    mine(root, photos, labels=table)
    assert "images: no label for 1 of 3: cat/1.bmp" in caplog.text
    store = ImageStore.read(root)
    labels = dict(zip(store.sources(), store.labels(), strict=True))
    assert labels == {"cat/0.bmp": "tabby", "cat/1.bmp": "", "dog/0.bmp": "hound"}
    assert opened(root)["label"].dims == ("image",)
    Path(table).rename(f"{tmp_path}/moved.csv")
    assert mine(root, photos, labels=f"{tmp_path}/moved.csv") == "skipped", "its content counts, not where it lies"
    put(table, b"source,label\ndog/0.bmp,hound\ncat/0.bmp,siamese\n")
    with pytest.raises(UserError, match=r"labels changed, cat/0\.bmp: 'tabby' → 'siamese'"):
        mine(root, photos, labels=table)
    for labels, words in (("folder", '"table" → "folder"'), ("none", '"table" → "none"'), (None, "labels: ")):
        with pytest.raises(UserError, match=words):
            mine(root, photos, labels=labels)


@pytest.mark.parametrize(("labels", "expected"), [("folder", ["cat", "dog"]), ("none", None)])
def test_labels_as_asked(labels, expected, tmp_path, root):
    for name in ("cat/0", "dog/0"):
        put(f"{tmp_path}/photos/{name}.bmp", bmp(0))
    mine(root, tmp_path / "photos", labels=labels, order="listed")
    assert ImageStore.read(root).labels() == expected
    assert mine(root, tmp_path / "photos", labels=labels, order="listed") == "skipped"


def test_classes_of_labelled_and_unlabelled_tars(tmp_path, root, caplog):
    put(f"{tmp_path}/0.tar", tar_of(("0.bmp", bmp(0)), ("0.cls", b"4")))
    put(f"{tmp_path}/1.tar", tar_of(("1.bmp", bmp(1))))
    mine(root, f"{tmp_path}/*.tar", order="listed")
    assert ImageStore.read(root).labels() == ["4", ""]
    assert "images: no label for 1 of 2: 1.tar/1.bmp" in caplog.text
