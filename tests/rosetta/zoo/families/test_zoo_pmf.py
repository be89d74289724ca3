"""Pixel MeanFlow against its equations, its published names, and what a user may give it."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pmf_files import SIZES, pmf_state, published_shapes, save_pmf
from probes import misses
from safetensors.torch import save_file
from torch import Tensor

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.units import Layer, Units
from rosetta.zoo.families.pmf.family import PMF, PUBLISHED, recognise
from rosetta.zoo.families.pmf.network import Config

Spec = Callable[..., ModelSpec]
Array = NDArray[Any]
_SIDE = SIZES["side"] * SIZES["patch"]
_SAMPLING = {"guidance": 3.0, "interval": (0.2, 0.7)}
_CLASSES = torch.tensor([3, 0])


@pytest.fixture
def model(spec: Spec, tmp_path: Path) -> zoo.Model:
    return zoo.load(spec("pmf/custom", str(save_pmf(tmp_path)), condition=Condition(**_SAMPLING)))


def _noise(images: int = 2) -> Tensor:
    return torch.randn(images, 3 * _SIDE**2, generator=torch.Generator().manual_seed(5))


# The equations, in float64


def _definition(state: dict[str, Tensor], z: Array, label: int, guidance: float, start: float, end: float) -> Any:
    """The image (rgb, y, x) of one noise (rgb, y, x), and what each MLP's last matrix takes (token, unit)."""
    of = {name.removeprefix("net."): tensor.numpy().astype(complex if "rope" in name else float)
          for name, tensor in state.items()}  # fmt: skip
    side, patch, heads = SIZES["side"], SIZES["patch"], SIZES["heads"]

    def silu(x: Array) -> Array:
        return x / (1 + np.exp(-x))

    def norm(x: Array, name: str) -> Array:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * of[f"{name}.weight"]

    def linear(x: Array, name: str) -> Array:
        return x @ of[f"{name}._flax_linear.weight"].T + of.get(f"{name}._flax_linear.bias", 0)

    def scalar(value: float, name: str) -> Array:
        half = SIZES["frequencies"] // 2
        angles = value * np.array([10000.0 ** (-i / half) for i in range(half)])
        return linear(silu(linear(np.concatenate([np.cos(angles), np.sin(angles)]), f"{name}.mlp.0")), f"{name}.mlp.2")

    patches = []
    for row in range(side):
        for column in range(side):
            part = z[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            low = np.einsum("ocyx,cyx->o", of["x_embedder.proj1.weight"], part) + of["x_embedder.proj1.bias"]
            patches.append(of["x_embedder.proj2.weight"][:, :, 0, 0] @ low + of["x_embedder.proj2.bias"])
    told = [
        ("class", of["y_embedder.embedding_table._flax_embedding.weight"][label]),
        ("omega", scalar(1 - 1 / guidance, "omega_embedder")),
        ("t_min", scalar(start, "cfg_t_start_embedder")),
        ("t_max", scalar(end, "cfg_t_end_embedder")),
        ("time", scalar(1.0, "h_embedder")),
    ]
    before = np.concatenate([of[f"{kind}_tokens"][0] + value for kind, value in told])
    prefix = len(before)
    x = np.concatenate([before, np.array(patches)]) + of["pos_embed"][0]
    width = SIZES["hidden"] // heads

    def turned(head: Array) -> Array:
        """Pairs of channels as complex numbers, times e to the power of i times their angle."""
        result = head.copy()
        for place in range(side * side):
            pairs = head[prefix + place].reshape(-1, 2)
            powers = [10000.0 ** (-2 * i / (width // 2)) for i in range(width // 4)]
            angles = np.array([place // side * p for p in powers] + [place % side * p for p in powers])
            product = (pairs[:, 0] + 1j * pairs[:, 1]) * np.exp(1j * angles)
            result[prefix + place] = np.stack([product.real, product.imag], 1).ravel()
        return result

    hidden = {}
    blocks = [f"shared_blocks.{i}" for i in range(SIZES["shared"])] + [f"u_heads.{i}" for i in range(SIZES["own"])]
    for block in blocks:
        normed, attended = norm(x, f"{block}.norm1"), np.zeros_like(x)
        q, k, v = (linear(normed, f"{block}.attn.{name}_proj") for name in "qkv")
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            query, key = (
                turned(norm(q[:, own], f"{block}.attn.q_norm")),
                turned(norm(k[:, own], f"{block}.attn.k_norm")),
            )
            scores = np.exp(query @ key.T / np.sqrt(width))
            attended[:, own] = scores / scores.sum(1, keepdims=True) @ v[:, own]
        x = x + linear(attended, f"{block}.attn.out_proj") * of[f"{block}.attn_scale"]
        normed = norm(x, f"{block}.norm2")
        hidden[block] = silu(linear(normed, f"{block}.mlp.w1")) * linear(normed, f"{block}.mlp.w3")
        x = x + linear(hidden[block], f"{block}.mlp.w2") * of[f"{block}.mlp_scale"]
    predicted = linear(norm(x[prefix:], "u_final_layer.norm"), "u_final_layer.linear")
    image = np.zeros_like(z)
    for place, values in enumerate(predicted):
        top, left = place // side * patch, place % side * patch
        image[:, top : top + patch, left : left + patch] = values.reshape(patch, patch, 3).transpose(2, 0, 1)
    velocity = (z - image) / max(1.0, 0.05)
    return z - (1.0 - 0.0) * velocity, {block: values[prefix:] for block, values in hidden.items()}


def test_images_and_maps_are_those_of_the_equations(model: zoo.Model) -> None:
    state, z = pmf_state(), _noise()
    images, maps = model.synthesise(z, _CLASSES)
    assert list(maps) == ["shared_blocks.0.mlp.w2@in", "shared_blocks.1.mlp.w2@in", "u_heads.0.mlp.w2@in"]
    for at, label in enumerate(_CLASSES.tolist()):
        noise = z[at].double().view(3, _SIDE, _SIDE).numpy()
        wanted, hidden = _definition(state, noise, label, 3.0, 0.2, 0.7)
        np.testing.assert_allclose(images[at].numpy() * 2 - 1, wanted, atol=2e-5 * np.abs(wanted).max())
        for block, values in hidden.items():
            found = maps[f"{block}.mlp.w2@in"][at].flatten(1).T.numpy()
            np.testing.assert_allclose(found, values, atol=2e-5 * np.abs(values).max())


def test_images_are_from_0_to_1_and_differ(model: zoo.Model) -> None:
    images, _ = model.generate(_noise(), _CLASSES)
    assert images.shape == (2, 3, _SIDE, _SIDE)
    assert (float(images.min()), float(images.max())) == (0, 1)
    assert (images[0] - images[1]).abs().mean() > 0.05


@pytest.mark.parametrize("change", [{"guidance": 4.0}, {"interval": (0.3, 0.7)}, {"interval": (0.2, 0.9)}])
def test_what_it_is_told_counts(model: zoo.Model, spec: Spec, change: dict[str, Any]) -> None:
    other = zoo.load(model.spec.model_copy(update={"condition": Condition(**{**_SAMPLING, **change})}))
    before, after = (each.synthesise(_noise(), _CLASSES)[0] for each in (model, other))
    assert (before - after).abs().max() > 1e-3
    assert (before - model.synthesise(_noise(), torch.tensor([3, 1]))[0])[1].abs().max() > 1e-3


def test_gradients_reach_the_noise(model: zoo.Model) -> None:
    z = _noise().requires_grad_()
    model.synthesise(z, _CLASSES)[0].square().mean().backward()
    assert z.grad is not None
    assert (z.grad != 0).float().mean() > 0.9


def test_a_change_of_the_noise_shows_at_its_place(model: zoo.Model) -> None:
    """In the maps of every layer, and in the image."""
    side, patch = SIZES["side"], SIZES["patch"]
    places = [(0, 2), (3, 1), (1, 0)]
    z = torch.zeros(1 + len(places), 3, _SIDE, _SIDE)
    for bright, (row, column) in zip(z[1:], places, strict=True):
        bright[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 2
    with torch.no_grad():
        for block in (*model.module.shared_blocks, *model.module.u_heads):  # type: ignore[misc]
            block.attn_scale.mul_(0.1)  # untrained attention carries anything anywhere
        images, maps = model.synthesise(z.flatten(1), torch.zeros(len(z), dtype=torch.int64))
    units = Units((*model.units.layers, Layer("image", 3, (_SIDE, _SIDE))))
    boxes = [(y / side, x / side, (y + 1) / side, (x + 1) / side) for y, x in places]
    assert set(misses(units, {**maps, "image": images}, boxes).values()) == {0.0}


# What is published


@pytest.mark.parametrize(
    ("name", "units", "layers", "grid"),
    [
        ("b-16", 32_768, 16, 16),
        ("b-32", 32_768, 16, 16),
        ("l-16", 87_360, 32, 16),
        ("l-32", 87_360, 32, 16),
        ("h-16", 163_968, 48, 16),
        ("h-32", 163_968, 48, 16),
    ],
)
def test_published_networks(spec: Spec, name: str, units: int, layers: int, grid: int) -> None:
    config, sampling = PUBLISHED[name]
    with torch.device("meta"):
        model = zoo.load(spec(f"pmf/{name}"), "meta")
    assert (len(model.units), len(model.units.layers)) == (units, layers)
    assert {layer.grid for layer in model.units.layers} == {(grid, grid)}
    side = 16 * int(name[-2:])
    assert (model.image_size, model.classes, model.latent) == ((side, side), 1000, 3 * side**2)
    assert model.prior is not None
    assert model.prior.scale == sampling.noise == {"b-16": 1, "b-32": 2, "l-16": 1, "h-16": 2}.get(name, 4)
    # The names of the release, and what they tell.
    shapes = published_shapes(**asdict(config))
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert recognise(state) == config
    inside = {key.removeprefix("net."): tensor for key, tensor in state.items()}
    named = PMF().translate(model.module, inside)
    assert {key: tensor.shape for key, tensor in named.items()} == {
        key: tensor.shape for key, tensor in model.module.state_dict().items()
    }


def test_names_are_sorted_and_noise_is_scaled(spec: Spec, tmp_path: Path) -> None:
    assert zoo.names("pmf") == sorted([*PUBLISHED, "custom"])
    file = str(save_pmf(tmp_path))
    plain, loud = (zoo.load(spec("pmf/custom", file, condition=Condition(noise=noise))) for noise in (None, 2.0))
    np.testing.assert_array_equal(loud.draw_latents(range(3), 1), 2 * plain.draw_latents(range(3), 1))


def test_a_mlp_may_be_rounded_as_the_training_code_does(spec: Spec) -> None:
    """JAX and PyTorch releases differ in the width of MLPs of 1,024 numbers a token."""
    config = replace(PUBLISHED["l-16"][0], mlp=2736)
    state = {key: torch.empty(shape, device="meta") for key, shape in published_shapes(**asdict(config)).items()}
    with torch.device("meta"):
        architecture = PMF().build("l-16", state, False, Condition())
    assert architecture.module.get_submodule("u_heads.0.mlp.w2").in_features == 2736


# Checkpoints


def _for_training(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the second prediction of training."""
    more = {name.replace("u_", "v_"): tensor for name, tensor in state.items() if "u_" in name}
    return {**state, **more}


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the wrappers, their `net.` and what is computed."""
    return {
        name.replace("._flax_linear", "").replace("._flax_embedding", "").removeprefix("net."): tensor
        for name, tensor in state.items()
        if "rope" not in name
    }


@pytest.mark.parametrize(
    "saved",
    [
        lambda state, file: torch.save(_for_training(state), file),
        lambda state, file: torch.save({"model": state, "step": 7}, file),
        lambda state, file: torch.save({"ema": state, "model": pmf_state(1)}, file),
        lambda state, file: save_file(_unwrapped(state), file.with_suffix(".safetensors")),
    ],
    ids=["for training", "among others", "moving average", "plain"],
)
def test_forms_of_a_checkpoint(model: zoo.Model, spec: Spec, saved: Any, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    saved(pmf_state(), folder / "net.pt")
    (file,) = folder.iterdir()
    other = zoo.load(spec("pmf/custom", str(file), condition=Condition(**_SAMPLING)))
    assert torch.equal(other.synthesise(_noise(), _CLASSES)[0], model.synthesise(_noise(), _CLASSES)[0])


def test_untrained_networks_make_images_of_their_noise(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, "b-16", (Config(**SIZES), PUBLISHED["b-16"][1]))  # type: ignore[arg-type]
    images = [zoo.load(spec("pmf/b-16", f"random:{seed}")).generate(_noise(), _CLASSES)[0] for seed in (0, 0, 1)]
    assert torch.equal(images[0], images[1])
    assert (images[0] - images[2]).abs().mean() > 0.01
    assert (images[0][0] - images[0][1]).abs().mean() > 0.01


# What cannot be loaded


def _without(name: str) -> Callable[[Path], str]:
    def save(folder: Path) -> str:
        torch.save({key: tensor for key, tensor in pmf_state().items() if name not in key}, folder / "pmf.pt")
        return str(folder / "pmf.pt")

    return save


def _changed(**changes: Any) -> Callable[[Path], str]:
    return lambda folder: str(save_pmf(folder, **changes))


def _resnet(folder: Path) -> str:
    torch.save({"conv.weight": torch.zeros(4, 3, 3, 3), "conv.bias": torch.zeros(4)}, folder / "resnet.pth")
    return str(folder / "resnet.pth")


def _another_shape(folder: Path) -> str:
    torch.save(pmf_state() | {"net.u_heads.0.mlp.w2._flax_linear.weight": torch.zeros(16, 25)}, folder / "pmf.pt")
    return str(folder / "pmf.pt")


@pytest.mark.parametrize(
    ("name", "file", "condition", "message"),
    [
        ("custom", _resnet, {}, "do not fit pmf/custom: they are no pixel MeanFlow generator's: 'x_embedder.proj1"),
        (
            "custom",
            _without("u_heads.0.mlp.w1"),
            {},
            r"'u_heads.0.mlp.w1.weight' is nothing in the file and \(24, 16\)",
        ),
        ("custom", _without("time_tokens"), {}, "'time_tokens' is missing"),
        ("custom", _changed(heads=8), {}, "of no pixel MeanFlow generator that exists: 8 heads of 16 numbers"),
        ("custom", _another_shape, {}, r"'u_heads.0.mlp.w2.weight' is \(16, 25\) in the file and \(16, 24\)"),
        ("b-16", _changed(), {}, "they have 16 numbers a token, not 768; name it pmf/custom"),
        ("b-16", lambda _: "pretrained", {}, "would download; give pMF-B-16.pt of the authors' PyTorch release"),
        ("b-17", lambda _: "random:0", {}, "pmf has no model 'b-17'; did you mean 'b-16'"),
        ("custom", lambda _: "random:0", {}, "pmf/custom is read off its weights"),
        ("custom", _changed(), {"classes": (5,)}, "condition.classes has 5, but its classes are 0 to 4"),
        ("custom", _changed(), {"interval": (0.7, 0.2)}, r"condition.interval is \[0.7, 0.2\]; give the start before"),
        ("custom", _changed(), {"steps": 2}, "takes no condition.steps"),
        ("custom", _changed(), {"truncation": 0.5}, "takes no condition.truncation"),
    ],
)
def test_what_cannot_be_loaded(
    spec: Spec, name: str, file: Callable[[Path], str], condition: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        zoo.load(spec(f"pmf/{name}", file(tmp_path), condition=Condition(**condition)))
    assert "\n" not in str(caught.value)
