"""StyleGAN3 against toys run through the published definition.

`facts/stylegan3-?-tiny.safetensors` hold a toy's weights, inputs and maps, `facts/stylegan3-networks.json.gz` names and
shapes of released networks at full size.
"""

import gzip
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from probes import maps_of, passed, square
from safetensors import safe_open
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families.stylegan.schedule import Bands, schedule
from rosetta.zoo.families.stylegan.stylegan3 import PUBLISHED, Config, StyleGAN3, recognise
from rosetta.zoo.families.stylegan.synthesis import FourierFeatures

Spec = Callable[..., ModelSpec]

FACTS = Path(__file__).parent / "facts"
NETWORKS: dict[str, Any] = json.loads(gzip.decompress((FACTS / "stylegan3-networks.json.gz").read_bytes()))
CONFIGURATIONS = ["t", "r"]
SIDE = 32
"""Of the toys' images, in pixels."""


def facts(configuration: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A toy's options, and its tensors."""
    with safe_open(FACTS / f"stylegan3-{configuration}-tiny.safetensors", "pt") as file:
        return json.loads(file.metadata()["forward"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def toy(configuration: str, dtype: torch.dtype = torch.float32, **arguments: Any) -> StyleGAN3:
    """A toy with its weights."""
    options, tensors = facts(configuration)
    config = options["config"]
    chosen = Config(
        resolution=config["img_resolution"],
        kernel=config.get("conv_kernel", 3),
        radial=config.get("use_radial_filters", False),
        channel_base=config["channel_base"],
        channel_max=config["channel_max"],
        layers=config["num_layers"],
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
    )
    net = StyleGAN3(chosen, **{"psi": options["truncation_psi"], **arguments})
    net.load_state_dict(weights(tensors))
    return net.to(dtype).requires_grad_(False)


def weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("state/"): tensor for name, tensor in tensors.items() if name.startswith("state/")}


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 16)))


def meta(config: Config) -> StyleGAN3:
    with torch.device("meta"):
        return StyleGAN3(config)


# The published networks


@pytest.mark.parametrize("name", list(NETWORKS))
def test_names_and_shapes_at_full_size(name: str) -> None:
    net = meta(PUBLISHED[name])
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == NETWORKS[name]["state_dict"]
    # The order counts where a recipe says match = "order".
    assert list(net.state_dict()) == list(NETWORKS[name]["state_dict"])
    maps = maps_of(net, net.layer_names, torch.empty(1, 512, device="meta"))
    size = PUBLISHED[name].resolution
    assert maps.pop("image").shape == (1, 3, size, size)
    assert [(key, *output.shape[1:]) for key, output in maps.items()] == [
        (layer["name"], layer["channels"], layer["grid_y"], layer["grid_x"]) for layer in NETWORKS[name]["layers"]
    ]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_networks_are_recognised(name: str) -> None:
    found = recognise(meta(PUBLISHED[name]).state_dict())
    assert found == PUBLISHED[name]
    configuration, _, resolution = name.split("-")
    assert (found.radial, found.resolution) == (configuration == "r", int(resolution))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_maps_and_images_are_the_definitions(configuration: str) -> None:
    _, tensors = facts(configuration)
    maps = maps_of(net := toy(configuration), net.layer_names, tensors["z"])
    assert set(maps) == {name.removeprefix("map/") for name in tensors if name.startswith("map/")}
    assert list(maps) == [*toy(configuration).layer_names, "image"]
    for name, found in maps.items():
        wanted = tensors[f"map/{name}"]
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max(), name


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_filters_are_those_of_the_checkpoint(configuration: str) -> None:
    options, tensors = facts(configuration)
    fresh = StyleGAN3(recognise(weights(tensors))).state_dict()
    filters = [name for name in fresh if name.endswith("_filter")]
    assert len(filters) == 2 * options["config"]["num_layers"]
    for name in filters:
        torch.testing.assert_close(fresh[name], tensors[f"state/{name}"], rtol=0, atol=1e-7)


