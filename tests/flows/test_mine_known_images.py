"""Runs over a folder: its images are known again by their content, what follows from others is rebuilt."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from PIL import Image
from tinyzoo import SIDE, recipe_text

from storage.artifacts import layout as zarrs
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root

pytestmark = pytest.mark.slow


def write(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(20):
        write(tmp_path / "photos" / f"{'ab'[number % 2]}/{number // 2:02}.bmp", number)
    return tmp_path / "photos"


def recipe_over(photos: Path, root: Path, more: str = "") -> Path:
    recipe = root.with_suffix(".toml")
    recipe.write_text(recipe_text(root, ("ada", "bob"), f'source = "{photos}"\nsize = {SIDE}\n{more}', count=0))
    return recipe


def skipped(answer: dict) -> set[str]:
    return {stage["name"] for stage in answer["stages"] if stage["outcome"] == "skipped"}


def refused(done) -> str:
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("rosetta: ")]
    return line


def test_other_images_are_noticed_and_all_that_follows_is_made_anew(photos, tiny, tmp_path):
    recipe = recipe_over(photos, tmp_path / "root")
    whole = tiny.json("mine", recipe)
    names = {stage["name"] for stage in whole["stages"]}
    assert skipped(whole) == {"profile"}, "made while the maps were dumped"
    for file in photos.rglob("*.bmp"):
        file.touch()
    shutil.copytree(photos, tmp_path / "moved")
    assert skipped(tiny.json("mine", recipe)) == names, "a touch changes nothing"
    moved = ("--set", f"images.source={tmp_path / 'moved'}")
    assert skipped(tiny.json("mine", recipe, *moved)) == names, "nor does another place"
    maps = zarr.open_group(tmp_path / "root/activations/ada.zarr", mode="r")["body.1/activation"][:]
    write(photos / "a/03.bmp", 1000)
    assert "images.zarr was made from something else (a/03.bmp changed)" in refused(tiny("mine", recipe))
    assert skipped(tiny.json("mine", recipe, "--replace")) == {"profile"}
    there = xr.open_zarr(tmp_path / "root/images.zarr")["source"].values.tolist()
    after = zarr.open_group(tmp_path / "root/activations/ada.zarr", mode="r")["body.1/activation"][:]
    differ = np.abs(after.astype(float) - maps).max(axis=(1, 2, 3)) > 0
    assert [source for source, other in zip(there, differ, strict=True) if other] == ["a/03.bmp"]
    assert skipped(tiny.json("mine", recipe)) == names
    assert tiny("check", tmp_path / "root", "--images").returncode == 0
    (photos / "b/01.bmp").unlink()
    told = tiny("check", tmp_path / "root", "--images")
    assert (told.returncode, told.stdout.count("\n")) == (2, 1)
    assert "b/01.bmp: is gone since it was mined" in told.stdout


def test_nothing_goes_on_from_images_that_were_removed_and_are_others_now(photos, tiny, tmp_path):
    recipe = recipe_over(photos, tmp_path / "root")
    tiny.json("mine", recipe)
    shutil.rmtree(tmp_path / "root/images.zarr")
    again = tiny.json("mine", recipe)
    assert {"dump ada", "correlate"} <= skipped(again), "the same images: what follows from them stays"
    shutil.rmtree(tmp_path / "root/images.zarr")
    write(photos / "b/00.bmp", 1000)
    assert "activations/ada.zarr was made from something else (images: " in refused(tiny("mine", recipe))
    # What comes before the dumps was made by the run that was refused.
    assert skipped(tiny.json("mine", recipe, "--replace")) == {"images", "features", "profile"}
    assert tiny("check", tmp_path / "root").returncode == 0


def test_nothing_goes_on_from_images_that_are_mended_from_others(photos, tiny, tmp_path):
    recipe = recipe_over(photos, tmp_path / "root")
    tiny.json("mine", recipe)
    store = tmp_path / "root/images.zarr"
    for array in ("pixels", "source"):  # then it is not known any more which files a block was read from
        (chunk,) = (path for path in (store / array / "c").rglob("*") if path.is_file())
        chunk.write_bytes(b"damaged")
    write(photos / "b/00.bmp", 1000)
    line = refused(tiny("mine", recipe, "--mend"))
    assert "activations/ada.zarr was made from something else (images: " in line


def test_bad_files_are_told_in_one_run_and_left_out_in_the_next(photos, tiny, tmp_path):
    recipe = recipe_over(photos, tmp_path / "root", "count = 20")
    (photos / "a/04.bmp").write_text("no image at all")
    (photos / "b/07.bmp").write_bytes((photos / "b/07.bmp").read_bytes()[:-30])
    line = refused(tiny("mine", recipe))
    assert "2 of 20 files cannot be read" in line
    assert "a/04.bmp is not an image" in line
    assert "b/07.bmp is damaged" in line
    assert "images.skip_bad=true" in line
    went_on = tiny("mine", recipe, "--set", "images.skip_bad=true")
    assert went_on.returncode == 0, went_on.stderr
    assert "left out 2 files" in went_on.stderr
    assert "18 instead of the 20" in went_on.stderr
    images = xr.open_zarr(tmp_path / "root/images.zarr")
    assert {one["source"] for one in json.loads(images.attrs["left_out_json"])} == {"a/04.bmp", "b/07.bmp"}
    store = xr.open_datatree(tmp_path / "root/activations/bob.zarr", engine="zarr")
    assert store["body.1"]["activation"].sizes["image"] == images.sizes["image"] == 18
    assert tiny.json("status", tmp_path / "root")["state"] == "complete"


def test_runs_share_the_images_of_a_folder(photos, tiny, tmp_path):
    tiny.json("mine", recipe_over(photos, tmp_path / "first"))
    second = tiny.json("mine", recipe_over(photos, tmp_path / "second", f'from = "{tmp_path / "first"}"'))
    assert {"images", "dump ada", "dump bob", "features"} <= skipped(second)
    assert not (tmp_path / "second/images.zarr").exists()
    third = tiny.json("mine", recipe_over(photos, tmp_path / "third", f'from = "{tmp_path / "shared"}"'))
    assert "images" not in skipped(third)
    assert (tmp_path / "shared/images.zarr").exists()
    assert (tmp_path / "shared/activations/ada.zarr").exists()
    write(photos / "b/00.bmp", 1000)
    line = refused(tiny("mine", recipe_over(photos, tmp_path / "fourth", f'from = "{tmp_path / "shared"}"')))
    assert "b/00.bmp changed" in line


def test_a_run_over_a_folder_begun_before_goes_on(photos, tiny, tmp_path):
    root = Root(str(tmp_path / "root"))
    files = sorted(photos.rglob("*.bmp"))
    made = fingerprint("images", files=[[file.name, file.stat().st_size] for file in files], size=SIDE)
    group = zarrs.create_store(root, "images.zarr")
    zarrs.create_array(group, "pixels", "uint8", {"image": 20, "y": SIDE, "x": SIDE, "rgb": 3}, "pixels")
    zarrs.create_written(group, block=1)
    zarrs.create_labels(group, "source", [file.name for file in files], "image", "source")
    zarrs.seal_layout(group, made, {"block": 32})
    group["pixels"][:] = np.stack([np.asarray(Image.open(file)) for file in files])
    zarrs.written_of(group)[0] = True
    zarrs.complete(group)
    recipe = recipe_over(photos, tmp_path / "root")
    went_on = tiny.json("mine", recipe)
    assert skipped(went_on) == {"images", "profile"}
    assert len(skipped(tiny.json("mine", recipe))) == len(went_on["stages"])
    assert tiny("check", root.local).returncode == 0
