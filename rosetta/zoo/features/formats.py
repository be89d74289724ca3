"""Encoders of sparse autoencoders as they are published.

*SAELens* and *ViT-Prisma*: a folder with `cfg.json` (`config.json`) and `.safetensors` that hold `W_enc` (channel,
feature), `b_enc`, `W_dec` (feature, channel), `b_dec`, and, by architecture, `threshold`, or `r_mag`, `b_mag` and
`b_gate`. The configuration names the architecture, `k`, and what is done to the input.

*Overcomplete*: the state dict as `.safetensors`, with a linear layer and a norm, `encoder.0.*` and `encoder.1.*` or
`encoder.final_block.0.*` and `.1.*`, and the logarithms of `thresholds` of its JumpReLU. It says neither k nor which
activation there is, so that the recipe has to.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import SparseAutoencoder
from rosetta.zoo.features.encoder import Activation, Encoder, Normalisation, Rule
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.refusals import printable
from rosetta.zoo.weights.source import Folder, FromFile, FromSeed, forked_rng, parse_weights

_CONFIGS = ("cfg.json", "config.json")
_TENSORS = ("sae_weights.safetensors", "weights.safetensors", "model.safetensors")
_ARCHITECTURES: Mapping[str, Activation] = {
    "standard": "relu",
    "vanilla": "relu",
    "gated": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    # Both are exported with the threshold that they learnt in training.
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
}
"""Of SAELens, with the activation that each has when it is used."""
_EPSILON = 1e-5
"""Of torch's norms."""
_BEFORE = "encoder.final_block."
_BLOCKS = ("encoder.mlp_blocks.", "encoder.attention_blocks.", "encoder.resnet_blocks.")
"""Of Overcomplete's deeper encoders, which are not linear."""

Tensors = Mapping[str, Tensor]
Config = Mapping[str, Any]


def files_of(stated: SparseAutoencoder) -> tuple[FromFile, ...]:
    """The files that an encoder is read from, the tensors last; none where it is drawn at random.

    Raises
    ------
    UserError
        The weights are neither a file nor a folder that holds them.
    """
    weights = parse_weights(stated.weights)
    if isinstance(weights, FromSeed):
        return ()
    if not isinstance(weights, FromFile):
        raise UserError(f"sae.weights = {stated.weights!r}: give a .safetensors file, a folder, or random:<seed>")
    if weights.suffix == ".safetensors":
        beside = Folder(*(place.rpartition("/")[0] or "." for place in (weights.text, weights.url)))
        config = _first(beside, _CONFIGS)
        return (*([beside.file(config)] if config else []), weights)
    if weights.suffix:
        raise UserError(
            f"sae.weights = {stated.weights!r} is no .safetensors file; save the state dict with "
            "safetensors.torch.save_file"
        )
    config, tensors = _first(weights.folder, _CONFIGS), _first(weights.folder, _TENSORS)
    if tensors is None:
        raise UserError(f"sae.weights = {stated.weights!r} hold no {_TENSORS[0]}; give the folder that SAELens saved")
    if config is None:
        raise UserError(f"sae.weights = {stated.weights!r} hold no {_CONFIGS[0]}; copy the folder again")
    return weights.folder.file(config), weights.folder.file(tensors)


def read_encoder(stated: SparseAutoencoder, channels: int) -> Encoder:
    """The encoder that a recipe asks for.

    Parameters
    ----------
    channels
        Of the place whose maps it reads.

    Raises
    ------
    UserError
        It cannot be read, it is of another width, or it does not say what its features are.
    """
    files = files_of(stated)
    if not files:
        return _random(stated, channels)
    tensors = read_tensors(files[-1])
    config = _config(files[0]) if len(files) > 1 else None
    if "W_enc" in tensors:
        encoder = _saelens(stated, tensors, config)
    elif any(name.startswith("encoder.") for name in tensors):
        encoder = _overcomplete(stated, tensors)
    else:
        names = ", ".join(printable(name) for name in list(tensors)[:3])
        raise UserError(
            f"{_named(stated)} hold {names}, not W_enc of SAELens or encoder.0.weight of Overcomplete; rename them"
        )
    read = int(encoder.weight.shape[1])
    if read != channels:
        raise UserError(f"{_named(stated)} read {read} channels, but {stated.place!r} has {channels}; name its place")
    if stated.width not in (None, encoder.width):
        raise UserError(f"{_named(stated)} have {encoder.width} features, not {stated.width}; correct width")
    return encoder


def _random(stated: SparseAutoencoder, channels: int) -> Encoder:
    """An untrained encoder, the control of a trained one."""
    seed = parse_weights(stated.weights)
    assert isinstance(seed, FromSeed)
    if stated.width is None or stated.activation is None:
        raise UserError(f"{_named(stated)}: random weights say neither width nor activation; state both")
    with forked_rng(seed.seed):
        weight = torch.randn(stated.width, channels) / channels**0.5
    return _made(stated, weight, torch.zeros(stated.width), stated.activation, None)


