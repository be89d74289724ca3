"""A change at one place of an early map of a generator shows at that place of every later map, and of the image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion_folders import save_dit, save_unet
from probes import Box, misses, patches
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.model_spec import Condition, ModelSpec
from rosetta.units import Layer, Units
from rosetta.zoo.families.biggan import PLANS, BigGAN, BigGANDeep
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.layout import Traits
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
    """How far beside its place a change of one position of an early layer is seen, in such positions.

    Of all that comes after, and by layer; infinite where nothing is seen.
    """
    rows, columns = early.grid
    places = [(y * rows // 8, x * columns // 8) for y, x in PLACES]
    top, left = ((early.raw_grid[axis] - early.grid[axis]) // 2 for axis in (0, 1))

    def poke(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        poked = output.clone()
        for image, (y, x) in enumerate(places, start=1):
            poked[image, :, top + y, left + x] += 3 * output.std()
        return poked

    handle = module.register_forward_hook(poke)
    try:
        with torch.inference_mode():
            images, maps = capture(*(given.repeat_interleave(len(places) + 1, 0) for given in inputs))
    finally:
        handle.remove()
    units = capture.units
    if isinstance(images, Tensor) and images.ndim == 4:
        maps["image"] = images
        units = Units((*units.layers, Layer("image", 3, (images.shape[2], images.shape[3]))))
    boxes: list[Box] = [(y / rows, x / columns, (y + 1) / rows, (x + 1) / columns) for y, x in places]
    found = misses(units, maps, boxes)
    return {layer.name: found[layer.name] * rows / layer.grid[0] for layer in units.layers}


def _hand_on(capture: Capture, inputs: tuple[Tensor, ...], module: nn.Module) -> int:
    """Check of every layer, one after the other, that the next that answers to it does so in place; how many do.

    Untrained kernels would carry a change to anywhere over many layers.
    """
    checked = 0
    for number, early in enumerate(capture.units.layers):
        if early.name.endswith(("snconv1x1_phi", "snconv1x1_g")):  # keys and values of attention reach every place
            continue
        answers = list(_answers(capture, inputs, early, module.get_submodule(early.name)).items())[number + 1 :]
        name, miss = next((name, miss) for name, miss in answers if miss < float("inf"))
        assert miss <= 1, (early.name, name)
        checked += 1
    return checked


def test_dcgan(spec: Spec) -> None:
    model = zoo.load(spec("dcgan/digiface"))
    assert _hand_on(model.capture, (torch.ones(1, 100),), model.module) == 4


@pytest.mark.parametrize("toy", list(STYLED))
def test_styled(spec: Spec, toy: str, tmp_path: Path) -> None:
    model = _styled(spec, toy, tmp_path)
    told = (torch.zeros(1, dtype=torch.int64),) if model.classes else ()
    assert _hand_on(model.capture, (torch.ones(1, model.latent or 0), *told), model.module) >= 6


def test_biggan() -> None:
    torch.manual_seed(0)
    net = BigGAN(PLANS["deep-128"], width=8).eval().requires_grad_(False)
    for name, weight in net.named_parameters():
        if name.endswith("gamma"):  # untrained, attention adds nothing
            weight.fill_(1)
    inputs = (torch.ones(1, 128), torch.zeros(1, dtype=torch.int64))
    layers = BigGANDeep().build("deep-128", None, False, Condition()).layers
    capture = Capture(net, choose_layers(net, probe(net, inputs, Traits(), (128, 128)), "biggan", layers))
    assert _hand_on(capture, inputs, net) > 20


def test_a_unet_that_looks(spec: Spec, tmp_path: Path) -> None:
    model = zoo.load(spec("diffusers/custom", str(save_unet(tmp_path / "unet")), condition=Condition(timestep=1)))
    assert model.preprocessing is not None
    images, boxes = patches(model.preprocessing.size, 8)
    found = misses(model.units, model.observe(images), boxes)
    assert {layer: miss for layer, miss in found.items() if miss > 1} == {}


def test_a_transformer_that_looks_at_latents(spec: Spec, tmp_path: Path) -> None:
    """Changed where they leave the encoder, which normalises over the whole image."""
    model = zoo.load(spec("diffusers/custom", str(save_dit(tmp_path / "dit")), condition=Condition(timestep=1)))
    assert model.preprocessing is not None
    inputs = torch.full((1, 3, *model.preprocessing.size), 0.5), torch.zeros(1, dtype=torch.int64)
    latents = Layer("vae.quant_conv", 8, (6, 6))
    answers = _answers(model.capture, inputs, latents, model.module.get_submodule(latents.name))
    assert {layer: miss for layer, miss in answers.items() if layer != "image" and miss > 2} == {}  # two to a token


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
