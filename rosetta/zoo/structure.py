"""A model's layers without its weights, its memory or its time."""

import torch

from rosetta.recipe import ModelSpec
from rosetta.units import Units
from rosetta.zoo.loading import load

_ANY = "random:0"


def structure(spec: ModelSpec) -> Units:
    """The units that a model will have, whether or not its weights are at hand.

    It is built on torch's device `meta`, where tensors have shapes and no values. What cannot be built there, or only
    from its weights, is loaded.

    Raises
    ------
    UserError
        There is no such model, or no such layers in it.
    """
    try:
        with torch.device("meta"):
            return load(spec.model_copy(update={"weights": _ANY, "sha256": None}), "meta").units
    except Exception:  # whatever is wrong, loading says it well, or there it works
        return load(spec).units
