"""Inversions of a small real run from the shell: what they find, leave, and do not do twice."""

import json
import shutil
import signal
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from skimage import data, metrics, transform

from rosetta.view.atlas.page import told
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.mend import mend

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(run, tmp_path_factory):
    """A copy of the small run that may be written to."""
    root = tmp_path_factory.mktemp("inverted") / "root"
    shutil.copytree(run[0], root)
    return root


@pytest.fixture(scope="module")
def inverted(place, rosetta):
    """Two images of the run and three new ones, in batches of two."""
    return rosetta.json("invert", place, "3:5", "new:3", "--steps", "40", "--batch", "2", "--restarts", "2")


def test_the_store_opens_with_xarray_and_holds_the_way(place, inverted):
    found = xr.open_zarr(place / "inversions/inversion/result.zarr")
    assert found["frames"].dims == ("guidance", "image", "frame", "y", "x", "rgb")
    assert found["latent"].dims == ("guidance", "image", "z")
    assert found["guidance"].values.tolist() == ["all"]
    assert found["source"].values.tolist() == ["image 3", "image 4", "new 0", "new 1", "new 2"]
    assert found["loss"].sizes["step"] == 41
    assert found["frame"].values[[0, -1]].tolist() == [0, 40]
    np.testing.assert_array_equal(found["frames"].values[:, :, -1], found["result"].values)
    images = xr.open_zarr(place / "images.zarr")["pixels"].values
    np.testing.assert_array_equal(found["target"].values[:2], images[3:5])
    losses = found["loss"].sel(term="rec").values[0]
    assert (losses[:, -1] < losses[:, 0]).all()
    # Guidance is over after 35 % of the steps, and what it left is measured at the end.
    guided = np.isfinite(found["loss"].sel(term="act").values).all((0, 1))
    assert guided.tolist() == [step < 0.35 * (len(guided) - 1) for step in range(len(guided) - 1)] + [True]
    # A generator without classes leaves no trace of them.
    assert "class" not in found
    depends = json.loads(found.attrs["depends_json"])
    assert set(depends) == {"stage", "format", "dictionary", "pixels_sha256", "settings"}
    assert set(depends["settings"]) == {
        "steps", "rate", "batch", "seed", "images", "rec", "alpha", "beta", "space", "models", "clusters", "above",
        "restarts", "high", "lpips", "schedule", "fade",
    }  # fmt: skip


def test_the_page_of_the_run_lists_it_and_is_else_as_it_was(run, place, inverted):
    before, after = (told((root / "report/index.html").read_text()) for root in (run[0], place))
    assert before["guided"] == []
    listed = {"kind": "inversion", "name": "inversion", "address": "../inversions/inversion/index.html"}
    assert after == {**before, "guided": [listed]}
    assert inverted["page"] == f"Page: {place}/report/index.html"
    assert [finding.shown for finding in check_root(Root(str(place)))] == []


def test_metrics_are_scikit_images(place, inverted):
    found = xr.open_zarr(place / "inversions/inversion/result.zarr").load()
    table = pd.read_parquet(place / "inversions/inversion/metrics.parquet")
    assert table["guidance"].tolist() == ["all"] * 5
    for row in table.itertuples():
        target, result = found["target"].values[row.image], found["result"].values[0, row.image]
        assert row.psnr == metrics.peak_signal_noise_ratio(target, result, data_range=255)
        assert row.ssim == metrics.structural_similarity(target, result, channel_axis=2, data_range=255)
    assert table["lpips"].isna().all()


def test_new_images_are_none_of_the_run(place, inverted):
    found = xr.open_zarr(place / "inversions/inversion/result.zarr")["target"].values[2:].astype(int)
    images = xr.open_zarr(place / "images.zarr")["pixels"].values.astype(int)
    assert np.abs(found[:, None] - images[None]).max(axis=(2, 3, 4)).min() > 20


def test_a_second_call_does_nothing(place, inverted, rosetta):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    again = rosetta.json("invert", place, "3:5", "new:3", "--steps", "40", "--batch", "2", "--restarts", "2")
    assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}
    assert again["summary"] == inverted["summary"]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before


def test_what_is_damaged_is_named_and_made_again_as_it_was(place, inverted, rosetta):
    folder = place / "inversions/inversion"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damaged = [folder / "result.zarr/latent/c/0/1/0", folder / "pictures/001-way-0.webp", folder / "metrics.parquet"]
    for file in damaged:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    said = rosetta("check", place)
    assert said.returncode == 2
    assert len(said.stdout.splitlines()) == 3
    assert {finding.again for finding in mend(Root(str(place)))} == {"rosetta invert"}
    again = rosetta.json("invert", place, "3:5", "new:3", "--steps", "40", "--batch", "2", "--restarts", "2")
    assert [stage["outcome"] for stage in again["stages"]] == ["skipped", "done", "skipped", "done", "done"]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert rosetta("check", place).stdout == "No damage found.\n"


