"""StyleGAN-XL against a toy run through the published definition; what it shares with StyleGAN3 is tested there.

`facts/styleganxl-tiny.safetensors` holds the toy's weights, inputs and maps, `facts/styleganxl-networks.json.gz` names
and shapes of the networks of ImageNet at full size.
"""

import gzip
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import maps_of
from safetensors import safe_open
from safetensors.torch import save_file
from strategies import XL_STAGES
from torch import Tensor

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.stylegan import stylegan3
from rosetta.zoo.families.stylegan.schedule import Bands, extend, schedule
from rosetta.zoo.families.stylegan.stylegan3 import StyleGAN3
from rosetta.zoo.families.stylegan.styleganxl import PUBLISHED, Config, StyleGANXL, recognise

Spec = Callable[..., ModelSpec]

FACTS = Path(__file__).parent / "facts"
NETWORKS: dict[str, Any] = json.loads(gzip.decompress((FACTS / "styleganxl-networks.json.gz").read_bytes()))
CLASSES = 10
"""Of the toy."""

WIDE = Bands(channel_base=65536, channel_max=1024)
"""Of the published networks."""


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
    config = Config(
        resolution=head["img_resolution"],
        stem_resolution=stem["img_resolution"],
        stem_layers=stem["num_layers"],
        head_layers=head["head_layers"],
        channel_base=stem["channel_base"],
        channel_max=stem["channel_max"],
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
        c_dim=config["c_dim"],
        embedding=options["config"]["embedding_dim"],
    )
    net = StyleGANXL(config, **{"psi": options["truncation_psi"], **arguments})
    net.load_state_dict(weights())
    return net.to(dtype).requires_grad_(False)


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 16)))


def _stylegan3() -> StyleGAN3:
    return StyleGAN3(stylegan3.Config(resolution=16, channel_base=128, channel_max=8, layers=4))


def meta(config: Config) -> StyleGANXL:
    with torch.device("meta"):
        return StyleGANXL(config)


