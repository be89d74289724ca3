"""Encoders of sparse autoencoders against the equations of those who publish them, in float64."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import SparseAutoencoder
from rosetta.zoo.features.formats import read_encoder

CHANNELS, FEATURES = 6, 20
Weights = dict[str, Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def saelens(**more: Tensor) -> Weights:
    """The tensors that every export of SAELens has."""
    return {
        "W_enc": drawn(CHANNELS, FEATURES, seed=1),
        "b_enc": drawn(FEATURES, seed=2),
        "W_dec": drawn(FEATURES, CHANNELS, seed=3),
        "b_dec": drawn(CHANNELS, seed=4),
        **more,
    }


def overcomplete() -> nn.Sequential:
    """Its encoder, with a batch norm that has seen something."""
    module = nn.Sequential(nn.Linear(CHANNELS, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
    with torch.no_grad():
        for number, tensor in enumerate([*module.parameters(), *list(module.buffers())[:2]]):
            tensor.copy_(drawn(*tensor.shape, seed=number).abs() + 0.1 if tensor.ndim == 1 else drawn(*tensor.shape))
        module[1].running_mean.neg_()
    return module.eval()


def before(weights: Weights, inputs: Tensor, centred: bool = True) -> Tensor:
    """Pre-activations of SAELens."""
    exact = {name: tensor.double() for name, tensor in weights.items()}
    return (inputs - exact["b_dec"] * centred) @ exact["W_enc"] + exact["b_enc"]


def highest(values: Tensor, k: int) -> Tensor:
    """The k highest at each position that are above 0, by sorting."""
    least = values.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return torch.where(values >= least, values, 0).relu()


def gated(weights: Weights, inputs: Tensor) -> Tensor:
    centred = inputs - weights["b_dec"].double()
    gate = centred @ weights["W_enc"].double() + weights["b_gate"].double()
    magnitude = centred @ (weights["W_enc"] * weights["r_mag"].exp()).double() + weights["b_mag"].double()
    return (gate > 0) * magnitude.relu()


def layer_norm(inputs: Tensor) -> Tensor:
    centred = inputs - inputs.mean(dim=-1, keepdim=True)
    return centred / (centred.std(dim=-1, keepdim=True) + 1e-5)


def rescaled(inputs: Tensor) -> Tensor:
    return inputs * CHANNELS**0.5 / inputs.norm(dim=-1, keepdim=True)


THRESHOLD = drawn(FEATURES, seed=5).abs()
GATES = {"r_mag": drawn(FEATURES, seed=6), "b_mag": drawn(FEATURES, seed=7), "b_gate": drawn(FEATURES, seed=8)}
Case = tuple[Weights, Mapping[str, Any], Callable[[Weights, Tensor], Tensor]]
SAELENS: Mapping[str, Case] = {
    "standard": (saelens(), {"architecture": "standard"}, lambda w, x: before(w, x).relu()),
    "without a centre": (saelens(), {"apply_b_dec_to_input": False}, lambda w, x: before(w, x, False).relu()),
    "top-k": (saelens(), {"architecture": "topk", "k": 3}, lambda w, x: highest(before(w, x), 3)),
    "top-k of older releases": (
        saelens(),
        {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}},
        lambda w, x: highest(before(w, x), 4),
    ),
    "top-k by the decoder": (
        saelens(),
        {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True},
        lambda w, x: highest(before(w, x) * w["W_dec"].double().norm(dim=-1), 3),
    ),
    "JumpReLU": (
        saelens(threshold=THRESHOLD),
        {"architecture": "jumprelu"},
        lambda w, x: before(w, x) * (before(w, x) > w["threshold"].double()),
    ),
    "batch-top-k": (
        saelens(threshold=torch.full((FEATURES,), 0.7)),
        {"architecture": "batchtopk"},
        lambda w, x: before(w, x) * (before(w, x) > 0.7),
    ),
    "gated": (saelens(**GATES), {"architecture": "gated"}, gated),
    "layer norm": (
        saelens(),
        {"normalize_activations": "layer_norm"},
        lambda w, x: before(w, layer_norm(x)).relu(),
    ),
    "constant norm": (
        saelens(),
        {"normalize_activations": "constant_norm_rescale"},
        lambda w, x: before(w, rescaled(x)).relu(),
    ),
}


def features_of(stated: SparseAutoencoder, inputs: Tensor) -> Tensor:
    """(image, y, x, feature) of inputs (image, y, x, channel)."""
    return read_encoder(stated, CHANNELS)(inputs.float().movedim(-1, 1)).movedim(1, -1)


def saved(folder: Path, weights: Weights, config: Mapping[str, Any] | None) -> SparseAutoencoder:
    """A folder as SAELens saves it; one file where there is no configuration."""
    if config is None:
        file = folder / "tensors.safetensors"
    else:
        file = folder / "sae_weights.safetensors"
        (folder / "cfg.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    return SparseAutoencoder(place="blocks.1", weights=str(file if config is None else folder))


@pytest.mark.parametrize("name", SAELENS)
def test_saelens(tmp_path: Path, name: str) -> None:
    weights, config, equation = SAELENS[name]
    inputs = drawn(2, 3, 4, CHANNELS, seed=9).double()
    found = features_of(saved(tmp_path, weights, config), inputs)
    torch.testing.assert_close(found.double(), equation(weights, inputs), atol=1e-5, rtol=1e-5)
    assert (found == 0).any()


@pytest.mark.parametrize("prefix", ["encoder.", "encoder.final_block."])
@pytest.mark.parametrize("kind", ["relu", "topk", "jumprelu", "batch-top-k"])
def test_overcomplete(tmp_path: Path, prefix: str, kind: str) -> None:
    """Its own module in evaluation mode, and what it does with the codes."""
    module = overcomplete()
    inputs = drawn(2, 3, 4, CHANNELS, seed=9)
    codes = module(inputs.flatten(0, 2)).unflatten(0, (2, 3, 4)).detach()
    weights = {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}
    stated: dict[str, Any] = {"activation": "relu"}
    expected = codes
    if kind == "topk":
        stated, expected = {"activation": "topk", "k": 3}, highest(codes, 3)
    elif kind == "jumprelu":
        weights["thresholds"] = THRESHOLD.log()
        stated, expected = {}, torch.where(codes < THRESHOLD, 0, codes)
    elif kind == "batch-top-k":
        stated, expected = {"activation": "jumprelu", "threshold": 0.5}, torch.where(codes < 0.5, 0, codes)
    found = features_of(saved(tmp_path, weights, None).model_copy(update=stated), inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_random_weights_are_the_same_every_time() -> None:
    stated = SparseAutoencoder(place="b", weights="random:3", width=9, activation="topk", k=2)
    inputs = drawn(1, 2, 2, CHANNELS)
    one, other = (features_of(stated, inputs) for _ in range(2))
    assert torch.equal(one, other)
    assert (one != 0).sum(dim=-1).max() <= 2
    another = features_of(stated.model_copy(update={"weights": "random:4"}), inputs)
    assert not torch.equal(one, another)


def test_what_is_no_number_stays_so(tmp_path: Path) -> None:
    """A fault of a model is not hidden by features that would be 0."""
    for name, (weights, config, _) in SAELENS.items():
        folder = tmp_path / name
        folder.mkdir()
        inputs = torch.full((1, 1, 1, CHANNELS), float("nan"))
        assert features_of(saved(folder, weights, config), inputs).isnan().any(), name


BAD: Mapping[str, tuple[Weights, Mapping[str, Any] | None, Mapping[str, Any], str]] = {
    "of another width": (
        {**saelens(), "W_enc": drawn(7, FEATURES), "b_dec": drawn(7)},
        {},
        {},
        "read 7 channels, but 'blocks.1' has 6",
    ),
    "of an architecture that is not known": (
        saelens(),
        {"architecture": "transcoder"},
        {},
        "architecture 'transcoder'",
    ),
    "scaled by a number that is not there": (
        saelens(),
        {"normalize_activations": "expected_average_only_in"},
        {},
        "fold it into the weights",
    ),
    "without k": (saelens(), {"architecture": "topk"}, {}, "k is None, not a whole number from 1 to 20"),
    "with too large a k": (saelens(), {"architecture": "topk", "k": 21}, {}, "k is 21"),
    "a batch's top k without a threshold": (saelens(), {"architecture": "batchtopk"}, {}, "hold no threshold"),
    "an activation that is not stated": (saelens(), None, {}, "state activation"),
    "an activation that is not the file's": (
        saelens(),
        {"architecture": "topk", "k": 3},
        {"activation": "relu"},
        "have the activation 'topk', not 'relu'",
    ),
    "of another number of features": (saelens(), {}, {"width": 21}, "have 20 features, not 21"),
    "without a bias": ({"W_enc": drawn(CHANNELS, FEATURES), "b_dec": drawn(CHANNELS)}, {}, {}, "have no b_enc"),
    "a bias of another length": ({**saelens(), "b_enc": drawn(3)}, {}, {}, "have (3,), not (20,), as b_enc"),
    "other tensors": ({"linear.weight": drawn(3, 3)}, {}, {}, "hold linear.weight, not W_enc"),
    "a deep encoder": (
        {"encoder.mlp_blocks.0.0.weight": drawn(6, 6), "encoder.final_block.0.weight": drawn(20, 6)},
        None,
        {},
        "only linear encoders",
    ),
    "a norm over each layer": (
        {"encoder.0.weight": drawn(20, 6), "encoder.0.bias": drawn(20), "encoder.1.weight": drawn(20)},
        None,
        {},
        "by layer and not by batch",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_are_one_line(tmp_path: Path, name: str) -> None:
    weights, config, stated, problem = BAD[name]
    given = saved(tmp_path, weights, config).model_copy(update=dict(stated))
    with pytest.raises(UserError) as caught:
        read_encoder(given, CHANNELS)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ("nothing/here.safetensors", "no such file"),
        ("nothing.pt", "no .safetensors file"),
        ("pretrained", "give a .safetensors file"),
        ("random:0", "say neither width nor activation"),
        ("{folder}", "hold no sae_weights.safetensors"),
    ],
)
def test_weights_that_are_not_there_are_one_line(tmp_path: Path, weights: str, problem: str) -> None:
    given = SparseAutoencoder(place="blocks.1", weights=weights.format(folder=tmp_path))
    with pytest.raises(UserError) as caught:
        read_encoder(given, CHANNELS)
    assert problem in str(caught.value)


def test_a_configuration_that_is_no_object_is_one_line(tmp_path: Path) -> None:
    given = saved(tmp_path, saelens(), {})
    (tmp_path / "cfg.json").write_text("[1, 2")
    with pytest.raises(UserError, match="no JSON object"):
        read_encoder(given, CHANNELS)
