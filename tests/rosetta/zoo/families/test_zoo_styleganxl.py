"""StyleGAN-XL against a toy run through the published definition; what it shares with StyleGAN3 is tested there.

`facts/styleganxl-tiny.safetensors` holds the toy's weights, inputs and maps, `facts/styleganxl-networks.json.gz` names
and shapes of the networks of ImageNet at full size.
"""

import gzip
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from module_maps import maps_of
from safetensors import safe_open
from torch import Tensor

from rosetta.errors import UserError
from rosetta.recipe import ModelSpec
from rosetta.zoo.families.stylegan import stylegan3
from rosetta.zoo.families.stylegan.kaiser import Bands, extend, schedule
from rosetta.zoo.families.stylegan.stylegan3 import StyleGAN3
from rosetta.zoo.families.stylegan.styleganxl import PUBLISHED, StyleGANXL, recognise
from rosetta.zoo.families.stylegan.synthesis import Filtering

Spec = Callable[..., ModelSpec]

FACTS = Path(__file__).parent / "facts"
NETWORKS: dict[str, Any] = json.loads(gzip.decompress((FACTS / "styleganxl-networks.json.gz").read_bytes()))
CLASSES = 10
"""Of the toy."""


def facts() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The toy's options, and its tensors."""
    with safe_open(FACTS / "styleganxl-tiny.safetensors", "pt") as file:
        return json.loads(file.metadata()["forward"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def weights() -> dict[str, Tensor]:
    return {name.removeprefix("state/"): tensor for name, tensor in facts()[1].items() if name.startswith("state/")}


def toy(dtype: torch.dtype = torch.float32, **arguments: Any) -> StyleGANXL:
    """The toy with its weights."""
    options, _ = facts()
    config, stem, head = options["config"], options["config"]["stem"], options["config"]["superres"]
    net = StyleGANXL(
        head["img_resolution"],
        stem_resolution=stem["img_resolution"],
        stem_layers=stem["num_layers"],
        head_layers=head["head_layers"],
        channel_base=stem["channel_base"],
        channel_max=stem["channel_max"],
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
        c_dim=config["c_dim"],
        embedding_dim=config["embedding_dim"],
        **{"psi": options["truncation_psi"], **arguments},
    )
    net.load_state_dict(weights())
    return net.to(dtype).requires_grad_(False)


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 16)))


def meta(**arguments: Any) -> StyleGANXL:
    with torch.device("meta"):
        return StyleGANXL(**arguments)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_names_and_shapes_at_full_size(name: str) -> None:
    net = meta(**PUBLISHED[name])
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == NETWORKS[name]["state_dict"]
    maps = maps_of(net, net.layer_names, torch.empty(1, 64, device="meta"), torch.empty(1, 1000, device="meta"))
    size = PUBLISHED[name]["resolution"]
    assert maps.pop("image").shape == (1, 3, size, size)
    assert [(key, *output.shape[1:]) for key, output in maps.items()] == [
        (layer["name"], layer["channels"], layer["grid_y"], layer["grid_x"]) for layer in NETWORKS[name]["layers"]
    ]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_networks_are_recognised(name: str) -> None:
    parameters = inspect.signature(StyleGANXL).parameters
    wanted = {key: parameter.default for key, parameter in parameters.items()} | PUBLISHED[name]
    state = meta(**PUBLISHED[name]).state_dict()
    found = recognise(state)
    assert {key: tensor.shape for key, tensor in meta(**found).state_dict().items()} == {
        key: tensor.shape for key, tensor in state.items()
    }
    # Where no layer is narrower than the most, a lower base gives the same network.
    assert found.pop("channel_base") == min(65536, 1024 * PUBLISHED[name]["resolution"])
    sides = [2**power for power in range(5, 11) if 2**power <= PUBLISHED[name]["resolution"]]
    assert found.pop("head_layers") == tuple((side, 7) for side in sides)
    assert found.pop("embeddings") == 1000
    assert found == {key: wanted[key] for key in found}


