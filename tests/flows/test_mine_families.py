"""Every family through the whole pipeline: a small generator of each against a ResNet, a ViT with registers and CLIP.

The generators have random weights in files, read by the very code that reads published ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from rosetta import zoo
from rosetta.recipe import Recipe, read_recipe
from rosetta.zoo.biggan import PLANS, BigGAN
from tasks.dump import from_pixels, to_pixels

pytestmark = pytest.mark.slow

IMAGES = 16
LOOKING = """
[[models]]
name = "resnet"
model = "timm/test_resnet"
weights = "random:0"
[[models]]
name = "vit-reg"
model = "timm/test_vit2"
weights = "random:1"
layers = ["blocks.[024].mlp.act"]
[[models]]
name = "clip"
model = "open_clip/ViT-S-32"
weights = "random:2"
layers = ["transformer.resblocks.4.mlp.gelu"]
[[models]]
name = "untrained"
model = "timm/test_resnet"
weights = "random:3"
control = true
"""


@dataclass(frozen=True)
class Small:
    """A small generator."""

    model: str
    weights: Callable[[Path], str]
    """Writes its weights into a folder and says what a recipe calls them."""
    condition: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None
    layers: str | None = None


def _biggan(folder: Path) -> str:
    torch.manual_seed(0)
    torch.save(BigGAN(PLANS["deep-128"], width=8).state_dict(), folder / "biggan.bin")
    return str(folder / "biggan.bin")


SMALL = {
    "dcgan": Small("dcgan/digiface", lambda _: "random:0"),
    "biggan": Small("biggan/deep-128", _biggan, {"truncation": 0.5}, classes=1000, layers="generator.layers.?.conv_3"),
}


def _recipe(small: Small, folder: Path) -> str:
    told = ", ".join(f"{key} = {value}" for key, value in small.condition.items())
    layers = f'layers = ["{small.layers}"]\n' if small.layers else ""
    return (
        f'name = "small"\nroot = "{folder / "root"}"\n[images]\ncount = {IMAGES}\nseed = 3\n'
        f'[[models]]\nname = "g"\nmodel = "{small.model}"\nweights = "{small.weights(folder)}"\n'
        f"condition = {{ {told} }}\n{layers}{LOOKING}"
    )


@pytest.fixture(scope="module", params=SMALL, ids=str)
def mined(request, rosetta, tmp_path_factory) -> tuple[Small, Recipe, Path, dict]:
    small, folder = SMALL[request.param], tmp_path_factory.mktemp(request.param)
    recipe = folder / "small.toml"
    recipe.write_text(_recipe(small, folder))
    return small, read_recipe(recipe), folder / "root", rosetta.json("mine", recipe)


def test_everything_is_mined(mined):
    _, recipe, root, said = mined
    assert {stage["outcome"] for stage in said["stages"]} == {"done"}
    units = pd.read_parquet(root / "tables" / "units.parquet")
    for spec in recipe.models:
        found = zoo.load(spec).units
        rows = units[units["model"] == spec.name]
        assert len(rows) == len(found) == said["counts"]["units"][spec.name]
        assert list(dict.fromkeys(rows["layer"])) == [layer.name for layer in found.layers]
    assert (root / "report" / "index.html").exists()
    buddies = pd.read_parquet(root / "tables" / "buddies.parquet")
    assert set(buddies["model_b"]) == {spec.name for spec in recipe.models}
    assert buddies["pearson"].between(-1, 1.000001).all()


def test_images_can_be_made_again_from_the_store(mined):
    small, recipe, root, _ = mined
    spec = recipe.models[0]
    model = zoo.load(spec)
    images = xr.open_zarr(root / "images.zarr")
    latents = torch.from_numpy(images["latent"].values)
    classes = None
    if small.classes is None:
        assert "class" not in images
    else:
        drawn = images["class"].values
        assert drawn.min() >= 0
        assert drawn.max() < small.classes
        np.testing.assert_array_equal(drawn, model.draw_classes(IMAGES, 3))
        classes = torch.from_numpy(drawn)
    made, maps = model.generate(latents, classes)
    assert np.abs(to_pixels(made).astype(int) - images["pixels"].values).max() <= 1
    stored = xr.open_datatree(root / "activations" / "g.zarr", engine="zarr")
    assert stored.attrs["condition"] == small.condition
    for layer, values in maps.items():
        kept = stored[layer]["activation"].values.astype(np.float32)
        np.testing.assert_allclose(kept, values.numpy(), atol=2e-3 * float(values.abs().max()), rtol=1e-3)


def test_maps_are_those_of_the_stored_images(mined):
    _, recipe, root, _ = mined
    pixels = xr.open_zarr(root / "images.zarr")["pixels"].values
    for spec in recipe.models[1:4]:
        stored = xr.open_datatree(root / "activations" / f"{spec.name}.zarr", engine="zarr")
        maps = zoo.load(spec).observe(from_pixels(pixels, torch.device("cpu")), range(IMAGES))
        for layer, values in maps.items():
            kept = stored[layer]["activation"].values.astype(np.float32)
            np.testing.assert_allclose(kept, values.numpy(), atol=2e-3 * float(values.abs().max()), rtol=1e-3)
