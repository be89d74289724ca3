"""A pipeline's folder, as the library's `save_pretrained` writes it and as the hub holds it.

    model_index.json                            which components there are
    scheduler/scheduler_config.json
    unet|transformer|vae/config.json
    unet|transformer|vae/diffusion_pytorch_model.safetensors, or shards and their ….safetensors.index.json
    text_encoder…/config.json, model.safetensors, or shards and their index
    tokenizer…/tokenizer.json, tokenizer_config.json and the like

The first pipelines on the hub have the files of their only network at the top instead. Only these names are ever
opened, whatever stands in the files, and only as JSON or as tensors: nothing in a folder can run.
"""

import json
from typing import Any

from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.families.diffusers.kind import Kind
from rosetta.zoo.families.diffusers.kinds import KINDS
from rosetta.zoo.families.diffusers.pipeline import CLASSES, DENOISERS, modern, why_not
from rosetta.zoo.families.diffusers.published import Config
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.source import INDEX, Folder, Shards

_INDEX = "model_index.json"
_SCHEDULER = "scheduler_config.json"
_CONFIG = "config.json"
_TENSORS = "diffusion_pytorch_model.safetensors"
_OF_ENCODERS = "model.safetensors"
_OF_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "chat_template.jinja",
)
"""Data, all of them; a template of chats runs in a sandbox of its library."""
_MOST_JSON = 1 << 24
"""Bytes; the index of a pipeline with the labels of ImageNet has 36 thousand."""


def kind_of(folder: Folder) -> Kind | None:
    """The kind of a pipeline that makes images of prompts; None of any other.

    Raises
    ------
    UserError
        No pipeline.
    """
    named = read_index(folder).get("_class_name")
    return KINDS.get(named) if isinstance(named, str) else None


def read_index(folder: Folder) -> dict[str, Any]:
    """What a saved pipeline says of itself.

    Raises
    ------
    UserError
        No pipeline.
    """
    if not folder.has(_INDEX):
        raise UserError(
            f"weights {folder.text!r}: there is no {_INDEX} in it; give the folder that save_pretrained of a pipeline "
            "wrote"
        )
    return read_json(folder, _INDEX)


def components(folder: Folder) -> tuple[str, ...]:
    """The networks of a saved pipeline, text encoders aside, and its scheduler; the denoiser first.

    Raises
    ------
    UserError
        No pipeline, or one with other components than are known here.
    """
    kind, named = kind_of(folder), _named(folder)
    classes = CLASSES if kind is None else kind.classes
    known = {part: [["diffusers", name] for name in names] for part, names in classes.items()}
    if kind is not None:
        known |= {part: [["transformers", name]] for part, name in kind.encoders.items()}
        known |= {part: [["transformers", name] for name in sorted(names)] for part, names in kind.tokenizers.items()}
    if kind is None and any(part.startswith("text_encoder") for part in named):
        pipeline = read_index(folder).get("_class_name")
        raise UserError(
            f"weights {folder.text!r}: pipelines of class {pipeline!r} are not known here; those with prompts can be "
            f"{', '.join(KINDS)}"
        )
    for part, value in named.items():
        if value not in known.get(part, ()):
            listed = ", ".join(f"{part} ({' or '.join(way[1] for way in ways)})" for part, ways in known.items())
            raise UserError(
                f"weights {folder.text!r}: {_INDEX} names a component {part!r} of class {value[-1]!r}, which "
                f"{why_not(value[-1])}; a pipeline can have {listed}"
            )
    if kind is not None:
        missing = next((part for part in known if part not in named and part not in kind.optional), None)
        if missing is not None:
            raise UserError(f"weights {folder.text!r}: {_INDEX} names no {missing}; save the whole pipeline")
        return tuple(kind.classes)
    denoisers = [part for part in DENOISERS if part in named]
    if len(denoisers) != 1 or "scheduler" not in named:
        raise UserError(
            f"weights {folder.text!r}: {_INDEX} names {', '.join(named) or 'no component'}, where a scheduler and one "
            f"of {' and '.join(DENOISERS)} must be; save the whole pipeline"
        )
    return (denoisers[0], *(["vae"] if "vae" in named else []), "scheduler")