def missing(*names: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {}, r"no StyleGAN3 generator's: 'synthesis.input.freqs' is missing, there is nothing"),
        (lambda _: {"synthesis.b4.const": torch.ones(1)}, r"is missing, there is 'synthesis.b4.const'"),
        (missing("mapping.fc0.weight"), r"'mapping.fc0.weight' is missing"),
        (missing("mapping.w_avg"), r"'mapping.w_avg' is nothing in the file and \(16,\) in the network"),
        (missing("synthesis.L3_52_16.bias"), r"'synthesis.L3_52_16.bias' is nothing in the file and \(16,\) in"),
        (missing("synthesis.L0_36_16.weight"), r"'synthesis.L0_36_16.weight' is nothing in the file"),
        (
            lambda state: {**state, "mapping.fc2.weight": torch.ones(16, 16)},
            r"'mapping.fc2.bias' is nothing in the file and \(16,\) in the network",
        ),
        (
            lambda state: {**state, "synthesis.L2_52_16.up_filter": torch.ones(12)},
            r"'synthesis.L2_52_16.up_filter' is \(12,\) in the file and \(24,\) in",
        ),
        (
            lambda state: {**state, "synthesis.L0_36_16.weight": torch.tensor(1.0)},
            r"'synthesis.L0_36_16.weight' is \(\), not of 4 axes",
        ),
        (
            lambda state: {**state, "mapping.embed_proj.weight": torch.ones(1)},
            r"are StyleGAN-XL's, not StyleGAN3's",
        ),
        (
            lambda state: {name.replace("L6_32_3", "L6_30_3"): tensor for name, tensor in state.items()},
            r"of no StyleGAN3 generator that exists: resolution is 30, not a power of two",
        ),
        (lambda state: {name: state[name] for name in state if "synthesis.L" not in name}, r"have 0 synthesis layers"),
    ],
)
def test_other_architectures_are_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        recognise(change(weights(facts("t")[1])))


def test_every_tensor_counts() -> None:
    state = weights(facts("t")[1])
    for name, tensor in state.items():
        for changed in (missing(name)(state), {**state, name: tensor[None]}):
            with pytest.raises(UserError, match="StyleGAN"):
                recognise(changed)


# What the network promises


def moved(net: StyleGAN3, z: Tensor, x: int, y: int) -> Tensor:
    """Images of a network told to show everything further right and further down, by pixels."""
    net.synthesis.input.transform.copy_(torch.tensor([[1, 0, -x / SIDE], [0, 1, -y / SIDE], [0, 0, 1]]))
    return net(z)


def error(net: StyleGAN3, x: int, y: int, margin: int) -> float:
    """How far moved images are from images moved, `margin` pixels inside the border, over the range of the image."""
    z, near = latents(4), slice(margin, SIDE - margin)
    still = moved(net, z, 0, 0)[:, :, near, near]
    after = moved(net, z, x, y)
    found = after[:, :, margin + y : SIDE - margin + y, margin + x : SIDE - margin + x]
    span = (still.amax((2, 3)) - still.amin((2, 3))).max()
    # Nothing is shown if nothing moves.
    assert (after[:, :, near, near] - still).abs().max() > 0.1 * span
    return float((found - still).abs().max() / span)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize(("x", "y"), [(2, 0), (-2, 4), (0, 4), (4, -2)])
def test_whole_samples_of_every_grid_move_exactly(configuration: str, x: int, y: int) -> None:
    # The coarsest grids have one sample per two pixels. Only the border's influence is left, which dies off inwards.
    assert error(toy(configuration, torch.float64), x, y, margin=12) < 1e-6


