"""A run over photographs instead of a generator, and a user's own model; stores that need float32."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
import xarray as xr
from packaged import recipe_text
from PIL import Image

pytestmark = pytest.mark.slow

OWN = """
import torch
from torch import nn

class Loud(nn.Module):
    \"\"\"A convolution whose second output is beyond what float16 holds for bright images.\"\"\"

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 5, stride=8), nn.ReLU(inplace=True))
        self.scale = nn.Conv2d(4, 4, 1, groups=4, bias=False)
        nn.init.constant_(self.scale.weight, 1e6)
        self.default_layers = ["features.0", "scale"]

    def forward(self, images):
        return self.scale(self.features(images)).mean(dim=(2, 3))
"""


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket", "cat"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def test_photographs(photos, rosetta, tmp_path):
    recipe = tmp_path / "photos.toml"
    source = f'source = "{photos}/*.png"\nsize = 128'
    recipe.write_text(recipe_text(tmp_path / "root", models=("lite0", "mobilenet"), images=source))
    mined = rosetta.json("mine", recipe)
    assert list(mined["counts"]["buddies"]) == ["lite0~lite0", "lite0~mobilenet"]
    images = xr.open_zarr(tmp_path / "root/images.zarr")
    listed = ["astronaut.png", "cat.png", "chelsea.png", "coffee.png", "rocket.png"]
    assert [listed[place] for place in images["place"].values] == images["source"].values.tolist()
    assert sorted(images["source"].values) == listed
    assert images["pixels"].shape == (5, 128, 128, 3)
    assert np.abs(images["pixels"].values.astype(int).mean(axis=(1, 2)) - 128).max() < 120


def test_own_model_with_values_beyond_float16(photos, rosetta, tmp_path):
    (tmp_path / "own_zoo.py").write_text(OWN)
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        f'name = "own"\nroot = "{tmp_path}/root"\n[images]\nsource = "{photos}"\n'
        '[[models]]\nname = "loud"\nmodel = "python:own_zoo:Loud"\nweights = "random:0"\n'
        '[[models]]\nname = "soft"\nmodel = "timm/resnet18"\nweights = "random:1"\n'
    )
    path = f"{rosetta.environment['PYTHONPATH']}:{tmp_path}"
    own = type(rosetta)({**rosetta.environment, "PYTHONPATH": path})
    done = own("mine", recipe)
    assert done.returncode == 0, done.stderr
    tree = xr.open_datatree(tmp_path / "root/activations/loud.zarr", engine="zarr")
    assert tree["scale"]["activation"].dtype == np.float32
    assert tree["scale"]["activation"].max() > 65504
    assert (tree["scale"]["rounding"] < 2**-11).all()
    assert np.isfinite(tree["scale"]["activation"].mean(("image", "y", "x"))).all()
    assert tree["features.0"]["activation"].min() < 0, "the hook saw the values before the in-place ReLU"
    layers = pd.read_parquet(tmp_path / "root/tables/units.parquet").query("model == 'soft'")["layer"].unique()
    assert layers.tolist() == ["layer1", "layer2", "layer3", "layer4"]
    assert "own_zoo" not in sys.modules
