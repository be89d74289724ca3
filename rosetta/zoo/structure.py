"""A model's layers without its weights, its memory or its time."""

from dataclasses import dataclass

import torch

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.units import Grid, Units
from rosetta.zoo import loading
from rosetta.zoo.families.diffusers.sampling import Generator
from rosetta.zoo.listed import kept_of_listed
from rosetta.zoo.loading import load
from rosetta.zoo.maps.layout import Layout
from rosetta.zoo.model import Model

_ANY = "random:0"


@dataclass(frozen=True)
class Outlined:
    """What an outline tells of a model."""

    units: Units
    parameters: int
    takes: Grid | None
    """Height and width of the images that it takes; None for a generator."""


def outline(spec: ModelSpec) -> Model | None:
    """A model on torch's device `meta`, where tensors have shapes and no values: all of it but what it computes.

    It takes no weights, no memory and next to no time.

    Returns
    -------
    Model or None
        None where it cannot be built there: its code asks for values, or something is wrong with what was asked.

    Raises
    ------
    UserError
        There are no such layers in it, or no such classes.
    """
    try:
        with torch.device("meta"):
            return load(without_weights(spec), "meta")
    except Exception as problem:
        # Layers and classes are chosen from what is there: what can be built without that choice is right but for it.
        bare = {"layers": None, "condition": spec.condition.model_copy(update={"classes": None})}
        free = spec.model_copy(update=bare)
        if free == spec or not isinstance(problem, UserError) or outline(free) is None:
            return None
        raise


def outlined(spec: ModelSpec) -> Outlined | None:
    """What the outline of a model tells, without the outline itself; None where it has none.

    Raises
    ------
    UserError
        There are no such layers in it, or no such classes.
    """
    return _outlined(without_weights(spec))


@kept_of_listed
def _outlined(spec: ModelSpec) -> Outlined | None:
    model = outline(spec)
    return None if model is None else _told_by(model)


def _told_by(model: Model) -> Outlined:
    parameters = sum(part.numel() for part in model.module.parameters())
    return Outlined(model.units, parameters, model.preprocessing.size if model.preprocessing else None)


def without_weights(spec: ModelSpec) -> ModelSpec:
    """The same model without a file to read, but for autoencoders that do not say how many features they have."""
    bare = {"weights": _ANY, "sha256": None, "activation": "relu"}
    sae = tuple(one if one.width is None else one.model_copy(update=bare) for one in spec.sae)
    return spec.model_copy(update={"weights": _ANY, "sha256": None, "sae": sae})


def run_outline(model: Model, images: int, last_steps: int | None = None) -> None:
    """A forward pass of an outline over so many images, with each layer's maps given away as a dump takes them.

    Parameters
    ----------
    last_steps
        Of a diffusion model that makes images, only the last so many steps; default: all.

    Raises
    ------
    RuntimeError, NotImplementedError
        The model asks for values on its way.
    """
    module = model.module
    steps = module.timesteps if isinstance(module, Generator) else ()
    try:
        if isinstance(module, Generator) and last_steps is not None:
            module.timesteps = steps[-last_steps:]
        with torch.device("meta"):
            if model.preprocessing is not None:
                model.observe(torch.zeros(images, 3, *model.preprocessing.size), range(images), take=lambda *_: None)
            else:
                latents = torch.zeros(images, model.latent or 1)
                classes = None if model.classes is None else torch.zeros(images, dtype=torch.int64)
                model.generate(latents, classes, take=lambda *_: None)
    finally:
        if isinstance(module, Generator):
            module.timesteps = steps


def places(spec: ModelSpec) -> dict[str, Layout | str]:
    """As :func:`rosetta.zoo.loading.places`, without weights where the model's code allows it."""
    try:
        with torch.device("meta"):
            return loading.places(without_weights(spec), "meta")
    except Exception:  # which one depends on what the model's code asks for
        return loading.places(spec)


def structure(spec: ModelSpec) -> Units:
    """The units that a model will have, whether or not its weights are at hand.

    What has no outline, or only with its weights, is loaded: that says well what is wrong, or there it works.

    Raises
    ------
    UserError
        There is no such model, or no such layers in it.
    """
    return (outlined(spec) or _told_by(load(spec))).units


def parameters(spec: ModelSpec) -> int:
    """How many parameters a model has, its head included; weights are loaded only where there is no outline.

    Raises
    ------
    UserError
        There is no such model.
    """
    return (outlined(spec) or _told_by(load(spec))).parameters
