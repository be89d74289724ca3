"""A network of a family with the tensors of a checkpoint in it."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.architecture import Architecture, Family
from rosetta.zoo.maps.capture import Capture
from rosetta.zoo.maps.probe import Probe
from rosetta.zoo.notes import say
from rosetta.zoo.options import Options
from rosetta.zoo.weights.checkpoint import parallel_stripped, read_entries
from rosetta.zoo.weights.fitting import Fit, best_fit
from rosetta.zoo.weights.needed import missed, surplus
from rosetta.zoo.weights.refusals import printable
from rosetta.zoo.weights.source import FromFile, Shards, forked_rng
from rosetta.zoo.weights.statedict import MisfitError, load_state, misfit

_MOST_NAMES = 4
_ALL_STATED = 4
"""Fields of the preprocessing that a recipe can state."""


def load_file(
    spec: ModelSpec, family: Family, name: str, weights: FromFile | Shards
) -> tuple[Architecture, Fit | None]:
    """Build the network that a file's tensors fit, and load those that do.

    Parameters
    ----------
    spec
        What the recipe says of the model.
    family, name
        Who builds it, and what it is called there.
    weights
        The file, whose SHA-256 has been compared.

    Returns
    -------
    architecture
        Its tensors are the file's; of those that the file lacks nothing is known.
    fit
        What there is to check once the captured layers are known; None where tensors went by order.

    Raises
    ------
    UserError
        The file cannot be read, or is of another network.
    """
    entries = read_entries(weights, family.state_keys, family.beside)
    first = entries[0].state
    architecture = _built(spec, family, name, first)
    fit = best_fit(architecture.module, entries, family.translate, spec.weights)
    if any(part in fit.given for part in fit.lacking) and fit.given.keys() != first.keys():
        # Other shapes: the network may be built for them, a head for its number of classes say.
        architecture = _built(spec, family, name, fit.given)
        fit = best_fit(architecture.module, entries, family.translate, spec.weights)
    module = architecture.module
    if spec.match == "order" and not fit.whole:
        state = parallel_stripped(entries[0].tensors)
        load_state(module, state, "order", spec.weights, spec.model, ordered=weights.keeps_order)
        return architecture, None
    if not fit.taken:
        difference = misfit(fit.wanted, fit.given, ordered=weights.keeps_order)
        raise UserError(f"weights {spec.weights!r} do not fit {spec.model}: {difference}")
    module.load_state_dict(fit.taken, strict=False)
    return architecture, fit


def require_fit(
    spec: ModelSpec,
    fit: Fit,
    architecture: Architecture,
    seen: Probe,
    capture: Capture,
    inputs: Sequence[Tensor],
) -> None:
    """Refuse a checkpoint that lacks what a captured layer needs, or is of a network with more to it; say what it is.

    Parameters
    ----------
    spec
        What the recipe says of the model.
    fit
        What of the checkpoint was loaded.
    architecture
        Of the module, which is where it will run.
    seen, inputs
        The probe, and what it ran on.
    capture
        The captured layers.

    Raises
    ------
    UserError
        It is not usable; the message names the tensor and the layer.
    """
    layers = capture.paths
    generator = architecture.latent is not None
    paths = {path for path, _ in architecture.module.named_modules()}
    extra = surplus(fit, seen.order, paths, None if generator else layers)
    gap = missed(fit, architecture.module, _looks(capture, inputs, generator)) if extra is None else None
    if extra is None and gap is None:
        tell(spec, fit)
        return
    fitting, total = fit.count
    if 2 * fitting < total:
        why = misfit(fit.wanted, fit.given, ordered=fit.entry.ordered)
    elif extra is not None:
        shape = tuple(fit.given[extra].shape)
        why = f"it has no place for {extra!r} {shape} of the file; is the file of another architecture?"
    else:
        assert gap is not None
        why = (
            f"{gap[0]} needs {fit.lacking[gap[1]]} ({fitting} of {total} tensors fit); give a file that has it, "
            "or name layers that do without"
        )
    raise UserError(f"weights {spec.weights!r} do not fit {spec.model}: {why}")


def options_of(spec: ModelSpec) -> Options:
    """What a recipe asks of a model's constructor."""
    return Options(spec.options or {}, spec.size)