def _saelens(stated: SparseAutoencoder, tensors: Tensors, given: Config | None) -> Encoder:
    weight, config = _matrix(stated, tensors, "W_enc").T, given or {}
    features = len(weight)
    # The first releases had one architecture, and no name for it.
    architecture = None if given is None else str(config.get("architecture", "standard")).lower()
    arguments = config.get("activation_fn_kwargs") or {}
    k = config.get("k", arguments.get("k") if isinstance(arguments, dict) else None)
    activation: Activation | None = None
    if architecture is not None:
        if architecture not in _ARCHITECTURES:
            raise UserError(
                f"{_named(stated)} are of the architecture {printable(architecture)!r}; "
                f"known are {', '.join(_ARCHITECTURES)}"
            )
        activation = _ARCHITECTURES[architecture]
        if config.get("activation_fn_str", config.get("activation_fn")) == "topk":  # of older releases
            activation = "topk"
    elif "threshold" in tensors:
        activation = "jumprelu"
    normalisation = str(config.get("normalize_activations") or "none")
    if normalisation not in get_args(Normalisation):
        raise UserError(
            f"{_named(stated)} were trained on inputs scaled by {printable(normalisation)!r}, a number that is not in "
            "the file; fold it into the weights (fold_activation_norm_scaling_factor) and save them again"
        )
    centre = _vector(stated, tensors, "b_dec", weight.shape[1]) if config.get("apply_b_dec_to_input", True) else None
    if architecture == "gated" or "r_mag" in tensors:
        gain = _vector(stated, tensors, "r_mag", features).float().exp()
        magnitude = (gain, _vector(stated, tensors, "b_mag", features))
        gate = _vector(stated, tensors, "b_gate", features)
        rule = Rule("relu", normalisation=_known(normalisation))
        return Encoder(weight, gate, rule, centre=centre, magnitude=magnitude)
    bias = _vector(stated, tensors, "b_enc", features)
    threshold = _vector(stated, tensors, "threshold", features).relu() if "threshold" in tensors else None
    scale = None
    if config.get("rescale_acts_by_decoder_norm") and activation == "topk":
        scale = _matrix(stated, tensors, "W_dec").float().norm(dim=-1)
    return _made(
        stated, weight, bias, activation, threshold, k, centre=centre, scale=scale, normalisation=normalisation
    )


def _overcomplete(stated: SparseAutoencoder, tensors: Tensors) -> Encoder:
    if deeper := next((name for name in tensors if name.startswith(_BLOCKS)), None):
        raise UserError(f"{_named(stated)} hold {deeper!r}: only linear encoders are read; use another autoencoder")
    before = _BEFORE if f"{_BEFORE}0.weight" in tensors else "encoder."
    weight = _matrix(stated, tensors, f"{before}0.weight").float()
    features = len(weight)
    bias = _vector(stated, tensors, f"{before}0.bias", features).float()
    if f"{before}1.weight" in tensors:
        if f"{before}1.running_mean" not in tensors:
            raise UserError(f"{_named(stated)} normalise by layer and not by batch, which is not read; use another")
        gain, offset, mean, variance = (
            _vector(stated, tensors, f"{before}1.{name}", features).float()
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        # In use, a batch norm is a scale and an offset.
        gain = gain / (variance + _EPSILON).sqrt()
        weight, bias = weight * gain[:, None], (bias - mean) * gain + offset
    threshold = None
    if "thresholds" in tensors:
        threshold = _vector(stated, tensors, "thresholds", features).float().exp()
    return _made(stated, weight, bias, "jumprelu" if threshold is not None else None, threshold)


def _made(
    stated: SparseAutoencoder,
    weight: Tensor,
    bias: Tensor,
    activation: Activation | None,
    threshold: Tensor | None,
    k: object = None,
    *,
    centre: Tensor | None = None,
    scale: Tensor | None = None,
    normalisation: str = "none",
) -> Encoder:
    """An encoder, once it is clear what its features are: from the file or, where that is silent, the recipe."""
    if activation is not None and stated.activation not in (None, activation):
        raise UserError(f"{_named(stated)} have the activation {activation!r}, not {stated.activation!r}; remove it")
    chosen = activation or stated.activation
    if chosen is None:
        raise UserError(f"{_named(stated)} do not say which activation they have; state activation, and k of topk")
    features = len(weight)
    if chosen == "jumprelu" and threshold is None:
        if stated.threshold is None:
            # The k highest of a batch: what comes out of an image would depend on those beside it.
            raise UserError(f"{_named(stated)} hold no threshold; state the one that training ended with as threshold")
        threshold = torch.full((features,), stated.threshold)
    if chosen == "topk":
        k = k if k is not None else stated.k
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= features:
            raise UserError(f"{_named(stated)}: k is {k!r}, not a whole number from 1 to {features}; state k")
    rule = Rule(chosen, k if chosen == "topk" and isinstance(k, int) else None, _known(normalisation))
    return Encoder(
        weight, bias, rule, centre=centre, threshold=threshold if chosen == "jumprelu" else None, scale=scale
    )


def _known(normalisation: str) -> Normalisation:
    return next(one for one in get_args(Normalisation) if one == normalisation)


def _matrix(stated: SparseAutoencoder, tensors: Tensors, name: str) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim != 2 or not tensor.is_floating_point():
        raise UserError(f"{_named(stated)} have no matrix {name}; save the whole state dict")
    return tensor


def _vector(stated: SparseAutoencoder, tensors: Tensors, name: str, length: int) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tuple(tensor.shape) != (length,):
        found = "no" if tensor is None else f"{tuple(tensor.shape)}, not ({length},), as"
        raise UserError(f"{_named(stated)} have {found} {name}; save the whole state dict")
    return tensor


def _named(stated: SparseAutoencoder) -> str:
    return f"sae at {stated.place!r}: weights {stated.weights!r}"


def _first(folder: Folder, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if folder.has(name)), None)


def _config(file: FromFile) -> dict[str, Any]:
    with file.open() as stream:
        try:
            found = json.load(stream)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise UserError(f"weights {file.text!r} is no JSON object; copy it again")
    return found
