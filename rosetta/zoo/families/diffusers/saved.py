"""A pipeline's folder, as the library's `save_pretrained` writes it and as the hub holds it.

    model_index.json                            which components there are
    scheduler/scheduler_config.json
    unet|transformer|vae/config.json
    unet|transformer|vae/diffusion_pytorch_model.safetensors

The first pipelines on the hub have the files of their only network at the top instead. Only these names are ever
opened, whatever stands in the files, and only as JSON or as tensors: nothing in a folder can run.
"""

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.families.diffusers.pipeline import CLASSES, DENOISERS, modern
from rosetta.zoo.families.diffusers.published import Config
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.source import Folder

_INDEX = "model_index.json"
_SCHEDULER = "scheduler_config.json"
_CONFIG = "config.json"
_TENSORS = "diffusion_pytorch_model.safetensors"
_MOST_JSON = 1 << 24
"""Bytes; the index of a pipeline with the labels of ImageNet has 36 thousand."""


def components(folder: Folder) -> tuple[str, ...]:
    """What a saved pipeline consists of, the denoiser first.

    Raises
    ------
    UserError
        No pipeline, or one with other components than are known here.
    """
    if not folder.has(_INDEX):
        raise UserError(
            f"weights {folder.text!r}: there is no {_INDEX} in it; give the folder that save_pretrained of a pipeline "
            "wrote"
        )
    index = _json(folder, _INDEX)
    # Lists name a library and a class; what else there is are settings of the pipeline.
    named = {part: value for part, value in index.items() if isinstance(value, list) and any(value)}
    for part, value in named.items():
        if value not in [["diffusers", name] for name in CLASSES.get(part, ())]:
            known = ", ".join(f"{name} ({' or '.join(classes)})" for name, classes in CLASSES.items())
            raise UserError(
                f"weights {folder.text!r}: {_INDEX} names a component {part!r} of class {value[-1]!r}, which is not "
                f"known here; a pipeline can have {known}"
            )
    denoisers = [part for part in DENOISERS if part in named]
    if len(denoisers) != 1 or "scheduler" not in named:
        raise UserError(
            f"weights {folder.text!r}: {_INDEX} names {', '.join(named) or 'no component'}, where a scheduler and one "
            f"of {' and '.join(DENOISERS)} must be; save the whole pipeline"
        )
    return (denoisers[0], *(["vae"] if "vae" in named else []), "scheduler")


def files(folder: Folder) -> tuple[str, ...]:
    """Every file that is read, relative to the folder.

    Raises
    ------
    UserError
        As :func:`components`; or a network has no .safetensors.
    """
    found = [_INDEX]
    for part in components(folder):
        found.append(_config(folder, part))
        if part != "scheduler":
            found.append(_tensors(folder, part))
    return tuple(found)


def read_configs(folder: Folder) -> dict[str, Config]:
    """The configuration of each component, by its name.

    Raises
    ------
    UserError
        As :func:`components`; or one is missing or not JSON.
    """
    return {part: _json(folder, _config(folder, part)) for part in components(folder)}


def read_state(folder: Folder) -> dict[str, Tensor]:
    """The tensors of all networks, under the component's name and a dot.

    Raises
    ------
    UserError
        As :func:`files`; or one is damaged.
    """
    state: dict[str, Tensor] = {}
    for part in components(folder):
        if part != "scheduler":
            held: Mapping[str, Tensor] = modern(read_tensors(folder.file(_tensors(folder, part))))
            state |= {f"{part}.{name}": tensor for name, tensor in held.items()}
    return state


def _at(folder: Folder, part: str, file: str) -> str:
    """Where a component's file lies."""
    return file if folder.has(file) and not folder.has(f"{part}/{file}") else f"{part}/{file}"


def _config(folder: Folder, part: str) -> str:
    return _at(folder, part, _SCHEDULER if part == "scheduler" else _CONFIG)


def _tensors(folder: Folder, part: str) -> str:
    path = _at(folder, part, _TENSORS)
    pickled = _at(folder, part, _TENSORS.replace(".safetensors", ".bin"))
    if not folder.has(path) and folder.has(pickled):
        raise UserError(
            f"weights {folder.text!r}: {pickled} is a pickle, and only .safetensors are read; load the pipeline once "
            "and save it again with save_pretrained"
        )
    return path


def _json(folder: Folder, name: str) -> dict[str, Any]:
    file = folder.file(name)
    with file.open() as stream:
        content = stream.read(_MOST_JSON + 1)
    try:
        data = json.loads(content) if len(content) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UserError(f"weights {file.text!r} is no JSON object; copy, download or save the pipeline again")
    return data
