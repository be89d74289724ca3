"""Layers of a model that are features of autoencoders, beside those that are places."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.features.formats import files_of, read_encoder
from rosetta.zoo.maps.capture import Capture, Features, choose_layers
from rosetta.zoo.maps.probe import Probe


def capture_layers(
    spec: ModelSpec,
    module: nn.Module,
    seen: Probe,
    globs: Sequence[str] | None,
    preferred: Sequence[Sequence[str]],
    device: torch.device,
) -> Capture:
    """What looks at the layers that a recipe asks for, and at features where it names autoencoders.

    Parameters
    ----------
    globs, preferred
        As of :func:`rosetta.zoo.maps.capture.choose_layers`. Where there are features, a model has no default layers.
    device
        Where the encoders run.

    Raises
    ------
    UserError
        There are no such places, or an autoencoder cannot be read or is not of its place.
    """
    if not spec.sae:
        return Capture(module, choose_layers(module, seen, spec.name, globs, preferred))
    layers = () if spec.layers is None else choose_layers(module, seen, spec.name, spec.layers)
    read = choose_layers(module, seen, spec.name, [one.place for one in spec.sae])
    features = []
    for one in spec.sae:
        if one.place not in read:
            raise UserError(f"model {spec.name!r}: sae.place = {one.place!r} is several places; name one")
        with torch.device("cpu"):  # an outline has no values, but a file has, and says its width by them
            encoder = read_encoder(one, read[one.place].channels).eval().requires_grad_(False)
        encoder = encoder.to(device)
        features.append(Features(f"{one.place}@{one.name}", one.place, encoder, encoder.width))
    names = Counter(one.name for one in features)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"model {spec.name!r}: two autoencoders are called {twice[0]!r}; give one of them a name")
    chosen = {**read, **{name: seen.places[name] for name in layers}}
    layouts = {name: layout for name in seen.places if not isinstance(layout := chosen.get(name), str | None)}
    return Capture(module, layouts, features, bare=[name for name in read if name not in layers])


def with_autoencoders(spec: ModelSpec, sha256: str) -> str:
    """The digest of a model's weights and of those of its autoencoders, if it has any.

    Raises
    ------
    UserError
        They cannot be read, or are not those that the recipe states.
    """
    if not spec.sae:
        return sha256
    lines = [f"{sha256}  {spec.model}\n"]
    for one in spec.sae:
        files = files_of(one)
        digests = [file.sha256() for file in files] or [hashlib.sha256(one.weights.encode()).hexdigest()]
        if one.sha256 not in (None, digests[-1]):
            raise UserError(
                f"sae at {one.place!r}: weights {one.weights!r} have the SHA-256 {digests[-1]}, but {one.sha256} is "
                "stated; copy or download the file again, or correct sha256"
            )
        lines += [f"{digest}  {one.place}@{one.name}\n" for digest in digests]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
