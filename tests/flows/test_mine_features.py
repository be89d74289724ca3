"""Features of sparse autoencoders through the whole pipeline, anchored and not."""

import numpy as np
import oracle
import pytest
import xarray as xr
from PIL import Image

from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from tasks.correlate.reading import sparse_layers

RECIPE = """
name = "features"
root = "{folder}/root"
[images]
source = "{folder}/photos"
size = 64
[[models]]
name = "features"
model = "timm/test_vit"
weights = "random:0"
[[models.sae]]
place = "blocks.2"
weights = "random:1"
activation = "topk"
k = 6
width = 300
[[models]]
name = "resnet"
model = "timm/test_resnet"
weights = "random:0"
[matching]
keep = "{keep}"
"""


@pytest.fixture(scope="module", params=["matrix", "neighbours"])
def mined(request, rosetta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((64, 64)).save(folder / "photos" / f"{number:02}.png")
    recipe = folder / "features.toml"
    recipe.write_text(RECIPE.format(folder=folder, keep=request.param))
    return request.param, folder, recipe, rosetta.json("mine", recipe)


def test_features_are_units_like_any_others(mined, rosetta):
    keep, folder, _, said = mined
    assert said["counts"]["units"]["features"] == 300
    maps = xr.open_datatree(folder / "root/activations/features.zarr", engine="zarr")["blocks.2@sae"]["activation"]
    active = (maps.values != 0).sum(axis=1)
    assert active.max() <= 6
    assert sparse_layers(ActivationStore.read(Root(str(folder / "root")), "features")) == {"blocks.2@sae"}
    resnet = xr.open_datatree(folder / "root/activations/resnet.zarr", engine="zarr")
    theirs = [resnet[name]["activation"].values for name in resnet.children if name != "bookkeeping"]
    expected = np.concatenate([oracle.textbook_pearson(maps.values, one) for one in theirs], axis=1)
    stored = xr.open_zarr(folder / "root/correlations/features~resnet.zarr")
    if keep == "matrix":
        np.testing.assert_allclose(stored["pearson"].values, expected, atol=1e-5)
    else:
        best = np.sort(np.nan_to_num(expected, nan=-2), axis=1)[:, ::-1][:, :32]
        alive = ~np.isnan(expected).all(axis=1)
        np.testing.assert_allclose(stored["pearson_ab"].values[alive], best[alive], atol=1e-5)


def test_nothing_is_left_to_do_and_nothing_is_damaged(mined, rosetta):
    _, folder, recipe, _ = mined
    again = rosetta.json("mine", recipe)
    assert {stage["outcome"] for stage in again["stages"]} <= {"skipped"}
    assert rosetta.json("check", folder / "root")["damaged"] == []
