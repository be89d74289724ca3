"""BigGAN-deep against the package that converted it, and the latents that it wants."""

import sys
import types
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, kstest, truncnorm
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.biggan import PLANS, BigGAN, BigGANDeep
from rosetta.zoo.latents import Prior, draw_classes
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.probe import probe
from rosetta.zoo.weights.statedict import first_difference, load_state

_WIDTH = 8
"""Of the small generators here: sixteen times as narrow as the published ones."""

_PRIOR = Prior(128, 2.0)

_RECORDED = [-0.66391182, 0.77477324, 0.94866920, 0.68540299]
"""Of the package's images from the weights of :func:`_state`, at the places that the test names."""
_RECORDED_SPREAD = [0.46430117, 0.46082741]
"""Standard deviation of each of those images."""


def _capture(module: BigGAN, architecture: Architecture, device: str = "cpu") -> Capture:
    inputs = (torch.zeros(1, 128, device=device), torch.zeros(1, dtype=torch.int64, device=device))
    seen = probe(module, inputs, architecture.traits, architecture.image_size)
    assert seen.output.shape == (1, 3, *(architecture.image_size or ()))
    return Capture(module, choose_layers(module, seen, "biggan", architecture.layers))


@cache
def _state() -> dict[str, Tensor]:
    """Weights of a small generator with moments, scales and offsets that all differ; the same everywhere."""
    random = np.random.default_rng(0)
    state = BigGAN(PLANS["deep-128"], width=_WIDTH).state_dict()
    for name, tensor in state.items():
        values = random.standard_normal(tuple(tensor.shape))
        if name.endswith("running_vars"):
            values = random.uniform(0.5, 1.5, tuple(tensor.shape))
        elif name.endswith("weight_orig"):
            values /= np.sqrt(tensor[0].numel())
        tensor.copy_(torch.from_numpy(values))
    for name in [name for name in state if name.endswith("weight_orig")]:
        matrix = state[name].flatten(1).double()
        v = torch.ones(matrix.shape[1], dtype=torch.float64)
        for _ in range(3):  # too few for the singular vectors, so that the product with both counts
            u = F.normalize(matrix @ v, dim=0)
            v = F.normalize(matrix.T @ u, dim=0)
        state[f"{name[:-4]}u"].copy_(u)
        state[f"{name[:-4]}v"].copy_(v)
    return state


