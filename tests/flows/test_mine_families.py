"""Every family through the whole pipeline: a small generator of each against a ResNet, a ViT with registers and CLIP.

A diffusion model that looks at images is among the discriminative models of one of them.

The generators have random weights in files, read by the very code that reads published ones.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from diffusion_folders import save_dit, save_unet
from nvidia_files import persistent, pickled
from small_generators import save_stylegan2_of_classes, save_styleganxl

from rosetta import zoo
from rosetta.recipe import Recipe, read_recipe
from rosetta.zoo.families.biggan import PLANS, BigGAN
from rosetta.zoo.families.stylegan import stylegan2_rosinality, stylegan3
from rosetta.zoo.image_arrays import from_pixels, to_pixels

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
    beside: Callable[[Path], str] = lambda _: ""
    """Further models, as a recipe's text."""


def _biggan(folder: Path) -> str:
    torch.manual_seed(0)
    torch.save(BigGAN(PLANS["deep-128"], width=8).state_dict(), folder / "biggan.bin")
    return str(folder / "biggan.bin")


def _stylegan2(folder: Path) -> str:
    torch.manual_seed(0)
    net = stylegan2_rosinality.Generator(32, {4: 32, 8: 32, 16: 16, 32: 8}, w_dim=16, mapping_layers=2)
    torch.save({"g_ema": net.state_dict(), "latent_avg": torch.zeros(16)}, folder / "stylegan2.pt")
    return str(folder / "stylegan2.pt")


def _stylegan3(folder: Path) -> str:
    torch.manual_seed(0)
    config = stylegan3.Config(resolution=16, channel_base=512, channel_max=32, layers=6, z_dim=16, w_dim=16)
    net = stylegan3.StyleGAN3(config)
    (folder / "stylegan3.pkl").write_bytes(pickled({"G_ema": persistent(net.state_dict())}))
    return str(folder / "stylegan3.pkl")


SMALL = {
    "dcgan": Small("dcgan/digiface", lambda _: "random:0"),
    "stylegan2": Small("stylegan2/custom", _stylegan2, {"truncation": 0.7}),
    "stylegan2 of classes": Small(
        "stylegan2/custom",
        lambda folder: str(save_stylegan2_of_classes(folder)),
        {"truncation": 0.7, "classes": [7, 3]},
        classes=9,
    ),
    "stylegan3": Small("stylegan3/custom", _stylegan3, {"truncation": 0.7, "bound": 1.0}),
    "styleganxl": Small(
        "styleganxl/custom",
        lambda folder: str(save_styleganxl(folder)),
        {"truncation": 0.7, "bound": 1.0},
        classes=5,
    ),
    "unet": Small(
        "diffusers/custom",
        lambda folder: str(save_unet(folder / "unet", sample_size=16)),
        {"steps": 3},
        beside=lambda folder: (
            f'[[models]]\nname = "looking"\nmodel = "diffusers/custom"\nweights = "{folder / "unet"}"\n'
            "condition = { timestep = 40 }\n"
        ),
    ),
    "dit": Small(
        "diffusers/custom",
        lambda folder: str(save_dit(folder / "dit", sample_size=8)),
        {"steps": 3, "guidance": 2.0, "classes": [7, 3]},
        classes=1000,
    ),
    "biggan": Small("biggan/deep-128", _biggan, {"truncation": 0.5}, classes=1000, layers="generator.layers.?.conv_3"),
}


def _recipe(small: Small, folder: Path) -> str:
    told = ", ".join(f"{key} = {value}" for key, value in small.condition.items())
    layers = f'layers = ["{small.layers}"]\n' if small.layers else ""
    return (
        f'name = "small"\nroot = "{folder / "root"}"\n[images]\ncount = {IMAGES}\nseed = 3\n'
        f'[[models]]\nname = "g"\nmodel = "{small.model}"\nweights = "{small.weights(folder)}"\n'
        f"condition = {{ {told} }}\n{layers}{small.beside(folder)}{LOOKING}"
    )


# One of each kind in every run of the suite: style-based, by class, diffusion.
LONG = ("dcgan", "stylegan2 of classes", "stylegan3", "styleganxl", "unet")
PARAMS = [pytest.param(name, marks=pytest.mark.soak if name in LONG else ()) for name in SMALL]


@pytest.fixture(scope="module", params=PARAMS, ids=str)
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
        np.testing.assert_array_equal(drawn, model.draw_classes(range(IMAGES), 3))
        assert list(drawn[:4]) == [7, 3, 7, 3] if "classes" in small.condition else len(set(drawn)) > 2
        classes = torch.from_numpy(drawn)
    made, maps = model.generate(latents, classes)
    assert np.abs(to_pixels(made).astype(int) - images["pixels"].values).max() <= 1
    stored = xr.open_datatree(root / "activations" / "g.zarr", engine="zarr")
    assert json.loads(stored.attrs["condition_json"]) == small.condition
    for layer, values in maps.items():
        kept = stored[layer]["activation"].values.astype(np.float32)
        np.testing.assert_allclose(kept, values.numpy(), atol=2e-3 * float(values.abs().max()), rtol=1e-3)


def test_maps_are_those_of_the_stored_images(mined):
    _, recipe, root, _ = mined
    pixels = xr.open_zarr(root / "images.zarr")["pixels"].values
    for spec in recipe.models[1:-1]:
        stored = xr.open_datatree(root / "activations" / f"{spec.name}.zarr", engine="zarr")
        maps = zoo.load(spec).observe(from_pixels(pixels, torch.device("cpu")), range(IMAGES))
        for layer, values in maps.items():
            kept = stored[layer]["activation"].values.astype(np.float32)
            np.testing.assert_allclose(kept, values.numpy(), atol=2e-3 * float(values.abs().max()), rtol=1e-3)