def prepared(spec: ModelSpec, family: Family, architecture: Architecture) -> Architecture:
    """With the preprocessing that the recipe states, where it does.

    Raises
    ------
    UserError
        Its images are not prepared so, or it cannot take that size.
    """
    stated = spec.preprocessing
    if not stated:
        return architecture
    if architecture.preprocessing is None or not family.prepares:
        why = "makes images" if architecture.preprocessing is None else "looks at the pixels as they are"
        raise UserError(f"model {spec.name!r}: {spec.model} {why} and takes no {next(iter(stated))}; remove it")
    try:
        return family.prepare(architecture, stated)
    except UserError as error:
        raise UserError(f"model {spec.name!r} ({spec.model}) {error}") from None


def _built(spec: ModelSpec, family: Family, name: str, state: Mapping[str, Tensor]) -> Architecture:
    try:
        with forked_rng(None):
            return prepared(spec, family, family.construct(name, state, False, spec.condition, options_of(spec)))
    except MisfitError as error:
        raise UserError(f"weights {spec.weights!r} do not fit {spec.model}: {error}") from None


def _looks(capture: Capture, inputs: Sequence[Tensor], generator: bool) -> Callable[[], dict[str, Tensor]]:
    def look() -> dict[str, Tensor]:
        with torch.inference_mode(), forked_rng(0):
            output: Any
            output, maps = capture(inputs[0].clone(), *inputs[1:])
        named = {f"layer {name!r}": values for name, values in maps.items()}
        return {**named, "its image": output} if generator else named

    return look


def tell(spec: ModelSpec, fit: Fit) -> None:
    """What a user cannot see from the recipe: the place, and what is lacking or left over."""
    lacking, left = list(fit.lacking), _grouped([*fit.left, *fit.outside], fit.prefix)
    fitting, total = fit.count
    parts = []
    if fit.prefix.removeprefix("module.") or fit.also:
        parts.append(f"taken from {fit.place}")
    if fit.also:
        parts.append(f"as many tensors fit under {_named(fit.also)}")
    if lacking:
        parts.append(f"{fitting} of {total} tensors are there; no captured layer needs {_named(lacking)}")
    if left:
        parts.append(f"left over: {_named(left)}")
    if parts:
        say(f"{spec.name}: weights {spec.weights!r}: {'; '.join(parts)}")


def warn_unsure(spec: ModelSpec, family: Family, name: str, architecture: Architecture) -> None:
    """Say that a file's tensors do not tell what was done to its images in training, where that matters."""
    differing = family.unsure(name)
    unsure = [field for field in differing if field not in spec.preprocessing]
    if not differing:
        say_published(spec, architecture)
    if architecture.preprocessing is None or not unsure:
        return
    values = architecture.preprocessing.as_dict()
    used = ", ".join(f"{field} = {values[field]}" for field in unsure)
    whose = "here" if architecture.published is None else f"here, as of {architecture.published}"
    say(
        f"{spec.name}: published weights of {spec.model} differ in {_listed(unsure)}, and a file does not tell; used "
        f"{whose}: {used}; if {spec.weights!r} was trained with others, state them beside weights",
        logging.WARNING,
    )


def say_published(spec: ModelSpec, architecture: Architecture) -> None:
    """Say which published weights the preprocessing is of, where the model's name leaves that to the library."""
    published = architecture.published
    if published is None or not published.startswith(f"{spec.model}.") or len(spec.preprocessing) == _ALL_STATED:
        return
    say(f"{spec.name}: size and colours are those of {published}")


def _grouped(names: Sequence[str], prefix: str) -> list[str]:
    """Names by the first words that they do not share with the prefix, and how many there are of each."""
    words = prefix.split(".")[:-1]
    groups: Counter[str] = Counter()
    for name in names:
        split = name.split(".")
        same = next((at for at, word in enumerate(split) if words[at : at + 1] != [word]), len(split) - 1)
        groups[".".join(split[: same + 1])] += 1
    return [printable(f"{group}.* ({count})" if count > 1 else group) for group, count in groups.items()]


def _named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
