"""The parts of StyleGAN2 against plain loops, in float64, over the equations of arXiv 1912.04958."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from strategies import SEEDS

from rosetta.zoo.families.stylegan import stylegan2_nvidia
from rosetta.zoo.families.stylegan.filters import lowpass, upfirdn
from rosetta.zoo.families.stylegan.mapping import MappingConfig, StyleMapping
from rosetta.zoo.families.stylegan.modulation import ACTIVATIONS, activate, modulated
from rosetta.zoo.families.stylegan.stylegan2 import recognise
from rosetta.zoo.families.stylegan.stylegan2_nvidia import Config

Array = npt.NDArray[np.float64]

FACTS = Path(__file__).parent / "facts"


def slow_upfirdn(maps: Array, kernel: Array, up: int, down: int, padding: tuple[int, int]) -> Array:
    """The definition, a step at a time."""
    height, width = (side * up for side in maps.shape[2:])
    stuffed = np.zeros((*maps.shape[:2], height, width))
    stuffed[:, :, ::up, ::up] = maps
    before, after = padding
    fine = np.zeros((*maps.shape[:2], height + before + after, width + before + after))
    for y in range(fine.shape[2]):
        for x in range(fine.shape[3]):
            if 0 <= y - before < height and 0 <= x - before < width:
                fine[:, :, y, x] = stuffed[:, :, y - before, x - before]
    rows, columns = kernel.shape
    smooth = np.zeros((*maps.shape[:2], fine.shape[2] - rows + 1, fine.shape[3] - columns + 1))
    for y in range(smooth.shape[2]):
        for x in range(smooth.shape[3]):
            for i in range(rows):
                for j in range(columns):
                    smooth[:, :, y, x] += kernel[i, j] * fine[:, :, y + rows - 1 - i, x + columns - 1 - j]
    return smooth[:, :, ::down, ::down]


@given(data=st.data(), up=st.integers(1, 3), down=st.integers(1, 3), gain=st.sampled_from([1.0, 4.0, 0.3]))
def test_upfirdn_is_its_definition(data: st.DataObject, up: int, down: int, gain: float) -> None:
    random = np.random.default_rng(data.draw(SEEDS))
    shape = [data.draw(st.integers(1, most)) for most in (2, 3, 5, 5)]
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    before = data.draw(st.integers(-2, 5))
    least = max(rows - shape[2] * up, columns - shape[3] * up) - before
    after = data.draw(st.integers(max(least, -2), max(least, -2) + 5))
    maps, kernel = random.normal(size=shape), random.normal(size=(rows, columns))
    wanted = slow_upfirdn(maps, gain * kernel, up, down, (before, after))
    inputs = (torch.tensor(maps, dtype=torch.float32), torch.tensor(kernel, dtype=torch.float32))
    found = upfirdn(*inputs, up=up, down=down, padding=(before, after), gain=gain)
    assert found.shape == wanted.shape
    # Rounding is relative to what was summed up, not to what is left where that cancels.
    scale = gain * np.abs(kernel).sum() * np.abs(maps).max()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5 * scale)


def test_upsampling_keeps_flat_maps_flat() -> None:
    flat = upfirdn(torch.ones(1, 2, 5, 4), lowpass(), up=2, padding=(2, 1), gain=4)
    assert flat.shape == (1, 2, 10, 8)
    torch.testing.assert_close(flat[:, :, 1:-1, 1:-1], torch.ones(1, 2, 8, 6))
    assert lowpass((1, 2, 1)).tolist() == [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8], [1 / 16, 1 / 8, 1 / 16]]


@pytest.mark.parametrize("up", [1, 2])
def test_second_derivatives_of_upfirdn(up: int) -> None:
    random = np.random.default_rng(0)
    maps, kernel = (torch.from_numpy(random.normal(size=shape)) for shape in ((1, 2, 2, 3), (2, 3)))
    leaves = (maps.requires_grad_(), kernel.requires_grad_())
    run = lambda maps, kernel: upfirdn(maps, kernel, up=up, padding=(2, 1)).square()  # noqa: E731
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


def slow_modulated(maps: Array, weight: Array, styles: Array, demodulate: bool, up: bool) -> Array:
    """Equations 1 and 3 for each image and each output, then the convolution, a sample at a time."""
    images, _, height, width = maps.shape
    outputs, _, taps, _ = weight.shape
    if up:  # zeros between the samples and around them; a kernel that is convolved is met backwards
        stuffed = np.zeros((*maps.shape[:2], 2 * height - 1, 2 * width - 1))
        stuffed[:, :, ::2, ::2] = maps
        maps, weight, margin = stuffed, weight[:, :, ::-1, ::-1], taps - 1
    else:
        margin = taps // 2
    padded = np.pad(maps, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    result = np.zeros((images, outputs, *(side + 2 * margin - taps + 1 for side in maps.shape[2:])))
    for image in range(images):
        for output in range(outputs):
            own = weight[output] * styles[image][:, None, None]
            if demodulate:
                own = own / np.sqrt((own**2).sum() + 1e-8)
            for y in range(result.shape[2]):
                for x in range(result.shape[3]):
                    result[image, output, y, x] = (own * padded[image, :, y : y + taps, x : x + taps]).sum()
    return result


@given(data=st.data(), demodulate=st.booleans(), up=st.booleans(), taps=st.sampled_from([1, 3]))
def test_modulation_is_its_equations(data: st.DataObject, demodulate: bool, up: bool, taps: int) -> None:
    random = np.random.default_rng(data.draw(SEEDS))
    images, inputs, outputs, height, width = (data.draw(st.integers(1, most)) for most in (3, 4, 3, 5, 5))
    maps, styles = random.normal(size=(images, inputs, height, width)), random.normal(1, 1, (images, inputs))
    weight = random.normal(size=(outputs, inputs, taps, taps))
    wanted = slow_modulated(maps, weight, styles, demodulate, up)
    floats = (torch.tensor(each, dtype=torch.float32) for each in (maps, weight, styles))
    found = modulated(*floats, demodulate=demodulate, up=up)
    assert found.shape == wanted.shape
    scale = np.abs(maps).max() * (
        math.sqrt(inputs) * taps if demodulate else np.abs(weight).sum() * np.abs(styles).max()
    )
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5 * scale)


def test_demodulation_keeps_the_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, weight = torch.randn(2, 64, 32, 32, generator=generator), torch.randn(8, 64, 3, 3, generator=generator)
    styles = 10 * torch.randn(2, 64, generator=generator)
    # However large the styles are, weights of unit norm keep unit variance.
    assert modulated(maps, weight, styles)[:, :, 1:-1, 1:-1].std((2, 3)).sub(1).abs().max() < 0.1


@pytest.mark.parametrize("layout", ["nvidia", "rosinality"])
@pytest.mark.parametrize("up", [False, True])
def test_a_layer_is_its_equations(layout: str, up: bool) -> None:
    tensors = load_file(FACTS / f"stylegan2-{layout}-tiny.safetensors")
    tensors = {name.removeprefix("state/"): each for name, each in tensors.items() if name.startswith("state/")}
    net = recognise(tensors).build().requires_grad_(False)
    net.load_state_dict(tensors)
    state = {name: each.double().numpy() for name, each in tensors.items()}
    if layout == "nvidia":
        name, weight = f"synthesis.b8.conv{0 if up else 1}", "weight"
        affine, bias, noise = "affine", f"{name}.bias", state[f"{name}.noise_const"]
        strength, scale = state[f"{name}.noise_strength"], 1.0
    else:
        name, weight, affine = f"convs.{0 if up else 1}", "conv.weight", "conv.modulation"
        bias, noise = f"{name}.activate.bias", state[f"noises.noise_{1 if up else 2}"][0, 0]
        strength, scale = state[f"{name}.noise.weight"], 1 / math.sqrt(16 * 9)
    random, side = np.random.default_rng(0), 4 if up else 8
    w, maps = random.normal(size=(2, 16)), random.normal(size=(2, 16, side, side))
    styles = w @ state[f"{name}.{affine}.weight"].T / math.sqrt(16) + state[f"{name}.{affine}.bias"]
    raised = slow_modulated(maps, scale * state[f"{name}.{weight}"].reshape(16, 16, 3, 3), styles, True, up)
    if up:
        line = np.array([1, 3, 3, 1]) / 8
        raised = slow_upfirdn(raised, 4 * np.outer(line, line), 1, 1, (1, 1))
    raised = raised + strength * noise + state[bias][:, None, None]
    wanted = np.where(raised < 0, 0.2 * raised, raised) * math.sqrt(2)
    given_noise = [] if layout == "nvidia" else [torch.tensor(noise)[None, None].float()]
    found = net.get_submodule(name)(torch.tensor(maps).float(), torch.tensor(w).float(), *given_noise)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0) * math.sqrt(2),
    "lrelu": lambda x: np.where(x < 0, 0.2 * x, x) * math.sqrt(2),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x < 0, np.expm1(x), x),
    "selu": lambda x: 1.0507009873554805 * np.where(x < 0, 1.6732632423543772 * np.expm1(x), x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "swish": lambda x: x / (1 + np.exp(-x)) * math.sqrt(2),
}
"""Of NVIDIA's constructors, with the factors that they put behind them."""


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_nonlinearity_is_its_definition(name: str) -> None:
    random = np.random.default_rng(0)
    maps, bias = random.normal(0, 2, (2, 3, 4, 4)), random.normal(size=3)
    found = activate(torch.tensor(maps), torch.tensor(bias), name)
    np.testing.assert_allclose(found.numpy(), NONLINEARITIES[name](maps + bias[:, None, None]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("c_dim", [0, 4])
@pytest.mark.parametrize("embedding", [None, 5])
@pytest.mark.parametrize(("layers", "width"), [(1, None), (3, None), (3, 7)])
def test_a_mapping_is_its_definition(c_dim: int, embedding: int | None, layers: int, width: int | None) -> None:
    torch.manual_seed(0)
    config = MappingConfig(
        z_dim=6,
        w_dim=8,
        c_dim=c_dim,
        embedding=embedding,
        mapping_layers=layers,
        mapping_width=width,
        mapping_activation="tanh",
        mapping_rate=0.3,
    )
    net = StyleMapping(config, 2, 0.6).double().requires_grad_(False)
    net.w_avg.normal_()
    for layer in range(layers):
        net.get_submodule(f"fc{layer}").bias.normal_()
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    unit = lambda x: x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)  # noqa: E731
    z, classes = np.random.default_rng(1).normal(size=(3, 6)), np.array([3, 0, 1])
    w = unit(z)
    if c_dim:
        condition = state["embed.weight"].T[classes] / math.sqrt(c_dim) + state["embed.bias"]
        assert condition.shape == (3, embedding or 8)
        w = np.concatenate([w, unit(condition)], 1)
    for layer in range(layers):
        weight, bias = (0.3 * state[f"fc{layer}.{kind}"] for kind in ("weight", "bias"))
        assert weight.shape[0] == (width or 8 if layer < layers - 1 else 8)
        w = np.tanh(w @ weight.T / math.sqrt(w.shape[1]) + bias)
    wanted = state["w_avg"] + 0.6 * (w - state["w_avg"])
    found = net(torch.tensor(z), torch.tensor(classes) if c_dim else None)
    np.testing.assert_allclose(found.numpy(), np.stack([wanted, wanted], 1), rtol=1e-10, atol=1e-12)
    if c_dim:
        with pytest.raises(ValueError, match=r"the network is conditional; give it c, \(image, 4\)"):
            net(torch.tensor(z))


def test_a_network_without_noise_is_one_whose_noise_has_no_strength() -> None:
    torch.manual_seed(0)
    config = Config(resolution=16, widths={4: 3, 8: 3, 16: 2}, z_dim=4, w_dim=4)
    quiet = stylegan2_nvidia.Generator(replace(config, noise=False))
    loud = stylegan2_nvidia.Generator(config)
    assert not [name for name in quiet.state_dict() if "noise" in name]
    loud.load_state_dict(quiet.state_dict(), strict=False)
    z = torch.randn(2, 4)
    assert torch.equal(quiet(z), loud(z))
    assert recognise(quiet.state_dict()).build().synthesis.get_submodule("b8.conv1").config.noise is False