def leaks(net: StyleGAN3) -> Iterator[float]:
    """What the filters at a toy's coarse grids, those of 16 samples, let through of what these cannot hold."""
    for name, step in zip(net.layer_names, schedule(SIDE, 6, Bands(channel_base=512, channel_max=16)), strict=True):
        layer = net.get_submodule(name)
        for signal, kernel in ((step.before, layer.up_filter), (step.after, layer.down_filter)):
            if signal.rate == 16:
                yield passed(square(kernel.numpy()), signal.rate / 2 / (layer.up * step.before.rate))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, 1), (-1, 1), (3, -1)])
def test_half_samples_move_up_to_what_the_filters_let_through(configuration: str, x: int, y: int) -> None:
    """An odd pixel is half a sample of the grids with 16 samples, and whole ones of all finer grids.

    The nonlinearities work on grids of 32 samples and more, so they see whole samples. What does not move is what the
    filters at the coarse grids let through of what these cannot hold, in either image: at most twice the sum over
    these filters, relative to the signal. The test is stricter: no more than the leakiest of them lets through.
    """
    net = toy(configuration, torch.float64)
    assert len(list(leaks(net))) == 5
    leak = max(leaks(net))
    assert leak < 0.003
    assert error(net, x, y, margin=8) < leak
    # With boxes for filters, which let more through, the image moves worse than that.
    for name in net.layer_names[:3]:
        layer = net.get_submodule(name)
        box = torch.zeros_like(layer.up_filter)
        middle, reach = len(box) // 2, layer.up // 2
        box[middle - reach : middle + reach] = 1 / layer.up
        layer.up_filter = box
    assert error(net, x, y, margin=8) > leak


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_only_r_turns(configuration: str) -> None:
    net, z = toy(configuration, torch.float64), latents(4)
    still = net(z)
    net.synthesis.input.transform.copy_(torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    span = (still.amax((2, 3)) - still.amin((2, 3))).max()
    difference = min((net(z) - still.rot90(turns, (2, 3))).abs().max() / span for turns in (1, 3))
    assert difference < 1e-9 if configuration == "r" else difference > 0.1
    assert (net(z) - still).abs().max() > 0.1 * span


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_gradients_to_latents_and_styles(configuration: str) -> None:
    net = toy(configuration, torch.float64)
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, SIDE, SIDE)))
    for function, start in ((net, latents(2)), (net.synthesis, net.mapping(latents(2)))):
        direction = torch.from_numpy(np.random.default_rng(2).standard_normal(start.shape))
        leaf = start.clone().requires_grad_()
        (function(leaf) * weight).sum().backward()
        assert leaf.grad is not None
        assert (leaf.grad != 0).all()
        step = 1e-7 * direction  # short enough to cross no kink of the nonlinearity
        change = ((function(start + step) - function(start - step)) * weight).sum() / 2e-7
        assert float((leaf.grad * direction).sum()) == pytest.approx(float(change), rel=1e-6)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_truncation(configuration: str) -> None:
    z = latents(3)
    mean, full, half = (toy(configuration, torch.float64, psi=psi) for psi in (0.0, 1.0, 0.5))
    average = weights(facts(configuration)[1])["mapping.w_avg"].double()
    images = mean(z)
    assert torch.equal(images[1:], images[:1].expand(2, -1, -1, -1))
    torch.testing.assert_close(images[:1], full.synthesis(average.expand(1, mean.synthesis.styles, -1)))
    assert not torch.allclose(full(z)[:1], images[:1], rtol=0.1)
    torch.testing.assert_close(half.mapping(z), (full.mapping(z) + average) / 2)
    torch.testing.assert_close(half(z), half.synthesis(half.mapping(z)))
    assert half.mapping(z).shape == (3, 8, 16)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_no_image_depends_on_another(configuration: str) -> None:
    net, z = toy(configuration, torch.float64), latents(4)
    together = net(z)
    for image in range(4):
        torch.testing.assert_close(net(z[image : image + 1]), together[image : image + 1], rtol=0, atol=1e-12)
    # The published definition divides an image's styles by the mean square over the batch.
    styles = net.mapping(z)
    styles[1] *= 1e6
    torch.testing.assert_close(net.synthesis(styles)[[0, 2, 3]], together[[0, 2, 3]], rtol=0, atol=1e-12)