def _small(truncation: float = 1.0) -> BigGAN:
    module = BigGAN(PLANS["deep-128"], truncation, width=_WIDTH).eval()
    module.load_state_dict(_state())
    return module


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package; of what it would download with, it needs no more than that it can be imported."""
    try:
        import boto3  # noqa: F401
    except ImportError:
        errors = types.ModuleType("botocore.exceptions")
        errors.ClientError = Exception  # type: ignore[attr-defined]
        for name in ("boto3", "botocore"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, "botocore.exceptions", errors)
    return pytest.importorskip(
        "pytorch_pretrained_biggan", reason="pip install --no-deps pytorch-pretrained-biggan to compare with it"
    )


@pytest.mark.parametrize(
    ("name", "units", "layers"), [("deep-128", 19264, 45), ("deep-256", 23296, 53), ("deep-512", 23744, 61)]
)
def test_units(name: str, units: int, layers: int) -> None:
    with torch.device("meta"):
        architecture = BigGANDeep().build(name, None, False, Condition())
    module = architecture.module.eval()
    assert isinstance(module, BigGAN)
    found = _capture(module, architecture, "meta").units
    assert (len(found), len(found.layers)) == (units, layers)
    at = {layer.name: (layer.channels, layer.grid) for layer in found.layers}
    size = PLANS[name].size
    assert at["generator.layers.0.conv_3"] == (2048, (4, 4))
    assert at["generator.layers.1.conv_0"] == (512, (4, 4))
    assert at["generator.layers.1.conv_1"] == (512, (8, 8))
    assert at["generator.layers.8.snconv1x1_g"][1] == (64, 64)
    assert at["generator.conv_to_rgb"] == (128, (size, size))
    assert list(at)[-1] == "generator.conv_to_rgb"
    assert (architecture.latent, architecture.image_size) == (128, (size, size))


def test_images_are_those_recorded_from_the_package() -> None:
    module = _small(0.4)
    latents = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 128))).float() * 0.4
    with torch.no_grad():
        images = module(latents, torch.tensor([3, 980]))
    assert images.shape == (2, 3, 128, 128)
    places = images[[0, 0, 1, 1], [0, 1, 2, 0], [0, 64, 127, 31], [0, 100, 5, 90]]
    torch.testing.assert_close(places, torch.tensor(_RECORDED), atol=2e-5, rtol=0)
    torch.testing.assert_close(images.std((1, 2, 3)), torch.tensor(_RECORDED_SPREAD), atol=2e-5, rtol=0)


@pytest.mark.parametrize("truncation", [0.02, 0.4, 0.5, 0.7, 1.0])
def test_images_and_maps_are_those_of_the_package(package: Any, truncation: float) -> None:
    theirs = package.BigGAN(package.BigGANConfig(output_dim=128, channel_width=_WIDTH)).eval()
    theirs.load_state_dict(_state())
    mine = _small(truncation)
    labels = torch.tensor([3, 980])
    latents = torch.from_numpy(_PRIOR.draw(range(2), seed=0))
    architecture = Architecture(mine, latent=128, image_size=(128, 128), layers=("**.conv_?", "**.snconv1x1_*"))
    capture = _capture(mine, architecture)
    kept: dict[str, Tensor] = {}
    for path in (layer.name for layer in capture.units.layers):
        theirs.get_submodule(path).register_forward_hook(lambda _, __, out, path=path: kept.update({path: out}))
    with torch.no_grad():
        images, maps = capture(latents, labels)
        wanted = theirs(latents, F.one_hot(labels, 1000).float(), truncation)
    torch.testing.assert_close(images, wanted, atol=5e-5, rtol=0)
    assert wanted.std() > 0.1
    assert len(maps) == 44
    for path, found in maps.items():
        torch.testing.assert_close(found, kept[path], rtol=1e-4, atol=1e-5 * float(kept[path].abs().max()))


@pytest.mark.parametrize("name", sorted(PLANS))
def test_tensors_are_those_of_the_package(package: Any, name: str) -> None:
    plan = PLANS[name]
    with torch.device("meta"):
        mine = BigGAN(plan)
        theirs = package.BigGAN(package.BigGANConfig(output_dim=plan.size, layers=list(plan.blocks)))
    shapes = [[(key, tensor.shape) for key, tensor in each.state_dict().items()] for each in (mine, theirs)]
    assert shapes[0] == shapes[1]


def test_moments_go_linearly_from_one_truncation_to_the_next() -> None:
    values = {
        truncation: float(_small(truncation).generator.bn.standardise(torch.ones(1, _WIDTH, 1, 1))[0, 0])
        for truncation in (0.13, 0.1399999, 0.14, 0.15, 0.1599999, 0.16, 1.0)
    }
    assert values[0.1399999] == pytest.approx(values[0.14], abs=1e-4)
    assert values[0.1599999] == pytest.approx(values[0.16], abs=1e-4)
    assert len({round(value, 3) for value in values.values()}) == 5
    state = _state()
    mean, variance = (state[f"generator.bn.running_{kind}"][7, 0] for kind in ("means", "vars"))
    assert values[0.14] == pytest.approx(float((1 - mean) / (variance + 1e-4).sqrt()), rel=1e-5)


def test_gradients_reach_the_latents() -> None:
    module = _small().requires_grad_(False)
    latents = torch.from_numpy(_PRIOR.draw(range(2), seed=0)).requires_grad_()
    module(latents, torch.tensor([0, 999])).square().mean().backward()
    assert latents.grad is not None
    assert (latents.grad != 0).float().mean() > 0.9


def test_an_image_depends_on_its_class_and_on_nothing_in_its_batch() -> None:
    module = _small()
    latents = torch.from_numpy(_PRIOR.draw(range(2), seed=0))
    with torch.no_grad():
        both = module(latents, torch.tensor([3, 5]))
        alone = module(latents[1:], torch.tensor([5]))
        other = module(latents[1:], torch.tensor([6]))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=0)
    assert (alone - other).abs().max() > 0.01


def test_an_untrained_generator_follows_its_seed_and_does_not_saturate() -> None:
    def make(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = BigGAN(PLANS["deep-128"], width=_WIDTH).eval()
        with torch.no_grad():
            images: Tensor = module(torch.from_numpy(_PRIOR.draw(range(2), 0)), torch.tensor([0, 1]))
        return images

    assert torch.equal(make(0), make(0))
    assert not torch.equal(make(0), make(1))
    assert 0.001 < make(0).std() < 0.9


def test_weights_of_another_size_are_refused() -> None:
    with torch.device("meta"):
        small, large = BigGAN(PLANS["deep-128"]), BigGAN(PLANS["deep-256"])
    assert first_difference(small.state_dict(), small.state_dict()) is None
    with pytest.raises(UserError, match="do not fit biggan/deep-256: first difference") as caught:
        load_state(large, small.state_dict(), "name", "deep-128.bin", "biggan/deep-256")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("deep_128", False, "biggan has no model 'deep_128'; did you mean 'deep-128'"),
        ("deep-128", True, "biggan-deep-128-pytorch_model.bin"),
    ],
)
def test_what_cannot_be_built(name: str, pretrained: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BigGANDeep().build(name, None, pretrained, Condition())


def test_latents_are_those_of_training_scaled() -> None:
    built = BigGANDeep().build("deep-128", _state(), False, Condition(truncation=0.5))
    assert (built.bound, built.scale, built.classes) == (2.0, 0.5, 1000)
    np.testing.assert_array_equal(
        Prior(8, 2.0, 0.5).draw(range(3), 7), Prior(8, 2.0).draw(range(3), 7) * np.float32(0.5)
    )


@pytest.mark.parametrize("bound", [0.1, 1.0, 2.0, 8.0, 50.0])
def test_truncated_normals_lie_within_the_bound_and_follow_the_law(bound: float) -> None:
    drawn = Prior(50, bound).draw(range(400), 3)
    assert drawn.dtype == np.float32
    assert np.abs(drawn.astype(np.float64)).max() <= bound
    assert np.abs(drawn).max() > 0.9 * min(bound, 3)
    assert kstest(drawn.ravel(), truncnorm(-bound, bound).cdf).pvalue > 0.01


@pytest.mark.parametrize("prior", [Prior(30), Prior(30, 2.0), Prior(30, 1.0, 0.7)])
def test_a_row_depends_on_seed_and_index_alone(prior: Prior) -> None:
    few, many = prior.draw(range(4), 7), prior.draw(range(100), 7)
    assert few.shape == (4, 30)
    np.testing.assert_array_equal(few, many[:4])
    np.testing.assert_array_equal(prior.draw(range(40, 60, 3), 7), many[40:60:3])
    np.testing.assert_array_equal(prior.draw(np.array([99, 0, 99]), 7), many[[99, 0, 99]])
    assert prior.draw(range(0), 7).shape == (0, 30)
    assert len(np.unique(many[:, 0])) == 100
    assert not np.array_equal(few, prior.draw(range(4), 8))
    assert abs(many.mean()) < 0.06


def test_standard_normals_are_those_that_were_drawn_before() -> None:
    row = np.random.default_rng((7, 2)).standard_normal(100, dtype=np.float32)
    np.testing.assert_array_equal(Prior(100).draw(range(3), 7)[2], row)


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Prior(1, 0.0)


def test_classes_are_drawn_alike_and_depend_on_seed_and_index_alone() -> None:
    few, many = draw_classes(range(40), 7, 3), draw_classes(range(4000), 7, 3)
    np.testing.assert_array_equal(few, many[:40])
    np.testing.assert_array_equal(draw_classes(np.array([3999, 7]), 7, 3), many[[3999, 7]])
    counts = np.bincount(many, minlength=7)
    assert len(counts) == 7
    assert chisquare(counts).pvalue > 0.01
    assert not np.array_equal(few, draw_classes(range(40), 7, 4))
