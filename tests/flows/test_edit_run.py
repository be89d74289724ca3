"""Edits on a small real run from the shell."""

import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(run, tmp_path_factory):
    """A copy of the small run that may be written to."""
    root = tmp_path_factory.mktemp("edited") / "root"
    shutil.copytree(run[0], root)
    return root


@pytest.mark.parametrize(
    "words",
    [
        ("--shift", "-0.25,0"),
        pytest.param(("--zoom", "1.3@0.5,0.4"), marks=pytest.mark.soak),
        pytest.param(("--copy", "0.1,0.1,0.4,0.4", "--paste", "0.5,0.5"), marks=pytest.mark.soak),
        pytest.param(("--join", "7@x=0.5"), marks=pytest.mark.soak),
        pytest.param(("--remove", "0"), marks=pytest.mark.soak),
        pytest.param(("--add", "0@0.25,0.25,0.75,0.75"), marks=pytest.mark.soak),
        ("--remove", "0@0,0,0.5,1", "--add", "1@0.5,0,1,1", "--shift", "0.1,0"),
    ],
)
def test_every_edit_comes_nearer_to_what_is_asked(place, rosetta, words):
    name = "-".join(word.removeprefix("--") for word in words[::2])
    done = rosetta.json("edit", place, "--image", "0:3", *words, "--name", name, "--steps", "40")
    found = xr.open_zarr(place / f"edits/{name}/result.zarr").load()
    images = xr.open_zarr(place / "images.zarr").load()
    np.testing.assert_array_equal(found["target"].values, images["pixels"].values[:3])
    # An image of the generator begins at its own latents, and so at itself.
    np.testing.assert_array_equal(found["start"].values[0], images["latent"].values[:3])
    assert np.abs(found["frames"].values[0, :, 0].astype(int) - found["target"].values).max() <= 1
    asked = found["loss"].sel(term="edit").values[0]
    assert (asked[:, -1] > asked[:, 0]).all()
    table = pd.read_parquet(place / f"edits/{name}/metrics.parquet")
    assert table["model"].unique().tolist() == ["lite0", "mobilenet", "all"]
    assert [entry["model"] for entry in done["summary"]] == ["lite0", "mobilenet", "all"]
    placed = set(words[::2]) <= {"--remove", "--add"}
    assert table["level_after"].notna().all() == placed
    told = pd.read_parquet(place / f"edits/{name}/forecast.parquet")
    assert told["source"].tolist() == ["image 0", "image 1", "image 2"]
    assert (told["nearest"] != told["image"]).all(), "no image is its own neighbour"
    assert (table.groupby("image")["forecast"].first().to_numpy() == told["forecast"]).all()
    assert (
        f"forecast {told['forecast'].iloc[0]:+.2f}".replace("-", "−")
        in (place / f"edits/{name}/index.html").read_text()
    )
    assert (place / f"seals/edits~{name}.json").exists()
    again = rosetta.json("edit", place, "--image", "0:3", *words, "--name", name, "--steps", "40")
    assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}


def test_a_photograph_is_inverted_before_it_is_edited(place, rosetta, tmp_path):
    from PIL import Image

    pixels = xr.open_zarr(place / "images.zarr")["pixels"].values[5]
    Image.fromarray(pixels).save(tmp_path / "face.png")
    rosetta.json("edit", place, "--image", tmp_path / "face.png", "--remove", "0", "--name", "file", "--steps", "10")
    found = xr.open_zarr(place / "edits/file/result.zarr").load()
    # The inversion starts from noise: it must have come near the file.
    assert np.abs(found["frames"].values[0, 0, 0].astype(int) - pixels).mean() < 25
