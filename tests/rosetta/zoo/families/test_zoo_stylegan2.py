"""StyleGAN2 against toys run through the published definitions.

`facts/stylegan2-*-tiny.safetensors` hold a toy's weights, inputs and maps, `facts/stylegan2-networks.json.gz` names
and shapes of config F at full size, in both layouts.
"""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from probes import maps_of
from safetensors import safe_open
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families.stylegan import stylegan2_rosinality
from rosetta.zoo.families.stylegan.modulation import widths
from rosetta.zoo.families.stylegan.stylegan2 import PUBLISHED, Generator, Network, recognise

Spec = Callable[..., ModelSpec]
State = dict[str, Tensor]

FACTS = Path(__file__).parent / "facts"
NETWORKS: dict[str, Any] = json.loads(gzip.decompress((FACTS / "stylegan2-networks.json.gz").read_bytes()))
both = pytest.mark.parametrize("layout", ["nvidia", "rosinality"])


def facts(layout: str) -> tuple[dict[str, Any], State]:
    """A toy's options, and its tensors."""
    with safe_open(FACTS / f"stylegan2-{layout}-tiny.safetensors", "pt") as file:
        return json.loads(file.metadata()["forward"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def weights(layout: str) -> State:
    tensors = facts(layout)[1]
    return {name.removeprefix("state/"): tensor for name, tensor in tensors.items() if name.startswith("state/")}


def toy(layout: str, dtype: torch.dtype = torch.float32, **arguments: Any) -> Generator:
    """A toy with its weights, built from its configuration."""
    options, tensors = facts(layout)
    config = options["config"]
    if layout == "nvidia":
        sizes = widths(config["img_resolution"], config["channel_base"], config["channel_max"])
        given = {"z_dim": config["z_dim"], "mapping_layers": config["mapping_num_layers"], "w_dim": config["w_dim"]}
        given["psi"] = options["truncation_psi"]
    else:
        sizes = {int(side): channels for side, channels in config["channels"].items()}
        given = {"mapping_layers": config["n_mlp"], "w_dim": config["style_dim"], "psi": options["truncation"]}
        given["truncation_latent"] = tensors["truncation_latent"]
    net = build(layout, max(sizes), widths=sizes, **{**given, **arguments})
    net.load_state_dict(weights(layout))
    return net.to(dtype).requires_grad_(False)


def small(layout: str) -> Generator:
    """A network of a few units, of which nothing is 0."""
    generator = torch.Generator().manual_seed(0)
    dims = {"w_dim": 4} | ({"z_dim": 3} if layout == "nvidia" else {})
    net = build(layout, 8, widths={4: 3, 8: 2}, mapping_layers=2, psi=0.7, **dims).double().requires_grad_(False)
    for name, tensor in net.state_dict().items():
        if not name.endswith(("kernel", "filter")) and "weight" not in name:
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return net


def build(layout: str, resolution: int, *, psi: float = 1.0, **options: Any) -> Generator:
    return Network(layout, resolution, options).build(psi)  # type: ignore[arg-type]


def meta(layout: str, resolution: int) -> Generator:
    with torch.device("meta"):
        return build(layout, resolution)


def latents(count: int, length: int = 16) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((count, length)))


# The published networks


@pytest.mark.parametrize("name", list(NETWORKS))
def test_names_shapes_and_layers_at_full_size(name: str) -> None:
    _, layout, resolution = name.split("-")
    net = meta(layout, int(resolution))
    state = net.state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == NETWORKS[name]["state_dict"]
    # The order counts where a recipe says match = "order".
    assert list(state) == list(NETWORKS[name]["state_dict"])
    assert (recognise(state).layout, recognise(state).resolution) == (layout, int(resolution))
    maps = maps_of(net, net.layer_names, torch.empty(1, 512, device="meta"))
    assert maps.pop("image").shape == (1, 3, int(resolution), int(resolution))
    assert tuple(maps) == net.layer_names
    # Only the other layout's layers are stated; both have the same ones, under other names.
    stated = NETWORKS[f"stylegan2-rosinality-{resolution}"]["layers"]
    shapes = [(layer["channels"], layer["grid_y"], layer["grid_x"]) for layer in stated]
    assert [tuple(output.shape[1:]) for output in maps.values()] == shapes
    if layout == "rosinality":
        assert list(maps) == [layer["name"] for layer in stated]
    if resolution == "256":
        assert sum(channels for channels, *_ in shapes) == 4882


def test_nvidias_layers() -> None:
    assert meta("nvidia", 16).layer_names == tuple(
        f"synthesis.b{side}.{part}" for side in (8, 16) for part in ("conv0", "conv1", "torgb")
    )


@both
def test_maps_and_images_are_the_definitions(layout: str) -> None:
    _, tensors = facts(layout)
    wanted = {name.removeprefix("map/"): tensor for name, tensor in tensors.items() if name.startswith("map/")}
    net = toy(layout)
    assert set(net.layer_names) <= set(wanted)
    maps = maps_of(net, [name for name in wanted if name != "image"], tensors["z"])
    assert set(maps) == set(wanted)
    for name, found in maps.items():
        assert found.shape == wanted[name].shape
        assert (found - wanted[name]).abs().max() <= 1e-4 * wanted[name].abs().max(), name


@both
def test_filters_are_those_of_the_checkpoint(layout: str) -> None:
    state = weights(layout)
    fresh = recognise(state).build().state_dict()
    filters = [name for name in fresh if name.endswith(("kernel", "filter"))]
    assert len(filters) == {"nvidia": 4 + 7, "rosinality": 3 + 3}[layout]
    for name in filters:
        torch.testing.assert_close(fresh[name], state[name], rtol=0, atol=1e-7)


def translated(state: State) -> State:
    """A network of NVIDIA's layout under the names of the other."""
    found: State = {"input.input": state["synthesis.b4.const"][None]}
    sides = sorted({int(name.split(".")[1][1:]) for name in state if name.startswith("synthesis.b")})
    convs = {"b4.conv1": "conv1"}
    for place, side in enumerate(sides[1:]):
        convs |= {f"b{side}.conv{part}": f"convs.{2 * place + part}" for part in (0, 1)}
    for index, (theirs, ours) in enumerate(convs.items()):
        part = f"synthesis.{theirs}"
        found[f"{ours}.noise.weight"] = state[f"{part}.noise_strength"][None]
        found[f"{ours}.activate.bias"] = state[f"{part}.bias"]
        found[f"noises.noise_{index}"] = state[f"{part}.noise_const"][None, None]
        if theirs.endswith("conv0"):
            found[f"{ours}.conv.blur.kernel"] = 4 * state[f"{part}.resample_filter"]
    for place, side in enumerate(sides):
        ours = f"to_rgbs.{place - 1}" if place else "to_rgb1"
        convs[f"b{side}.torgb"] = ours
        found[f"{ours}.bias"] = state[f"synthesis.b{side}.torgb.bias"].view(1, 3, 1, 1)
        if place:
            found[f"{ours}.upsample.kernel"] = 4 * state[f"synthesis.b{side}.resample_filter"]
    for theirs, ours in convs.items():
        found[f"{ours}.conv.weight"] = state[f"synthesis.{theirs}.weight"][None]
        for kind in ("weight", "bias"):
            found[f"{ours}.conv.modulation.{kind}"] = state[f"synthesis.{theirs}.affine.{kind}"]
    for layer in range(8):
        found |= {f"style.{layer + 1}.{kind}": state[f"mapping.fc{layer}.{kind}"] for kind in ("weight", "bias")}
    return found


def test_both_layouts_are_one_network() -> None:
    state = translated(weights("nvidia"))
    net = recognise({**state, "latent_avg": weights("nvidia")["mapping.w_avg"]}).build(0.7).requires_grad_(False)
    net.load_state_dict(state)
    z = latents(3).float()
    torch.testing.assert_close(net(z), toy("nvidia")(z), rtol=0, atol=1e-4)


def test_names_and_what_they_show() -> None:
    sizes = {
        "lsun-cat": 256,
        "lsun-horse": 256,
        "lsun-church": 256,
        "lsun-car": 512,
        "ffhq-256": 256,
        "ffhq-1024": 1024,
    }
    assert {name: PUBLISHED[name].resolution for name in sizes} == sizes
    assert {name for name in PUBLISHED if PUBLISHED[name].layout == "rosinality"} == {
        "ffhq-1024",
        *(f"lsun-{kind}" for kind in ("car", "cat", "church", "horse")),
    }


# State dicts


def without(*names: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def put(name: str, *shape: int) -> Callable[[State], State]:
    return lambda state: {**state, name: torch.ones(shape)}


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("nvidia", lambda _: {}, r"neither 'synthesis.b4.const' nor 'input.input' is among them, there is nothing"),
        ("nvidia", without("synthesis.b4.const"), r"neither 'synthesis.b4.const' nor"),
        ("nvidia", lambda _: {"synthesis.input.freqs": torch.ones(1)}, r"StyleGAN3's or StyleGAN-XL's: there is"),
        ("nvidia", lambda _: {"b4.out.weight": torch.ones(1)}, r"a discriminator's: there is 'b4.out.weight'"),
        ("nvidia", put("mapping.embed.weight", 8, 10), r"'mapping.embed.bias' is nothing in the file and \(8,\) in"),
        ("nvidia", put("synthesis.b8.skip.weight", 1), r"are residual, .* there is 'synthesis.b8.skip.weight'"),
        ("nvidia", without("mapping.fc0.weight"), r"'mapping.fc0.weight' is missing"),
        ("nvidia", without("synthesis.b8.conv1.weight"), r"'synthesis.b8.conv1.weight' is missing"),
        ("nvidia", put("synthesis.b4.const", 16), r"'synthesis.b4.const' is \(16,\), not of 3 axes"),
        ("nvidia", put("synthesis.b16.conv1.noise_const", 4, 4), r"is \(4, 4\) in the file and \(16, 16\) in the netw"),
        ("rosinality", without("noises.noise_3"), r"'noises.noise_3' is nothing in the file and \(1, 1, 16, 16\) in"),
        ("rosinality", put("iwt.ll", 2, 2), r"'iwt.ll' is \(2, 2\) in the file and nothing in the network"),
        ("rosinality", without("convs.3.conv.weight"), r"'convs.3.conv.weight' is missing"),
        ("rosinality", put("input.input", 1, 0, 4, 4), r"'input.input' is \(1, 0, 4, 4\)|'conv1.conv.weight' is"),
    ],
)
def test_other_architectures_are_refused(layout: str, change: Callable[[State], State], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recognise(change(weights(layout)))


@both
def test_every_tensor_counts(layout: str) -> None:
    state = weights(layout)
    assert (recognise(state).layout, recognise(state).resolution) == (layout, 32)
    for name, tensor in state.items():
        for changed in (without(name)(state), {**state, name: tensor[None]}):
            with pytest.raises(UserError, match="StyleGAN2 generator"):
                recognise(changed)


@pytest.mark.parametrize("resolution", [0, 4, 24, 255])
def test_resolutions_that_cannot_be(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"resolution is {resolution}, not a power of two from 8 on"):
        widths(resolution)


# What the networks promise


@both
def test_noise_is_constant_and_the_same_for_all_channels(layout: str) -> None:
    net, z = toy(layout, torch.float64), latents(1)
    assert torch.equal(net(z), net(z))
    name, noise = {
        "nvidia": ("synthesis.b8.conv1", "synthesis.b8.conv1.noise_const"),
        "rosinality": ("convs.1.noise", "noises.noise_2"),
    }[layout]
    before = maps_of(net, [name], z)[name]
    net.state_dict()[noise][..., 2, 3] += 0.1
    moved = maps_of(net, [name], z)[name] - before
    assert (moved[0, :, 2, 3] != 0).all()
    moved[0, :, 2, 3] = 0
    assert moved.abs().max() < 1e-12
    assert net.state_dict()[noise].shape[-2:] == (8, 8)


@both
def test_derivatives(layout: str) -> None:
    net = small(layout)
    z = latents(2, net.z_dim).requires_grad_()
    styles = latents(2, 4 * 4).view(2, 4, 4).requires_grad_()
    views = torch.randn(6, 2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda z: (views * net(z)).flatten(1).sum(1), (z,))
    assert torch.autograd.gradcheck(lambda styles: (views * net.synthesis(styles)).flatten(1).sum(1), (styles,))
    (slope,) = torch.autograd.grad(net.synthesis(styles).sum(), styles)
    # Each style has its say: three convolutions, and the last to-RGB layer.
    assert (slope.abs().amax(2) > 1e-6).all()


@both
@pytest.mark.parametrize("style", range(8))
def test_a_style_reaches_its_own_layers_and_what_follows(layout: str, style: int) -> None:
    # In forward order, the first of each on 4 × 4; to-RGB layers have the style of the next block's first convolution.
    convs, to_rgbs = {
        "nvidia": (
            ["b4.conv1", *(f"b{side}.conv{part}" for side in (8, 16, 32) for part in (0, 1))],
            [f"b{side}.torgb" for side in (4, 8, 16, 32)],
        ),
        "rosinality": (
            ["conv1", *(f"convs.{index}" for index in range(6))],
            ["to_rgb1.conv", *(f"to_rgbs.{block}.conv" for block in range(3))],
        ),
    }[layout]
    prefix = "synthesis." if layout == "nvidia" else ""
    known = {prefix + name: range(index + 1) for index, name in enumerate(convs)}
    known |= {prefix + name: range(2 * block + 2) for block, name in enumerate(to_rgbs)}
    net = toy(layout, torch.float64)
    styles = latents(8)[None]
    changed = styles.clone()
    changed[0, style] += 1
    before, after = (maps_of(net, known, each, through=net.synthesis) for each in (styles, changed))
    moved = {name for name in known if not torch.equal(before[name], after[name])}
    assert moved == {name for name, styles_before in known.items() if style in styles_before}
    assert not torch.equal(before["image"], after["image"])


@both
def test_truncation(layout: str) -> None:
    z = latents(3)
    centre = {"nvidia": "state/mapping.w_avg", "rosinality": "truncation_latent"}[layout]
    mean = facts(layout)[1][centre].double().reshape(16)
    whole, half, none = (toy(layout, torch.float64, psi=psi) for psi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(none.mapping(z), mean.expand(3, 8, 16), rtol=0, atol=1e-12)
    torch.testing.assert_close(none(z), none.synthesis(mean.expand(3, 8, 16)), rtol=0, atol=1e-12)
    torch.testing.assert_close(half.mapping(z), (whole.mapping(z) + mean) / 2, rtol=0, atol=1e-12)
    # A mapping sees only the direction of z.
    torch.testing.assert_close(whole.mapping(7 * z), whole.mapping(z))


def test_a_mean_style_of_its_own() -> None:
    net = toy("rosinality", truncation_latent=None, psi=0.0)
    assert isinstance(net, stylegan2_rosinality.Generator)
    names, random = list(net.state_dict()), torch.get_rng_state()
    with torch.inference_mode():  # a mean that is taken here must serve the differentiable pass below
        image = net(latents(1).float())
    assert not net.mean_style().is_inference()
    assert torch.equal(torch.get_rng_state(), random)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net.synthesis(net.mean_style().expand(1, 8, 16)), image)
    draws = net.style(torch.randn(100_000, 16, generator=torch.Generator().manual_seed(1)))
    assert ((net.mean_style() - draws.mean(0)) / (draws.std(0) / math.sqrt(4096))).abs().max() < 4
    torch.testing.assert_close(toy("rosinality", truncation_latent=None).mean_style(), net.mean_style())  # type: ignore[operator]
    net.psi = 0.5
    z = latents(1).float().requires_grad_()
    net(z).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 0
    old = net.mean_style()
    assert net.double().mean_style().dtype == torch.float64
    net.load_state_dict({**weights("rosinality"), "style.4.bias": 50 * torch.ones(16)})
    assert (net.mean_style() - old).abs().max() > 0.1


def test_a_given_mean_outlives_new_weights() -> None:
    net = toy("rosinality")
    net.load_state_dict({**weights("rosinality"), "style.4.bias": 50 * torch.ones(16)})
    assert torch.equal(net.mean_style(), facts("rosinality")[1]["truncation_latent"][0])  # type: ignore[operator]


@both
def test_no_image_depends_on_another(layout: str) -> None:
    net, z = toy(layout, torch.float64), latents(4)
    together = net(z)
    for image in range(4):
        torch.testing.assert_close(net(z[image : image + 1]), together[image : image + 1], rtol=0, atol=1e-12)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_what_a_layer_puts_out_is_clamped() -> None:
    z, names = latents(2), ["synthesis.b4.conv1", "synthesis.b4.torgb", "synthesis.b8.conv0", "synthesis.b32.torgb"]
    free, tight = (maps_of(toy("nvidia", torch.float64, clamp=clamp), names, z) for clamp in (math.inf, 0.5))
    assert all(free[name].abs().max() > 0.5 for name in names)
    assert all(tight[name].abs().max() == 0.5 for name in names)
    torch.testing.assert_close(tight[names[0]], free[names[0]].clamp(-0.5, 0.5), rtol=0, atol=1e-12)
    high = maps_of(toy("nvidia", torch.float64, clamp=256.0), names, z)
    assert all(torch.equal(high[name], free[name]) for name in [*names, "image"])


@both
@pytest.mark.parametrize("shape", [(2, 16), (2, 7, 16), (2, 8, 15)])
def test_styles_of_another_shape(layout: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not \(image, 8, 16\)"):
        toy(layout).synthesis(torch.zeros(shape))


@both
def test_an_untrained_network(layout: str) -> None:
    torch.manual_seed(0)
    net = build(layout, 64, widths=widths(64, 2048, 32)).requires_grad_(False)
    maps = maps_of(net, net.layer_names, torch.randn(2, 512))
    # Weights are drawn so that signals neither grow nor fade.
    assert all(0.1 < float(output.std()) < 3 for output in maps.values())
    assert maps["image"].shape == (2, 3, 64, 64)
