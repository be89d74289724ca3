"""From a recipe's entry to a model that runs."""

from pathlib import PurePosixPath

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, Family, FolderFamily
from rosetta.zoo.device import building_for
from rosetta.zoo.features.layers import capture_layers, with_autoencoders
from rosetta.zoo.files import load_file, options_of, prepared, require_fit, say_published, tell, warn_unsure
from rosetta.zoo.latents import Prior
from rosetta.zoo.maps.layout import Layout
from rosetta.zoo.maps.probe import Probe, probe
from rosetta.zoo.model import Model
from rosetta.zoo.registry import find
from rosetta.zoo.weights.fitting import Assignment, Fit
from rosetta.zoo.weights.published_sha256 import PUBLISHED
from rosetta.zoo.weights.source import (
    FromFile,
    FromLibrary,
    FromSeed,
    forked_rng,
    parse_weights,
    quiet_hub,
    sharded,
    tensors_sha256,
)
from rosetta.zoo.weights.statedict import load_state


def load(spec: ModelSpec, device: str | torch.device = "cpu") -> Model:
    """Build a model, read its weights and choose its layers.

    A single dummy image goes through the model to find the channels and grids of its layers. Torch's global
    random state is left as it was.

    Parameters
    ----------
    spec
        Which model, which weights, which layers.
    device
        Where it is to run, `cpu` or `cuda:0` say.

    Raises
    ------
    UserError
        Anything that keeps the model from running.
    """
    place = _device(device)
    with building_for(place):
        architecture, sha256, fit = _build(spec)
    module = _moved(spec, architecture.module, place)
    inputs = _dummy(architecture, place)
    seen = _probe(spec, architecture, module, inputs)
    size = _made_images(spec, architecture, seen)
    globs = spec.layers if spec.layers is not None else architecture.layers
    capture = capture_layers(spec, module, seen, globs, architecture.preferred, place)
    if fit is not None and not fit.whole:
        require_fit(spec, fit, architecture, seen, capture, inputs)
    elif fit is not None:
        tell(spec, fit)
    return Model(
        spec=spec,
        module=module,
        units=capture.units,
        weights_sha256=with_autoencoders(spec, sha256),
        preprocessing=architecture.preprocessing,
        prior=_prior(spec, architecture),
        classes=architecture.classes,
        image_size=size,
        indexed=architecture.indexed,
        device=place,
        capture=capture,
        published=architecture.published,
        assignment=_assignment(spec, architecture, fit),
    )


def places(spec: ModelSpec, device: str | torch.device = "cpu") -> dict[str, Layout | str]:
    """All places inside a model at which a layer could be, as :mod:`rosetta.zoo.maps.places` names them.

    Returns
    -------
    dict
        In the order in which they are reached: how maps are read there, or why there are none.

    Raises
    ------
    UserError
        Anything that keeps the model from running.
    """
    architecture, _, _ = _build(spec)
    target = _device(device)
    module = _moved(spec, architecture.module, target)
    return _probe(spec, architecture, module, _dummy(architecture, target)).places


def weights_sha256(spec: ModelSpec) -> str:
    """What :attr:`Model.weights_sha256` will be.

    A file is read in pieces and no model is built. Only `pretrained` weights need the library, as there is no
    file to name.

    Raises
    ------
    UserError
        The weights cannot be read, or are not those that the recipe states.
    """
    family, name = find(spec.model)
    weights = parse_weights(spec.weights)
    own = _build(spec)[1] if isinstance(weights, FromLibrary) else _sha256(spec, family, name, weights)
    return with_autoencoders(spec, own)


def weights_files(spec: ModelSpec) -> tuple[tuple[str, FromFile], ...]:
    """The files of a model's weights, each with its name in the folder of them all; none where there are no files.

    No more is looked at than whether they are there.

    Raises
    ------
    UserError
        They are not.
    """
    family, name = find(spec.model)
    weights = parse_weights(spec.weights)
    if not isinstance(weights, FromFile):
        return ()
    one = weights if isinstance(family, FolderFamily) else sharded(weights)
    if isinstance(family, FolderFamily):
        files = [(file, weights.folder.file(file)) for file in family.files(name, weights.folder)]
    elif isinstance(one, FromFile):
        files = [(PurePosixPath(one.url.partition("?")[0]).name, one)]
    else:
        files = [(file.url.rpartition("/")[2], file) for file in (one.folder.file(one.index), *one.files())]
    for _, file in files:
        with file.open():
            pass
    return tuple(files)