def test_maps_and_images_are_the_definitions() -> None:
    _, tensors = facts()
    maps = maps_of(net := toy(), net.layer_names, tensors["z"], tensors["c"])
    assert set(maps) == {name.removeprefix("map/") for name in tensors if name.startswith("map/")}
    assert list(maps) == [*toy().layer_names, "image"]
    for name, found in maps.items():
        wanted = tensors[f"map/{name}"]
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max(), name


def test_filters_are_those_of_the_checkpoint() -> None:
    state = weights()
    found = recognise(state)
    config = facts()[0]["config"]
    assert found == {
        "resolution": 32,
        "stem_resolution": 16,
        "stem_layers": config["stem"]["num_layers"],
        "head_layers": ((32, config["superres"]["head_layers"]),),
        "channel_base": config["stem"]["channel_base"],
        "channel_max": config["stem"]["channel_max"],
        **{name: config[name] for name in ("z_dim", "w_dim", "c_dim", "embedding_dim")},
        "embeddings": CLASSES,
        "mapping_layers": 2,
        "mapping_rate": 0.01,
        "output_scale": 0.25,
        "bands": Bands(),
        "filtering": Filtering(),
    }
    fresh = StyleGANXL(**found).state_dict()
    filters = [name for name in fresh if name.endswith("_filter")]
    assert len(filters) == 2 * (len(toy().layer_names) - 1)
    for name in filters:
        torch.testing.assert_close(fresh[name], state[name], rtol=0, atol=1e-7)


def test_a_stage_goes_on_where_the_one_below_it_was_cut() -> None:
    stem = schedule(16, 10, 65536, 1024)
    grown = extend(stem, 32, 7, 65536, 1024)
    assert grown[:8] == stem[:8]
    assert [step.index for step in grown] == [*range(8), *range(9, 17)]
    first, last = grown[8], stem[7].after
    # A stage's first layer leaves the signal as it is.
    assert first.before == first.after
    assert (first.before.cutoff, first.before.rate, first.before.size) == (last.cutoff, last.rate, last.size)
    assert first.before.half_width == pytest.approx(last.half_width)
    assert [step.critical for step in grown] == [False] * 13 + [True] * 3
    assert grown[-1].after.cutoff == pytest.approx(16)


def test_a_stage_begins_where_the_filters_before_it_stop() -> None:
    # A grid of 16 samples lets no filter stop below a frequency of 8, whatever stopband was asked for.
    stem = schedule(16, 5, 256, 16)
    assert stem[2].after.stopband < 7.5
    assert extend(stem, 32, 4, 256, 16)[3].before.stopband == pytest.approx(8, rel=1e-12)


def missing(*names: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"main.0.weight": torch.ones(1)}, r"no StyleGAN-XL generator's.*there is 'main.0.weight'"),
        (
            missing("mapping.embed_proj.weight", "mapping.embed_proj.bias"),
            r"'mapping.w_avg' is \(10, 16\) in the file and \(16,\) in the network",
        ),
        (missing("mapping.embed_proj.bias"), r"'mapping.embed_proj.bias' is nothing in the file"),
        (missing("mapping.embed.weight", "mapping.embed_proj.weight"), r"are they StyleGAN3's\?"),
        (missing("mapping.embed.weight"), r"an embedding of classes"),
        (
            lambda state: {**state, "mapping.embed.weight": torch.ones(8)},
            r"'mapping.embed.weight' is \(8,\), not of 2 axes",
        ),
        (missing("synthesis.L6_52_13.affine.bias"), r"'synthesis.L6_52_13.affine.bias' is nothing in the file"),
        (
            lambda state: {**state, "mapping.w_avg": state["mapping.w_avg"][0]},
            r"'mapping.w_avg' is \(16,\), not of 2 axes",
        ),
        (
            lambda state: {name.replace("L5_36_16", "L4_36_16"): tensor for name, tensor in state.items()},
            r"no stem and stages have layers of these names and filters",
        ),
        (lambda state: {name.replace("_32", "_16"): state[name] for name in state}, r"no StyleGAN-XL generator"),
        (lambda _: StyleGAN3(16, channel_base=128, channel_max=8, layers=4).state_dict(), r"are they StyleGAN3's\?"),
    ],
)
def test_other_architectures_are_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        recognise(change(weights()))