def text_classes(kind: Kind, folder: Folder) -> dict[str, str]:
    """The classes of a saved pipeline's text encoders and tokenizers in transformers, by component."""
    return {part: value[1] for part, value in _named(folder).items() if part in (*kind.encoders, *kind.tokenizers)}


def text_files(folder: Folder, part: str) -> tuple[str, ...]:
    """The files of a text encoder or a tokenizer that are read, relative to its own folder.

    Raises
    ------
    UserError
        It is not there, has no .safetensors, or comes with code.
    """
    inside = folder.file(part).folder
    if part.startswith("tokenizer"):
        files = tuple(file for file in _OF_TOKENIZERS if inside.has(file))
        if not files:
            raise UserError(f"weights {folder.text!r}: there is no {part}/tokenizer.json; save the whole pipeline")
    else:
        _require_no_pickle(folder, f"{part}/{_OF_ENCODERS}", f"{part}/pytorch_model.bin")
        files = (_CONFIG, *_tensor_files(folder, f"{part}/{_OF_ENCODERS}"))
    for file in (_CONFIG, _OF_TOKENIZERS[1]):
        if file in files and "auto_map" in read_json(folder, f"{part}/{file}"):
            raise UserError(f"weights {folder.text!r}: its {part} comes with code of its own, which is never run")
    return files


def _named(folder: Folder) -> dict[str, list[Any]]:
    """Library and class of each component; what else there is in the index are settings of the pipeline."""
    index = read_index(folder)
    return {part: value for part, value in index.items() if isinstance(value, list) and any(value) and part[0] != "_"}


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
            path = _tensors(folder, part)
            found += [f"{path.rpartition('/')[0]}/{file}".lstrip("/") for file in _tensor_files(folder, path)]
    if (kind := kind_of(folder)) is not None:
        found += [f"{part}/{file}" for part in text_classes(kind, folder) for file in text_files(folder, part)]
    return tuple(found)


def read_configs(folder: Folder) -> dict[str, Config]:
    """The configuration of each component, by its name.

    Raises
    ------
    UserError
        As :func:`components`; or one is missing or not JSON.
    """
    return {part: read_json(folder, _config(folder, part)) for part in components(folder)}


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
            path = _tensors(folder, part)
            for file in _tensor_files(folder, path):
                if not file.endswith(INDEX):
                    held = modern(read_tensors(folder.file(f"{path.rpartition('/')[0]}/{file}".lstrip("/"))))
                    state |= {f"{part}.{name}": tensor for name, tensor in held.items()}
    return state


def _at(folder: Folder, part: str, file: str) -> str:
    """Where a component's file lies."""
    return file if folder.has(file) and not folder.has(f"{part}/{file}") else f"{part}/{file}"


def _config(folder: Folder, part: str) -> str:
    return _at(folder, part, _SCHEDULER if part == "scheduler" else _CONFIG)


def _tensors(folder: Folder, part: str) -> str:
    path = _at(folder, part, _TENSORS)
    _require_no_pickle(folder, path, _at(folder, part, _TENSORS.replace(".safetensors", ".bin")))
    return path


def _require_no_pickle(folder: Folder, path: str, pickled: str) -> None:
    """
    Raises
    ------
    UserError
        There are tensors in a pickle, and in no other file.
    """
    if not folder.has(path) and not folder.has(f"{path}{INDEX}") and folder.has(pickled):
        raise UserError(
            f"weights {folder.text!r}: {pickled} is a pickle, and only .safetensors are read; load the pipeline once "
            "and save it again with save_pretrained"
        )


def _tensor_files(folder: Folder, path: str) -> tuple[str, ...]:
    """Names of the files, beside each other, that a network's tensors are in: one, or shards and their index."""
    inside, _, name = path.rpartition("/")
    index = f"{name}{INDEX}"
    if folder.has(path) or not folder.has(f"{path}{INDEX}"):
        return (name,)
    shards = Shards(folder.text, folder.file(inside).folder if inside else folder, index).files()
    return (index, *(shard.url.rpartition("/")[2] for shard in shards))


def read_json(folder: Folder, name: str) -> dict[str, Any]:
    """An object of a JSON file.

    Raises
    ------
    UserError
        It is not there, or something else.
    """
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
