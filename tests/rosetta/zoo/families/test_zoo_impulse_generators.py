"""A change at one place of an early map of a generator shows at that place of every later map, and of the image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion_folders import save_dit, save_unet
from impulses import Box, misses, patches
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.recipe import Condition, ModelSpec
from rosetta.units import Layer, Units
from rosetta.zoo.families.biggan import PLANS, BigGAN
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.probe import probe

Spec = Callable[..., ModelSpec]

FACTS = Path(__file__).parent / "facts"
PLACES = [(1, 2), (6, 3), (3, 6)]
"""Of an 8 × 8 map, apart from their mirror images and from themselves with y and x exchanged."""
STYLED = {
    "stylegan2-nvidia-tiny": "stylegan2",
    "stylegan2-rosinality-tiny": "stylegan2",
    "stylegan3-t-tiny": "stylegan3",
    "stylegan3-r-tiny": "stylegan3",
    "styleganxl-tiny": "styleganxl",
}


def _styled(spec: Spec, toy: str, folder: Path) -> zoo.Model:
    with safe_open(FACTS / f"{toy}.safetensors", "pt") as file:
        state = {
            name.removeprefix("state/"): file.get_tensor(name).contiguous()
            for name in file.keys()  # noqa: SIM118
            if name.startswith("state/")
        }
    save_file(state, folder / "net.safetensors")
    return zoo.load(spec(f"{STYLED[toy]}/custom", weights=str(folder / "net.safetensors")))


def _answers(capture: Capture, inputs: tuple[Tensor, ...], early: Layer, module: nn.Module) -> dict[str, float]:
    """How far beside its place a change of one position of an early layer is seen, by later layer, in cells."""
    rows, columns = early.grid
    places = [(y * rows // 8, x * columns // 8) for y, x in PLACES]
    margin = (early.raw_grid[0] - rows) // 2

    def poke(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        poked = output.clone()
        for image, (y, x) in enumerate(places, start=1):
            poked[image, :, margin + y, margin + x] += 3 * output.std()
        return poked

    handle = module.register_forward_hook(poke)
    try:
        with torch.inference_mode():
            images, maps = capture(*(given.repeat_interleave(len(places) + 1, 0) for given in inputs))
    finally:
        handle.remove()
    names = [layer.name for layer in capture.units.layers]
    later = capture.units.layers[names.index(early.name) + 1 :]
    units = Units((*later, Layer("image", 3, (images.shape[2], images.shape[3]))))
    boxes: list[Box] = [(y / rows, x / columns, (y + 1) / rows, (x + 1) / columns) for y, x in places]
    return misses(units, {**maps, "image": images}, boxes)


def _in_place(found: dict[str, float], least: int) -> None:
    assert len(found) >= least
    assert {layer: miss for layer, miss in found.items() if miss > 1} == {}


def test_dcgan(spec: Spec) -> None:
    model = zoo.load(spec("dcgan/digiface"))
    early = model.units.layers[1]
    _in_place(_answers(model.capture, (torch.ones(1, 100),), early, model.module.get_submodule(early.name)), 3)


@pytest.mark.parametrize("toy", list(STYLED))
def test_styled(spec: Spec, toy: str, tmp_path: Path) -> None:
    model = _styled(spec, toy, tmp_path)
    told = (torch.zeros(1, dtype=torch.int64),) if model.classes else ()
    inputs = (torch.ones(1, model.latent or 0), *told)
    early = model.units.layers[0]
    _in_place(_answers(model.capture, inputs, early, model.module.get_submodule(early.name)), 4)


def test_biggan() -> None:
    torch.manual_seed(0)
    net = BigGAN(PLANS["deep-128"], width=8).eval()
    layers = ("generator.layers.*.conv_3",)
    inputs = (torch.ones(1, 128), torch.zeros(1, dtype=torch.int64))
    from rosetta.zoo.families.biggan import BigGANDeep

    traits = BigGANDeep().build("deep-128", None, False).traits if False else None
    del traits
    from rosetta.zoo.maps.layout import Traits

    seen = probe(net, inputs, Traits(), (128, 128))
    capture = Capture(net, choose_layers(net, seen, "biggan", layers))
    early = next(layer for layer in capture.units.layers if layer.grid == (8, 8))
    with torch.no_grad():
        pass
    _in_place(_answers(capture, inputs, early, net.get_submodule(early.name)), 5)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_diffusion_models_that_look(spec: Spec, kind: str, tmp_path: Path) -> None:
    folder = {"unet": save_unet, "dit": save_dit}[kind](tmp_path / kind)
    model = zoo.load(spec("diffusers/custom", str(folder), condition=Condition(timestep=1)))
    assert model.preprocessing is not None
    images, boxes = patches(model.preprocessing.size)
    found = misses(model.units, {name: maps for name, maps in model.observe(images).items()}, boxes)
    _in_place(found, 2)


# StyleGAN3: all that it makes moves with its input


@pytest.mark.parametrize("toy", [toy for toy, family in STYLED.items() if family != "stylegan2"])
def test_maps_move_as_far_as_the_image(spec: Spec, toy: str, tmp_path: Path) -> None:
    """The input shifted by a quarter of the image, down or to the right: so is every map, of the image it covers."""
    model = _styled(spec, toy, tmp_path)
    told = (torch.zeros(1, dtype=torch.int64),) if model.classes else ()
    z = torch.randn(1, model.latent or 0, generator=torch.Generator().manual_seed(0))
    transform = model.module.get_submodule("synthesis.input").transform
    assert isinstance(transform, Tensor)
    images, before = model.synthesise(z, *told)
    for axis in (0, 1):
        transform[1 - axis, 2] = -0.25
        moved, after = model.synthesise(z, *told)
        transform[1 - axis, 2] = 0
        for name, maps in {**before, "image": images}.items():
            assert _moved(maps, {**after, "image": moved}[name], axis) == pytest.approx(0.25, abs=0.01), name


def _moved(before: Tensor, after: Tensor, axis: int) -> float:
    """By what share of its side a map moved: the shift in whole positions after which both agree best."""
    side = before.shape[2 + axis]
    errors = []
    for shift in range(side // 2):
        here, there = (slice(shift, None), slice(0, side - shift))
        a, b = (values.narrow(2 + axis, 0, side) for values in (after, before))
        a = a[:, :, here] if axis == 0 else a[:, :, :, here]
        b = b[:, :, there] if axis == 0 else b[:, :, :, there]
        errors.append(float((a - b).abs().mean()))
    return errors.index(min(errors)) / side