def is_fetched(spec: ModelSpec) -> bool:
    """Whether a library fetches the weights over the network, so that there is no file to look at before.

    Raises
    ------
    UserError
        The recipe's `weights` cannot be read, or there is no such family.
    """
    return isinstance(parse_weights(spec.weights), FromLibrary) and find(spec.model)[0].fetches


def is_generator(spec: ModelSpec) -> bool:
    """Whether a model makes images; found out without its weights.

    Raises
    ------
    UserError
        No such model.
    """
    family, name = find(spec.model)
    # Names of published weights end in a tag. A family without a list can only be asked, which builds the model.
    if not {name, name.partition(".")[0]} & set(family.names()):
        with forked_rng(None):
            return family.construct(name, None, False, spec.condition, options_of(spec)).latent is not None
    return family.generators and spec.condition.timestep is None


def _build(spec: ModelSpec) -> tuple[Architecture, str, Fit | None]:
    """The module with its weights in, their sha256, and what of a file fitted by name."""
    family, name = find(spec.model)
    _require_taken(spec, family)
    options = options_of(spec)
    weights = parse_weights(spec.weights)
    if isinstance(weights, FromLibrary):
        with forked_rng(None), quiet_hub():
            architecture = family.construct(name, None, True, spec.condition, options)
        sha256 = _verified(spec, tensors_sha256(architecture.module))
        say_published(spec, architecture)
        return prepared(spec, family, architecture), sha256, None
    _require_order(spec, family, weights)
    sha256 = _sha256(spec, family, name, weights)  # before anything in the file is read as more than bytes
    if isinstance(weights, FromSeed):
        with forked_rng(weights.seed):
            architecture = family.construct(name, None, False, spec.condition, options)
            return prepared(spec, family, architecture), sha256, None
    if isinstance(family, FolderFamily):
        with forked_rng(None):
            architecture, state = family.construct_from(name, weights.folder, spec.condition, options)
        load_state(architecture.module, state, "name", spec.weights, spec.model, ordered=False)
        return prepared(spec, family, architecture), sha256, None
    architecture, fit = load_file(spec, family, name, sharded(weights))
    warn_unsure(spec, family, name, architecture)
    return architecture, sha256, fit


def _assignment(spec: ModelSpec, architecture: Architecture, fit: Fit | None) -> Assignment | None:
    if fit is not None:
        return fit.assignment
    from_file = isinstance(parse_weights(spec.weights), FromFile)
    return architecture.assignment or (Assignment.whole(architecture.module) if from_file else None)


def _require_order(spec: ModelSpec, family: Family, weights: FromFile | FromSeed) -> None:
    """
    Raises
    ------
    UserError
        Tensors are to be matched by an order that the weights do not have.
    """
    if spec.match == "name" or isinstance(weights, FromSeed):
        return
    if isinstance(family, FolderFamily):
        raise UserError(f'weights {spec.weights!r}: match = "order" cannot be used with a folder; remove it')
    if not sharded(weights).keeps_order:
        raise UserError(
            f'weights {spec.weights!r}: match = "order" cannot be used, as .safetensors keep no order; '
            "give the file that torch.save wrote"
        )


def _sha256(spec: ModelSpec, family: Family, name: str, weights: FromFile | FromSeed) -> str:
    """The verified digest of weights before they are read."""
    if isinstance(weights, FromFile) and isinstance(family, FolderFamily):
        return _verified(spec, weights.folder.sha256(family.files(name, weights.folder)))
    return _verified(spec, (sharded(weights) if isinstance(weights, FromFile) else weights).sha256())


def _verified(spec: ModelSpec, sha256: str) -> str:
    """The digest of the weights, if it is the one that the recipe, or else their publisher, states."""
    stated = spec.sha256 or PUBLISHED.get(spec.weights)
    if stated not in (None, sha256):
        raise UserError(
            f"weights {spec.weights!r} have the SHA-256 {sha256}, but {stated} is stated; "
            "copy or download the file again, or correct sha256"
        )
    return sha256


