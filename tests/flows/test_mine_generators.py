"""Tiny generators of today mined whole against a ResNet and a ViT, in this process.

Another kind of generator is another row of :data:`GENERATORS`.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pandas as pd
import plain_xarray
import pytest
import torch
import xarray as xr
from decoder_folders import save_autoencoder, save_consistency
from diffusion_folders import save_dit
from pmf_files import save_pmf
from prompted_folders import prompted
from small_generators import save_stylegan2_of_classes, save_styleganxl
from whole_runs import mined_here

from rosetta import zoo
from rosetta.model_spec import Condition
from rosetta.recipe import Recipe

pytestmark = pytest.mark.slow

IMAGES = 12
K = 3
NEAR = 2e-5
"""What rounding of sums may make of a correlation."""
LOOKING = {
    "resnet": 'model = "timm/test_resnet"\nsize = 64',
    "vit": 'model = "timm/test_vit2"\nlayers = ["blocks.[26].mlp.act"]',
}
"""By name in a run: a ResNet and a ViT with registers."""


@dataclass(frozen=True)
class Generator:
    """A tiny generator, and what a run must find in it."""

    model: str
    """What a recipe calls it."""
    weights: Callable[[Path], Path]
    """Writes them into an empty folder and says where they are."""
    side: int
    """Of its images, in pixels."""
    layers: tuple[tuple[str, int, int], ...]
    """Default layers in forward order: name, channels, side of the grid."""
    condition: str = ""
    """As in a recipe."""
    classes: int | None = None


GENERATORS = {
    "pmf": Generator(
        "pmf/custom",
        save_pmf,
        16,
        (("shared_blocks.0.mlp.w2@in", 24, 4), ("shared_blocks.1.mlp.w2@in", 24, 4), ("u_heads.0.mlp.w2@in", 24, 4)),
        "guidance = 3.0, interval = [0.1, 0.8]",
        classes=5,
    ),
    "decoder": Generator(
        "diffusers/vae-custom",
        lambda folder: save_autoencoder(folder / "vae", "kl"),
        16,
        (("vae.decoder.mid_block", 16, 8), ("vae.decoder.up_blocks.0", 16, 16), ("vae.decoder.up_blocks.1", 8, 16)),
    ),
    "consistency": Generator(
        "diffusers/custom",
        lambda folder: save_consistency(folder / "consistency"),
        16,
        (
            ("unet.down_blocks.0.downsamplers.0", 8, 8),
            ("unet.down_blocks.1.attentions.0", 16, 8),
            ("unet.mid_block", 16, 8),
            ("unet.up_blocks.0", 16, 16),
            ("unet.up_blocks.1", 8, 16),
        ),
        "classes = [6, 0, 2]",
        classes=7,
    ),
    "dit": Generator(
        "diffusers/custom",
        lambda folder: save_dit(folder / "dit", sample_size=8),
        16,
        tuple((f"transformer.transformer_blocks.{block}.ff.net.0", 64, 4) for block in range(2)),
        "steps = 2, guidance = 2.0",
        classes=1000,
    ),
    "stylegan2": Generator(
        "stylegan2/custom",
        save_stylegan2_of_classes,
        16,
        tuple(
            (f"synthesis.b{side}.{layer}", channels, side)
            for side in (8, 16)
            for layer, channels in (("conv0", 16), ("conv1", 16), ("torgb", 3))
        ),
        "truncation = 0.7",
        classes=9,
    ),
    "styleganxl": Generator(
        "styleganxl/custom",
        save_styleganxl,
        32,
        tuple(
            (f"synthesis.{layer}", int(layer.rpartition("_")[2]), side)
            for side, layers in (
                (16, "L0_36_32 L1_36_32 L2_36_32 L3_36_32 L5_36_32"),
                (32, "L6_52_32 L7_52_23 L8_52_16 L9_32_16 L10_32_3"),
            )
            for layer in layers.split()
        ),
        "truncation = 0.7",
        classes=5,
    ),
}


_PROMPTS = 'prompts = ["a red house", "a cat"], size = 16, steps = 2'


def _prompted(name: str, condition: str, side: int, *layers: tuple[str, int]) -> Generator:
    """A row of a pipeline with prompts, all of whose layers have one grid."""

    def save(folder: Path) -> Path:
        prompted(name).save_pretrained(folder / name)
        return folder / name

    of_transformer = tuple((f"transformer.{layer}", channels, side) for layer, channels in layers)
    return Generator("diffusers/custom", save, 16, of_transformer, f"{_PROMPTS}{condition}", classes=2)


_BOTH = (0, 1)
GENERATORS |= {
    "flux": _prompted(
        "flux",
        ", guidance = 3.0",
        4,
        *((f"transformer_blocks.{block}.ff.net.2@in", 128) for block in _BOTH),
        *((f"single_transformer_blocks.{block}.act_mlp", 128) for block in _BOTH),
    ),
    "klein": _prompted(
        "klein",
        ", guidance = 3.0",
        4,
        *((f"transformer_blocks.{block}.ff.linear_out@in", 96) for block in _BOTH),
        *((f"single_transformer_blocks.{block}.attn.mlp_act_fn", 96) for block in _BOTH),
    ),
    "sd3": _prompted("sd3", ", guidance = 3.0", 4, *((f"transformer_blocks.{n}.ff.net.2@in", 128) for n in _BOTH)),
    "sana": _prompted("sana", "", 8, *((f"transformer_blocks.{n}.ff.conv_point@in", 40) for n in _BOTH)),
    "pixart": _prompted("pixart", "", 4, *((f"transformer_blocks.{n}.ff.net.2@in", 64) for n in _BOTH)),
}
"""Those with prompts, whose classes are the prompts' numbers."""


