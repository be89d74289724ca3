"""A run whose generator makes images of prompts: what its stores say of them, and what a change of words means."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from prompted_folders import prompted

from rosetta import zoo
from rosetta.recipe import read_recipe

pytestmark = pytest.mark.slow

_PROMPTS = ["a red house", "a cat"]
_RECIPE = """
name = "prompted"
root = "{root}"
[images]
count = 16
seed = 3
[[models]]
name = "g"
model = "diffusers/custom"
weights = "{folder}"
condition = {{ prompts = "{prompts}", size = 16, steps = 2, guidance = 3.0 }}
[[models]]
name = "resnet"
model = "timm/test_resnet"
weights = "random:0"
"""


def test_stores_keep_prompts_and_other_words_are_another_model(rosetta, tmp_path: Path):
    prompted("pixart").save_pretrained(tmp_path / "pixart")
    words, recipe, root = tmp_path / "prompts.txt", tmp_path / "recipe.toml", tmp_path / "root"
    words.write_text("\n".join(_PROMPTS))
    recipe.write_text(_RECIPE.format(root=root, folder=tmp_path / "pixart", prompts=words))
    said = rosetta.json("mine", recipe)
    assert {stage["outcome"] for stage in said["stages"]} == {"done"}

    images = xr.open_zarr(root / "images.zarr")
    assert images["prompt"].dims == ("image",)
    assert images["prompt"].values.tolist() == _PROMPTS * 8
    assert images["class"].values.tolist() == [0, 1] * 8
    assert images["pixels"].astype(float).groupby(images["prompt"].load()).std().values.mean() > 1
    stored = xr.open_datatree(root / "activations" / "g.zarr", engine="zarr")
    assert stored.attrs["captured"] == "the last of 2 denoising steps, of guidance 3 the conditioned half"
    assert json.loads(stored.attrs["condition_json"])["guidance"] == 3.0
    assert stored.coords["prompt"].values.tolist() == _PROMPTS * 8
    model = zoo.load(read_recipe(recipe).models[0])
    _, maps = model.generate(torch.from_numpy(images["latent"].values), torch.tensor([0, 1] * 8))
    for layer, values in maps.items():
        kept = stored[layer]["activation"].values.astype(np.float32)
        np.testing.assert_allclose(kept, values.numpy(), atol=2e-3 * float(values.abs().max()), rtol=1e-3)

    # The recipe that the run keeps needs no file, and the same words elsewhere are the same model.
    words.rename(tmp_path / "moved.txt")
    recipe.write_text(recipe.read_text().replace("prompts.txt", "moved.txt"))
    assert {stage["outcome"] for stage in rosetta.json("mine", recipe)["stages"]} == {"skipped"}
    assert read_recipe(root / "recipe.toml").models[0].condition.prompts == tuple(_PROMPTS)
    (tmp_path / "moved.txt").write_text("a red house\na dog\n")
    failed = rosetta("mine", recipe)
    assert failed.returncode == 2
    assert "--replace" in failed.stderr