def _require_taken(spec: ModelSpec, family: Family) -> None:
    """
    Raises
    ------
    UserError
        The recipe tells the model what its family does not take.
    """
    if spec.options and not family.takes_options:
        raise UserError(
            f"model {spec.name!r}: {spec.model} takes no options; remove options.{next(iter(spec.options))}"
        )
    taken = family.conditions
    for name in spec.condition.given:
        if name not in taken:
            known = f"it takes {', '.join(sorted(taken))}" if taken else "it takes none"
            raise UserError(f"model {spec.name!r}: {spec.model} takes no condition.{name}; remove it ({known})")


def _prior(spec: ModelSpec, architecture: Architecture) -> Prior | None:
    """What the latents come from; the classes that a recipe names must be there."""
    if architecture.latent is None:
        return None
    classes, named = architecture.classes, spec.condition.classes or ()
    if named and classes is None:
        raise UserError(f"model {spec.name!r}: its weights know no classes; remove condition.classes")
    for index in named:
        if classes is not None and index >= classes:
            raise UserError(
                f"model {spec.name!r}: condition.classes has {index}, but its classes are 0 to {classes - 1}"
            )
    return Prior(architecture.latent, spec.condition.bound or architecture.bound, architecture.scale)


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except Exception as error:  # which one depends on how torch was built
        reason = str(error).partition("\n")[0]
        raise UserError(f"device {str(device)!r} cannot be used: {reason}; set compute.device to cpu") from None
    return place


def _moved(spec: ModelSpec, module: nn.Module, device: torch.device) -> nn.Module:
    """A module ready to run on a device.

    Raises
    ------
    UserError
        It cannot go there.
    """
    module = module.eval().requires_grad_(False)
    try:
        module = module.to(device)
        if device.type == "cpu" and find(spec.model)[0].channels_last:
            # Channels last is how convolutions run fastest on a CPU: two to three times, measured on three networks.
            module = module.to(memory_format=torch.channels_last)
    except RuntimeError as error:
        raise UserError(f"model {spec.name!r} cannot go to device {device}: {error}") from None
    return module


def _dummy(architecture: Architecture, device: torch.device) -> tuple[Tensor, ...]:
    """What the module takes: latents for one image, or two images, as with one a table of positions looks like maps."""
    if architecture.latent is not None:
        inputs: tuple[Tensor, ...] = (torch.zeros(1, architecture.latent, device=device),)
        told = architecture.classes is not None
    else:
        assert architecture.preprocessing is not None
        images = torch.full((2, 3, *architecture.preprocessing.size), 0.5, device=device)
        inputs = (architecture.preprocessing(images),)
        told = architecture.indexed
    return (*inputs, torch.zeros(len(inputs[0]), dtype=torch.int64, device=device)) if told else inputs


def _probe(spec: ModelSpec, architecture: Architecture, module: nn.Module, inputs: tuple[Tensor, ...]) -> Probe:
    size = architecture.image_size if architecture.preprocessing is None else architecture.preprocessing.size
    try:
        return probe(module, inputs, architecture.traits, size)
    except Exception as error:  # a module may fail in any way
        what = f"latents of length {architecture.latent}"
        if architecture.preprocessing is not None:
            what = "an image of {} × {}".format(*architecture.preprocessing.size)
        remedy = "; give another size" if spec.size else ""
        raise UserError(
            f"model {spec.name!r} ({spec.model}) fails on {what}: {type(error).__name__}: {error}{remedy}"
        ) from None


def _made_images(spec: ModelSpec, architecture: Architecture, seen: Probe) -> Grid | None:
    if architecture.latent is None:
        return None
    output = seen.output
    if not isinstance(output, Tensor) or output.ndim != 4 or tuple(output.shape[:2]) != (1, 3):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"model {spec.name!r} is a generator but gives {shape}; return images (image, 3, y, x)")
    size = (output.shape[2], output.shape[3])
    if architecture.image_size not in (None, size):
        raise UserError(
            f"model {spec.name!r} makes images of {size}, but its image_size says {architecture.image_size}"
        )
    return size