def test_a_killed_inversion_goes_on_with_the_missing_batches(place, inverted, rosetta):
    words = ("invert", place, "3:5", "new:3", "--steps", "40", "--batch", "2", "--restarts", "2", "--name", "killed")
    markers = place / "inversions/killed/result.zarr/bookkeeping/written/c/0"
    process = rosetta.start(*words)
    deadline = time.monotonic() + 120
    while not (markers / "0").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = markers / "0"
    assert not (place / "inversions/killed/metrics.parquet").exists()
    stamp = first.stat().st_mtime_ns
    ended = rosetta.json(*words)
    outcomes = [stage["outcome"] for stage in ended["stages"]]
    assert outcomes[0] == "skipped"
    assert first.stat().st_mtime_ns == stamp
    whole, again = (xr.open_zarr(place / f"inversions/{name}/result.zarr").load() for name in ("inversion", "killed"))
    xr.testing.assert_equal(whole, again)


def test_a_photograph_is_cropped_and_inverted(place, rosetta, tmp_path):
    from PIL import Image

    face = data.astronaut()[0:220, 110:330]
    Image.fromarray(face).save(tmp_path / "astronaut.png")
    rosetta.json("invert", place, tmp_path / "*.png", "--steps", "40", "--name", "astronaut")
    found = xr.open_zarr(place / "inversions/astronaut/result.zarr").load()
    assert found["source"].values.tolist() == ["astronaut.png"]
    small = transform.resize(face, (64, 64), anti_aliasing=True)
    assert np.abs(found["target"].values[0] / 255 - small).mean() < 0.03
    losses = found["loss"].sel(term="rec").values[0, 0]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("perceptual", ("2", "--rec", "mobilenet", "--steps", "3")),
        ("alone", ("2", "--rec", "none", "--steps", "30")),
        ("concept", ("2", "--rec", "none", "--concepts", "0", "--steps", "30")),
        ("high", ("--concepts", "0", "--high", "0.2,0.2,0.8,0.8", "--steps", "30")),
        ("single", ("2", "--models", "lite0", "--above", "0.3", "--steps", "3")),
        ("mined", ("2", "--starts", "nearest", "--steps", "3")),
    ],
)
def test_other_wishes(place, rosetta, name, words):
    rosetta.json("invert", place, *words, "--name", name)
    found = xr.open_zarr(place / f"inversions/{name}/result.zarr").load()
    measured = {str(term): np.isfinite(found["loss"].sel(term=term).values) for term in found["term"].values}
    terms = {term for term, steps in measured.items() if steps.any()}
    fades = name in ("perceptual", "single", "mined")
    assert all(measured[term].all() for term in terms if not (fades and term == "act"))
    assert measured["act"][..., [0, -1]].all()
    assert terms == {"reg", "act"} | ({"rec"} if fades else set())
    assert found["guidance"].values.tolist() == ["lite0" if name == "single" else "all"]
    if name == "mined":  # an image of the run is nearest to itself
        latents = xr.open_zarr(place / "images.zarr")["latent"].values[2]
        np.testing.assert_array_equal(found["start"].values[0, 0], latents)
    elif name != "single":
        act = found["loss"].sel(term="act").values[0, 0]
        assert act[-1] > act[0]
    folder = place / f"inversions/{name}"
    page = (folder / "index.html").read_text()
    for picture in ("000-way-0.webp", "000-maps.webp"):
        assert f'src="pictures/{picture}"' in page
        assert (folder / "pictures" / picture).stat().st_size > 0


def test_table_one(place, rosetta):
    words = ("invert", place, "new:3", "--table", "--steps", "6", "--weights", "layer", "--schedule", "cosine")
    done = rosetta.json(*words)
    rows = {entry["guidance"]: entry for entry in done["summary"]}
    assert list(rows) == ["none", "lite0", "mobilenet", "all", "all+weights+schedule"]
    assert "psnr_gain" not in rows["none"]
    assert {"psnr_gain", "psnr_gain_error", "psnr_above", "psnr_p"} <= rows["all"].keys()
    found = xr.open_zarr(place / "inversions/table1/result.zarr").load()
    # The same starts for every row; the same steps by the shape.
    assert (found["start"] == found["start"][0]).all()
    table = pd.read_parquet(place / "inversions/table1/metrics.parquet").pivot(
        index="image", columns="guidance", values="psnr"
    )
    assert rows["all"]["psnr_gain"] == pytest.approx((table["all"] - table["none"]).mean())
    trials = pd.read_parquet(place / "inversions/table1/coefficients.parquet")
    assert trials.groupby("guidance").size().to_dict() == {"none": 9, **dict.fromkeys(list(rows)[1:], 3)}
    betas = {name: of["beta"].tolist() for name, of in trials.groupby("guidance")}
    assert betas["all"] == [0.003, 0.01, 0.03]
    assert betas["all+weights+schedule"] == [0.03, 0.1, 0.3]
    # Weights and schedule belong to the last row alone: with the same coefficients it would be as `all` otherwise.
    both = trials[(trials["beta"] == 0.03) & trials["guidance"].isin(["all", "all+weights+schedule"])]
    assert both["rate"].nunique() == both["alpha"].nunique() == 1
    assert both["psnr"].nunique() == 2
    again = rosetta.json(*words)
    assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}