def test_the_largest_goes_on_where_the_one_below_it_was_cut() -> None:
    """No facts are at hand of `imagenet-1024`: it is one more stage, of five layers, as the paper says."""
    assert set(PUBLISHED) - set(NETWORKS) == {"imagenet-1024"}
    below, found = NETWORKS["imagenet-512"], meta(PUBLISHED["imagenet-1024"])
    names = [layer["name"] for layer in below["layers"]]
    kept, cut = names[:-3], names[-3:]
    steps = schedule(16, 10, WIDE)
    for side in (32, 64, 128, 256, 512, 1024):
        steps = extend(steps, side, 5 if side == 1024 else 7, WIDE)
    assert len(found.layer_names) == 39
    assert list(found.layer_names) == [*kept, *(f"synthesis.{step.name}" for step in steps[len(kept) :])]
    assert [step.index for step in steps[len(kept) :]] == list(range(len(kept) + 1, len(kept) + 7))
    state = {key: list(tensor.shape) for key, tensor in found.state_dict().items()}
    for key, shape in below["state_dict"].items():
        assert state.get(key) == (None if key.startswith(tuple(f"{layer}." for layer in cut)) else shape)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_names_and_shapes_at_full_size(name: str) -> None:
    net = meta(PUBLISHED[name])
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == NETWORKS[name]["state_dict"]
    maps = maps_of(net, net.layer_names, torch.empty(1, 64, device="meta"), torch.empty(1, 1000, device="meta"))
    size = PUBLISHED[name].resolution
    assert maps.pop("image").shape == (1, 3, size, size)
    assert [(key, *output.shape[1:]) for key, output in maps.items()] == [
        (layer["name"], layer["channels"], layer["grid_y"], layer["grid_x"]) for layer in NETWORKS[name]["layers"]
    ]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_networks_are_recognised(name: str) -> None:
    state = meta(PUBLISHED[name]).state_dict()
    found = recognise(state)
    assert {key: tensor.shape for key, tensor in meta(found).state_dict().items()} == {
        key: tensor.shape for key, tensor in state.items()
    }
    # Where no layer is narrower than the most, a lower base gives the same network.
    assert found.channel_base == min(65536, 1024 * PUBLISHED[name].resolution)
    sides = [2**power for power in range(5, 11) if 2**power <= PUBLISHED[name].resolution]
    assert found.head_layers == tuple((side, 5 if side == 1024 else 7) for side in sides)
    assert found.embeddings == 1000
    stated = replace(PUBLISHED[name], head_layers=found.head_layers)
    assert replace(found, channel_base=65536, embeddings=None) == stated


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
    assert found == Config(
        resolution=32,
        stem_resolution=16,
        stem_layers=config["stem"]["num_layers"],
        head_layers=((32, config["superres"]["head_layers"]),),
        channel_base=config["stem"]["channel_base"],
        channel_max=config["stem"]["channel_max"],
        **{name: config[name] for name in ("z_dim", "w_dim", "c_dim")},
        embedding=config["embedding_dim"],
        embeddings=CLASSES,
        mapping_layers=2,
        mapping_rate=0.01,
        output_scale=0.25,
    )
    fresh = StyleGANXL(found).state_dict()
    filters = [name for name in fresh if name.endswith("_filter")]
    assert len(filters) == 2 * (len(toy().layer_names) - 1)
    for name in filters:
        torch.testing.assert_close(fresh[name], state[name], rtol=0, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(stem_layers=st.integers(3, 7), later=XL_STAGES, radial=st.booleans())
def test_stages_are_read_off_names_and_filters(stem_layers: int, later: list[tuple[int, int]], radial: bool) -> None:
    """Each stage may have layers of its own number and may more than double the resolution."""
    side, heads = 16, []
    for factor, layers in later:
        side *= factor
        heads.append((side, layers))
    filtering = {"kernel": 1 if radial else 3, "radial": radial}
    small = {"channel_base": 4 * side, "channel_max": 4, "z_dim": 4, "w_dim": 3, "c_dim": 2, "embedding": 3}
    torch.manual_seed(0)
    net = StyleGANXL(Config(resolution=side, stem_layers=stem_layers, head_layers=tuple(heads), **filtering, **small))
    state = net.state_dict()
    twin = StyleGANXL(recognise(state))
    twin.load_state_dict(state)
    z, c = latents(2)[:, :4].float(), torch.tensor([1, 0])
    with torch.inference_mode():
        assert torch.equal(twin(z, c), net(z, c))


def test_filters_of_other_stages_are_none() -> None:
    state = weights()
    name = "synthesis.L6_52_13.up_filter"
    with pytest.raises(UserError, match="no stem and stages have layers of these names and filters"):
        recognise({**state, name: state[name].roll(1)})


def without_classes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As of FFHQ and Pokémon: the embeddings of ImageNet's classes are there, but nothing that takes them."""
    rest = {name: tensor for name, tensor in state.items() if not name.startswith("mapping.embed_proj")}
    rest["mapping.fc0.weight"] = rest["mapping.fc0.weight"][:, :16].contiguous()
    rest["mapping.w_avg"] = rest["mapping.w_avg"][3]
    return rest


def test_a_network_without_classes(spec: Spec, tmp_path: Path) -> None:
    state = without_classes(weights())
    save_file(state, tmp_path / "net.safetensors")
    told = Condition(truncation=0.7)
    model = zoo.load(spec("styleganxl/custom", weights=str(tmp_path / "net.safetensors"), condition=told))
    assert model.classes is None
    z = latents(3).float()
    # What the mapping does, step by step.
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in ("fc0", "fc1"):
        weight, bias = (state[f"mapping.{layer}.{kind}"] * 0.01 for kind in ("weight", "bias"))
        w = torch.nn.functional.leaky_relu(w @ weight.T / math.sqrt(16) + bias, 0.2) * math.sqrt(2)
    wanted = state["mapping.w_avg"] + 0.7 * (w - state["mapping.w_avg"])
    torch.testing.assert_close(model.styles(z), wanted[:, None].expand(-1, 10, -1))
    images, _ = model.synthesise(z)
    torch.testing.assert_close(images * 2 - 1, toy().synthesis(wanted[:, None].expand(-1, 10, -1)))
    told = Condition(classes=(1,))
    with pytest.raises(UserError, match=r"its weights know no classes; remove condition\.classes"):
        zoo.load(spec("styleganxl/custom", weights=str(tmp_path / "net.safetensors"), condition=told))


def test_more_embeddings_than_classes(spec: Spec, tmp_path: Path) -> None:
    """As of CIFAR-10: a thousand embeddings, and ten classes that have a mean style."""
    state = weights()
    state["mapping.w_avg"] = state["mapping.w_avg"][:4].contiguous()
    save_file(state, tmp_path / "net.safetensors")
    told = Condition(truncation=0.7)
    model = zoo.load(spec("styleganxl/custom", weights=str(tmp_path / "net.safetensors"), condition=told))
    assert model.classes == 4
    z, c = latents(3).float(), torch.tensor([3, 0, 2])
    torch.testing.assert_close(model.synthesise(z, c)[0] * 2 - 1, toy()(z, c))
    hot = torch.nn.functional.one_hot(c, 4)
    torch.testing.assert_close(model.module(z, hot), toy()(z, c))
    told = Condition(classes=(4,))
    with pytest.raises(UserError, match="has 4, but its classes are 0 to 3"):
        zoo.load(spec("styleganxl/custom", weights=str(tmp_path / "net.safetensors"), condition=told))


def test_a_stage_goes_on_where_the_one_below_it_was_cut() -> None:
    stem = schedule(16, 10, WIDE)
    grown = extend(stem, 32, 7, WIDE)
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
    narrow = Bands(channel_base=256, channel_max=16)
    stem = schedule(16, 5, narrow)
    assert stem[2].after.stopband < 7.5
    assert extend(stem, 32, 4, narrow)[3].before.stopband == pytest.approx(8, rel=1e-12)


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
        (lambda _: _stylegan3().state_dict(), r"are they StyleGAN3's\?"),
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
        meta(Config(resolution=resolution))


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
