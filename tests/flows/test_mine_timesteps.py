"""A diffusion model on both sides of a run: it makes the images, and looks at them at several timesteps."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from command import refused
from diffusion_folders import save_unet

from rosetta import zoo
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.image_arrays import from_pixels

RECIPE = """
name = "both"
root = "{folder}/root"
[images]
count = 12
[[models]]
name = "making"
model = "diffusers/custom"
weights = "{folder}/unet"
condition = {{ steps = 2 }}
[[models]]
name = "looking"
model = "diffusers/custom"
weights = "{folder}/unet"
condition = {{ timestep = {timestep} }}
layers = ["unet.mid_block", "unet.up_blocks.*"]
"""
TIMESTEPS = (5, 60)


@pytest.fixture(scope="module")
def mined(rosetta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    save_unet(folder / "unet", sample_size=16)
    recipe = folder / "both.toml"
    recipe.write_text(RECIPE.format(folder=folder, timestep=list(TIMESTEPS)))
    return folder, recipe, rosetta.json("mine", recipe)


def test_stores_hold_the_maps_of_each_timestep(mined):
    folder, _, said = mined
    pixels = from_pixels(xr.open_zarr(folder / "root/images.zarr")["pixels"].values, torch.device("cpu"))
    tree = xr.open_datatree(folder / "root/activations/looking.zarr", engine="zarr")
    layers = [name for name in tree.children if name != "bookkeeping"]
    assert sorted(layers) == sorted(
        f"{name}@t={one}" for one in TIMESTEPS for name in ("unet.mid_block", "unet.up_blocks.0", "unet.up_blocks.1")
    )
    for one in TIMESTEPS:
        alone = zoo.load(
            ModelSpec(
                name="looking",
                model="diffusers/custom",
                weights=str(folder / "unet"),
                layers=("unet.mid_block", "unet.up_blocks.*"),
                condition=Condition(timestep=one),
            )
        )
        for name, maps in alone.observe(pixels, range(12)).items():
            stored = tree[f"{name}@t={one}"]["activation"].values
            # Half a step of float16, and what other batches change in float32.
            np.testing.assert_allclose(stored.astype(np.float64), maps, rtol=2**-11, atol=1e-5)
    units = pd.read_parquet(folder / "root/tables/units.parquet")
    assert set(units[units["model"] == "looking"]["layer"]) == set(layers)
    assert said["counts"]["units"]["looking"] == len(units[units["model"] == "looking"])


def test_nothing_is_left_to_do_and_another_list_is_looked_at(mined, rosetta):
    folder, recipe, _ = mined
    again = rosetta.json("mine", recipe)
    assert {stage["outcome"] for stage in again["stages"]} <= {"skipped"}
    assert rosetta.json("check", folder / "root")["damaged"] == []
    recipe.write_text(RECIPE.format(folder=folder, timestep=[5, 70]))
    refused(rosetta("mine", recipe), "models.looking.condition.timestep: [5, 60] → [5, 70]", "--replace")
    other = rosetta.json("mine", recipe, "--replace")
    redone = {stage["name"] for stage in other["stages"] if stage["outcome"] != "skipped"}
    assert "dump looking" in redone
    assert not {"images", "dump making"} & redone