def test_every_tensor_counts() -> None:
    state = weights()
    for name, tensor in state.items():
        for changed in (missing(name)(state), {**state, name: tensor[None]}):
            with pytest.raises(UserError, match="StyleGAN"):
                recognise(changed)


def test_stylegan3_refuses_it() -> None:
    with pytest.raises(UserError, match="StyleGAN-XL's, not StyleGAN3's"):
        stylegan3.recognise(weights())


@pytest.mark.parametrize("resolution", [8, 24, 48])
def test_sizes_that_no_stage_reaches(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"stem of 16 pixels never grows to {resolution}"):
        meta(resolution=resolution)


def test_truncation_goes_towards_the_mean_of_the_class() -> None:
    z, c = latents(4), torch.tensor([3, 3, 7, 3])
    mean, full, half = (toy(torch.float64, psi=psi) for psi in (0.0, 1.0, 0.5))
    averages = weights()["mapping.w_avg"].double()
    assert not torch.allclose(averages[3], averages[7], atol=1e-3)
    images = mean(z, c)
    torch.testing.assert_close(images[[1, 3]], images[[0, 0]], rtol=0, atol=1e-12)
    assert not torch.allclose(images[0], images[2], rtol=1e-3)
    of_class = averages[c][:, None].expand(-1, mean.synthesis.styles, -1)
    torch.testing.assert_close(images, full.synthesis(of_class))
    torch.testing.assert_close(half.mapping(z, c), (full.mapping(z, c) + of_class) / 2)
    torch.testing.assert_close(half(z, c), half.synthesis(half.mapping(z, c)))
    assert half.mapping(z, c).shape == (4, 10, 16)


def test_classes_may_be_scores_or_indices() -> None:
    net, z, c = toy(torch.float64), latents(3), torch.tensor([0, 9, 4])
    images = net(z, c)
    hot = torch.nn.functional.one_hot(c, CLASSES)
    assert torch.equal(net(z, hot), images)
    assert torch.equal(net(z, hot.double() * 3 - 1), images)
    assert not torch.allclose(net(z, c.flip(0))[0], images[0], rtol=1e-3)
    for wrong in (c.double(), c[:2], hot[:, :9], hot[:2]):
        with pytest.raises(ValueError, match=r"not \(3, 10\) or integers \(3,\)"):
            net(z, wrong)


def test_gradients_to_latents_and_styles() -> None:
    net, c = toy(torch.float64), torch.tensor([1, 8])
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 32, 32)))
    of_latents: Callable[[Tensor], Tensor] = lambda z: net(z, c)  # noqa: E731
    for function, start in ((of_latents, latents(2)), (net.synthesis, net.mapping(latents(2), c))):
        direction = torch.from_numpy(np.random.default_rng(2).standard_normal(start.shape))
        leaf = start.clone().requires_grad_()
        (function(leaf) * weight).sum().backward()
        assert leaf.grad is not None
        assert (leaf.grad != 0).all()
        step = 1e-7 * direction  # short enough to cross no kink of the nonlinearity
        change = ((function(start + step) - function(start - step)) * weight).sum() / 2e-7
        assert float((leaf.grad * direction).sum()) == pytest.approx(float(change), rel=1e-6)


def test_no_image_depends_on_another() -> None:
    net, z, c = toy(torch.float64), latents(4), torch.tensor([2, 5, 5, 0])
    together = net(z, c)
    for image in range(4):
        alone = net(z[image : image + 1], c[image : image + 1])
        torch.testing.assert_close(alone, together[image : image + 1], rtol=0, atol=1e-12)