def _recipe(generator: Generator, folder: Path) -> str:
    weights = folder / "weights"
    weights.mkdir()
    lines = [
        f'name = "small"\nroot = "{folder / "root"}"',
        f"[images]\ncount = {IMAGES}\nseed = 3",
        f"[matching]\nneighbours = {K}",
        f'[[models]]\nname = "g"\nmodel = "{generator.model}"\nweights = "{generator.weights(weights)}"',
        f"condition = {{ {generator.condition} }}",
        *(f'[[models]]\nname = "{name}"\n{model}\nweights = "random:1"' for name, model in LOOKING.items()),
        '[compute]\ndevice = "cpu"\n',
    ]
    return "\n".join(lines)


@pytest.fixture(scope="module", params=GENERATORS, ids=str)
def mined(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Recipe, Path]:
    generator, folder = GENERATORS[request.param], tmp_path_factory.mktemp(request.param)
    (folder / "small.toml").write_text(_recipe(generator, folder))
    return generator, mined_here(folder / "small.toml").recipe, folder / "root"


def _maps(root: Path, model: str) -> dict[str, np.ndarray]:
    """(image, channel, y, x) by layer, as plain xarray reads them."""
    tree = xr.open_datatree(root / "activations" / f"{model}.zarr", engine="zarr")
    layers = sorted((node for node in tree.children.values() if "order" in node.attrs), key=lambda n: n.attrs["order"])
    return {str(layer.attrs.get("layer", layer.name)): layer["activation"].values for layer in layers}


def test_layers_are_the_expected_ones(mined: tuple[Generator, Recipe, Path]) -> None:
    generator, _, root = mined
    found = [(name, maps.shape[1], maps.shape[2]) for name, maps in _maps(root, "g").items()]
    assert found == list(generator.layers)
    units = pd.read_parquet(root / "tables" / "units.parquet")
    assert (units["model"] == "g").sum() == sum(channels for _, channels, _ in generator.layers)
    assert (root / "report" / "index.html").exists()


def test_images_are_the_modules_own(mined: tuple[Generator, Recipe, Path]) -> None:
    generator, recipe, root = mined
    images = xr.open_zarr(root / "images.zarr")
    model = zoo.load(recipe.models[0])
    z, told = torch.from_numpy(images["latent"].values), ()
    if generator.classes is not None:
        classes = images["class"].values
        np.testing.assert_array_equal(classes, model.draw_classes(range(IMAGES), 3))
        assert classes.max() < generator.classes
        told = (torch.from_numpy(classes),)
    with torch.inference_mode():
        made = model.module(z, *told).add(1).div(2).clamp(0, 1).mul(255).permute(0, 2, 3, 1).numpy()
    pixels = images["pixels"].values
    assert pixels.shape == (IMAGES, generator.side, generator.side, 3)
    assert np.abs(made - pixels).max() <= 0.51
    assert pixels.std() > 5
    assert len({image.tobytes() for image in pixels}) == IMAGES


def test_stores_say_what_they_are(mined: tuple[Generator, Recipe, Path]) -> None:
    generator, _, root = mined
    stated = xr.open_datatree(root / "activations" / "g.zarr", engine="zarr").attrs["condition_json"]
    said = tomllib.loads(f"condition = {{ {generator.condition} }}")
    assert json.loads(stated) == Condition.model_validate(said["condition"]).identity
    for store in (root / "images.zarr", root / "activations" / "g.zarr", root / "correlations" / "g~vit.zarr"):
        plain_xarray.require_names(store)


@pytest.mark.parametrize("other", LOOKING)
def test_buddies_are_those_of_the_stored_maps_in_float64(mined: tuple[Generator, Recipe, Path], other: str) -> None:
    _, _, root = mined
    mine, theirs = (_maps(root, name).values() for name in ("g", other))
    exact = np.block([[oracle.textbook_pearson(a, b) for b in theirs] for a in mine])
    stored = xr.open_zarr(root / "correlations" / f"g~{other}.zarr")["pearson"].values
    np.testing.assert_allclose(stored, exact, atol=NEAR, rtol=0)
    table = pd.read_parquet(root / "tables" / "buddies.parquet")
    rows = table[(table["model_a"] == "g") & (table["model_b"] == other)]
    found = set(zip(*(rows[name].tolist() for name in ("unit_a", "unit_b", "rank_ab", "rank_ba")), strict=True))
    assert found == oracle.buddies(stored, K)
    assert len(found) > 5
    # In float64 the same but for pairs that lie at the edge of the neighbours to within rounding.
    known = np.nan_to_num(exact, nan=-2)
    least_a, least_b = -np.sort(-known, axis=1)[:, K - 1], -np.sort(-known, axis=0)[K - 1]
    above = np.minimum(known - least_a[:, None], known - least_b[None])
    pairs = {(a, b) for a, b, _, _ in found}
    assert all(above[pair] > -NEAR for pair in pairs)
    assert pairs >= set(zip(*map(np.ndarray.tolist, np.nonzero(above > NEAR)), strict=True))
