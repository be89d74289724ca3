"""Files are streamed like images of a generator; bad ones are named, or left out of all sums."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from streamed_runs import KEEP, mined

from rosetta.errors import UserError
from storage.artifacts.images import ImageStore
from storage.artifacts.profiles import ProfileStore
from tasks.plan import Plan

MODELS = ("ada", "bob", "cyd")
KEPT = f"images.keep={KEEP}"
COUNT = 90


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = random.integers(0, 256, (5, 5, 3)).astype(np.uint8)
        path = tmp_path / "photos" / f"class{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((20, 20), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "photos"


def mined_of(root: Path, folder: Path, *changes: str) -> Plan:
    return mined(root, *changes, images=f'source = "{folder}"\nsize = 16', models=MODELS)


def pearson(plan: Plan, pair: str) -> np.ndarray:
    return xr.open_zarr(f"{plan.root.url}/correlations/{pair}.zarr")["pearson"].values


def test_files_are_streamed(tmp_path: Path, folder: Path) -> None:
    stored = mined_of(tmp_path / "stored", folder, "compute.dtype=float32")
    streamed = mined_of(tmp_path / "streamed", folder, KEPT)
    for pair in ("ada~ada", "ada~bob", "ada~cyd"):
        np.testing.assert_allclose(pearson(streamed, pair), pearson(stored, pair), rtol=0, atol=1e-6)
    images, every = ImageStore.read(streamed.root), ImageStore.read(stored.root)
    index = images.indices(slice(None))
    np.testing.assert_array_equal(images.pixels(slice(None)), every.pixels(slice(None))[index])
    assert images.sources() == [every.sources()[image] for image in index]
    assert set(images.labels()) == {"class0", "class1", "class2"}
    np.testing.assert_array_equal(images.first_half(), every.first_half()[index])
    np.testing.assert_array_equal(images.first_half_of_run(COUNT), every.first_half())


def unkept(folder: Path, tmp_path: Path) -> Path:
    """A file whose maps are not kept."""
    kept = ImageStore.read(mined_of(tmp_path / "first", folder, KEPT).root).sources()
    return next(path for path in sorted(folder.rglob("*.png")) if path.relative_to(folder).as_posix() not in kept)


def test_bad_files_are_named_and_nothing_is_lost(tmp_path: Path, folder: Path) -> None:
    bad = unkept(folder, tmp_path)
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    with pytest.raises(UserError, match=bad.name):
        mined_of(tmp_path / "run", folder, KEPT)
    with pytest.raises(UserError, match=bad.name):
        mined_of(tmp_path / "run", folder, KEPT)


def test_bad_files_are_left_out_of_all_sums(tmp_path: Path, folder: Path) -> None:
    bad = unkept(folder, tmp_path)
    bad.write_bytes(b"no image")
    streamed = mined_of(tmp_path / "run", folder, KEPT, "images.skip_bad=true")
    profile = ProfileStore.read(streamed.root, "ada")
    assert sum(profile.attributes["half_images"]) == COUNT - 1
    assert profile.first_half_share != 0.5
    bad.unlink()
    stored = mined_of(tmp_path / "stored", folder, "compute.dtype=float32")
    np.testing.assert_allclose(pearson(streamed, "ada~bob"), pearson(stored, "ada~bob"), rtol=0, atol=1e-6)


def test_a_file_that_came_since_asks_for_replace(tmp_path: Path, folder: Path) -> None:
    plan = mined_of(tmp_path / "run", folder, KEPT)
    (folder / "class0" / "new.png").write_bytes(next(folder.rglob("*.png")).read_bytes())
    with pytest.raises(UserError, match="--replace"):
        mined_of(tmp_path / "run", folder, KEPT)
    assert ImageStore.read(plan.root).count == KEEP