def test_inputs_are_scaled_by_their_magnitude_in_training() -> None:
    layer = toy("t", torch.float64).get_submodule("synthesis.L1_36_16")
    maps, w = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16, 36, 36))), latents(1)
    before = layer(maps, w)
    assert not torch.allclose(layer(3 * maps, w), before)
    layer.magnitude_ema.mul_(9)
    torch.testing.assert_close(layer(3 * maps, w), before)


def test_what_a_layer_puts_out_is_clamped() -> None:
    net, z = toy("t", torch.float64), latents(1)
    for name, most in (("synthesis.L5_32_16", 256), ("synthesis.L6_32_3", 256), ("image", 64)):
        net.get_submodule(name if name != "image" else "synthesis.L6_32_3").bias.fill_(1e6)
        torch.testing.assert_close(maps_of(net, net.layer_names, z)[name][:, :, 16, 16].max().item(), float(most))


@pytest.mark.parametrize(("zoom", "amplitude"), [(1.0, 1.0), (2.0, 1.0), (5.0, 0.5), (7.5, 1 / 12), (9.0, 0.0)])
def test_frequencies_that_a_grid_cannot_hold_fade_out(zoom: float, amplitude: float) -> None:
    signal = schedule(SIDE, 6, Bands(channel_base=512, channel_max=16))[0].before
    source = FourierFeatures(signal, 16).requires_grad_(False)
    source.weight.copy_(4 * torch.eye(16))  # mixes nothing, as it is divided by the root of 16 channels
    source.freqs.zero_()[:, 0] = 1
    source.phases.copy_(torch.arange(16) / 16)
    source.transform.copy_(torch.diag(torch.tensor([zoom, zoom, 1])))
    place = (torch.arange(36) - 17.5) / 16  # samples, from the middle of the image, per side of it
    wave = amplitude * torch.sin(2 * math.pi * (zoom * place + source.phases[:, None]))
    wanted = wave[:, None].expand(16, 36, 36)
    torch.testing.assert_close(source(torch.zeros(1, 16))[0], wanted, rtol=0, atol=1e-4)


def test_an_untrained_network() -> None:
    torch.manual_seed(0)
    net = StyleGAN3(Config(resolution=64, channel_base=4096, channel_max=64))
    assert (net.synthesis.input.freqs.norm(dim=1) <= 2).all()
    assert net.synthesis.input.freqs.norm(dim=1).mean() == pytest.approx(4 / 3, abs=0.2)  # of a disc of radius 2
    maps = maps_of(net.requires_grad_(False), net.layer_names, torch.randn(2, 512))
    # Weights are drawn so that signals neither grow nor fade.
    assert all(0.1 < float(output.std()) < 3 for output in maps.values())
    assert maps["image"].shape == (2, 3, 64, 64)


def test_a_condition() -> None:
    torch.manual_seed(0)
    config = Config(resolution=16, channel_base=256, channel_max=8, layers=4, z_dim=8, w_dim=12, c_dim=5)
    net = StyleGAN3(config).requires_grad_(False)
    assert net.mapping.embed.weight.shape == (12, 5)
    assert net.mapping.fc0.weight.shape == (12, 8 + 12)
    found = recognise(net.state_dict())
    assert (found.z_dim, found.w_dim, found.c_dim) == (8, 12, 5)
    z = torch.randn(1, 8).expand(2, -1)
    one, other = net(z, torch.eye(5)[[0, 3]])
    assert not torch.allclose(one, other)
    torch.testing.assert_close(net(z[:1], torch.eye(5)[[3]])[0], other)
    with pytest.raises(ValueError, match=r"conditional; give it c, \(image, 5\)"):
        net(z)


@pytest.mark.parametrize("shape", [(2, 16), (2, 7, 16), (2, 8, 15)])
def test_styles_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not \(image, 8, 16\)"):
        toy("t").synthesis(torch.zeros(shape))
