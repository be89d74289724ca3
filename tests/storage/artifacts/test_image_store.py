"""`images.zarr`: what is kept of each image beside its pixels, and stores that do not have it yet."""

import io
import json
from pathlib import Path

import numpy as np
import photos
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from photos import BLOCK, classes, fingerprint_of, mine
from PIL import Image

from rosetta.recipe import Images
from storage.artifacts import catalogue
from storage.artifacts import layout as zarrs
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.seals import sha256
from storage.artifacts.source_images import SourceStore
from storage.filesystem.root import Root
from tasks.dump import images as stage
from tasks.source.image_file import ImageFile
from tasks.source.pixels import square
from tasks.source.recognition import settings


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stage, "block_size", lambda *_: BLOCK)


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


def opened(root: Root) -> xr.Dataset:
    return xr.open_zarr(root.local / catalogue.IMAGES.path())


def drawn(root: Root, count: int, seed: int | None) -> ImageStore:
    return ImageStore.create(
        root,
        fingerprint("images"),
        images=count,
        size=(2, 2),
        block=4,
        latents=np.zeros((count, 3), np.float32),
        seed=seed,
    )


def test_images_that_were_made_say_of_which_draw(root):
    store = drawn(root, 10, 7)
    for block in (2, 0, 1):
        store.write(block, np.full((min(4, 10 - 4 * block), 2, 2, 3), block, np.uint8))
    store.finish()
    found = opened(root)
    assert found["source"].values.tolist() == [f"seed 7 index {index}" for index in range(10)]
    assert "source" in found["pixels"].coords
    assert (found.attrs["seed"], found.attrs["order"]) == (7, "drawn")
    assert ImageStore.read(root).sources() == found["source"].values.tolist()
    assert ImageStore.read(root).labels() is None


def test_images_that_an_older_version_made_say_nothing(root):
    store = drawn(root, 4, None)
    store.write(0, np.zeros((4, 2, 2, 3), np.uint8))
    store.finish()
    assert (ImageStore.read(root).sources(), ImageStore.read(root).labels()) == (None, None)


def test_a_source_says_of_its_draw(tmp_path, root):
    mine(root, classes(tmp_path / "photos"), seed=3)
    found = opened(root)
    assert (found.attrs["seed"], found.attrs["order"]) == (3, "drawn")
    assert found["crop"].dims == ("image", "edge")
    assert found["composited"].dims == ("image",)
    assert found["crop"].values.tolist() == [[0, 0, 1, 1]] * 11
    assert not found["composited"].values.any()
    assert ImageStore.read(root).labels() == [source.split("/")[0] for source in found["source"].values]


@given(width=st.integers(1, 40), height=st.integers(1, 40), side=st.integers(1, 16), turned=st.booleans())
def test_the_crop_is_what_was_scaled(width, height, side, turned):
    """Against Pillow's own resampling of that box, of an image that is upright or says how to turn it."""
    original = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    original.save(content, "PNG", exif=exif if turned else None)
    found = square(ImageFile("", "it", 1, ""), content.getvalue(), Images(size=side))
    upright = original.transpose(Image.Transpose.ROTATE_270) if turned else original
    y0, x0, y1, x1 = found.crop
    assert (y1 - y0) * upright.height == pytest.approx((x1 - x0) * upright.width)
    scales = (upright.width, upright.height) * 2
    box = tuple(round(edge * scale, 9) for edge, scale in zip((x0, y0, x1, y1), scales, strict=True))
    expected = upright.resize((side, side), Image.Resampling.BICUBIC, box=box)
    assert np.abs(found.pixels.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "colour", "composited"),
    [
        ("RGBA", (9, 9, 9, 255), False),
        ("RGBA", (9, 9, 9, 254), True),
        ("RGBA", (9, 9, 9, 0), True),
        ("LA", (9, 0), True),
        ("LA", (9, 255), False),
        ("RGB", (9, 9, 9), False),
        ("L", 9, False),
    ],
)
def test_only_what_shows_the_background_is_composited(mode, colour, composited):
    content = io.BytesIO()
    image = Image.new(mode, (3, 3), colour)
    image.save(content, "PNG")
    assert square(ImageFile("", "it", 1, ""), content.getvalue(), Images(size=2)).composited == composited


def without_new_arrays(root: Root) -> zarr.Group:
    """A store as the version before this one left it."""
    group = zarr.open_group(root.store(catalogue.IMAGES.path()), mode="r+", use_consolidated=False)
    for name in ("crop", "composited"):
        del group[name]
    kept = {key: value for key, value in group.attrs.asdict().items() if key not in ("labels_given", "seed", "order")}
    group.attrs.clear()
    group.update_attributes(kept)
    zarrs.complete(group)
    return group


def test_an_older_store_opens_and_goes_on(tmp_path, root):
    folder = classes(tmp_path / "photos")
    mine(root, folder)
    before = fingerprint_of(root)
    group = without_new_arrays(root)
    assert mine(root, folder) == "skipped"
    store = SourceStore.read(root)
    assert store.labels() == [source.split("/")[0] for source in store.sources()]
    zarrs.written_of(group)[1] = False
    group.attrs["complete"] = False
    assert mine(root, folder) == "done"
    assert fingerprint_of(root) == before
    assert "crop" not in opened(root), "what was not kept of some is not made up for others"


def test_fingerprints_of_recipes_without_labels_are_those_of_before(tmp_path, root):
    folder = classes(tmp_path / "photos")
    mine(root, folder)
    sources, digests = (SourceStore.read(root).column(name).to_pylist() for name in ("source", "sha256"))
    content = sha256(json.dumps([list(row) for row in zip(sources, digests, strict=True)]).encode())
    made = fingerprint("images", None, size=photos.SIDE, order="drawn", seed=0, halves=0, content=content)
    assert fingerprint_of(root) == made.digest
    listed = settings(Images(source="x", order="listed"))
    assert listed.depends.keys() == {"stage", "format", "size", "order", "halves"}
    finished = {"order": "listed", "content": "those files"}
    older = settings(Images(source="x", order="listed"), stored=finished)
    assert older.depends.keys() == listed.depends.keys() - {"halves"}


@pytest.mark.parametrize("labels", ["folder", "none", "labels.csv"])
def test_labels_are_part_of_the_fingerprint_where_they_are_asked_for(labels):
    asked = settings(Images(source="x", labels=labels)).depends
    assert asked["labels"] == ("table" if Path(labels).suffix else labels)
