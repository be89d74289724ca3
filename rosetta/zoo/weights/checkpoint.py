"""Tensors out of a checkpoint, and nothing but tensors."""

import io
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.weights.nvidia_pickle import is_nvidia, parse_nvidia
from rosetta.zoo.weights.source import FromFile

_WRAPPERS = (
    "g_ema",
    "netG_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "generator",
    "netG",
    "model",
    "teacher",
    "params_ema",
    "params",
    "net",
    "module",
    "weights",
)
"""Keys under which trainers keep the state dict, moving averages first as they are the better weights."""
_REFUSED = re.compile(r"(?:GLOBAL|Unsupported class|function|instantiate) ([\w.]*\w)")
"""Where torch's unpickler names what it would not run."""


def read_tensors(
    file: FromFile, key: str | Sequence[str] | None = None, beside: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The state dict that a checkpoint holds, on the CPU.

    Parameters
    ----------
    file
        `.safetensors`, a `.pkl` of NVIDIA's, or what `torch.save` wrote; pickles are read without ever running code.
    key
        The entry that holds the state dict, or several to try in turn; tried before the usual ones, which in NVIDIA's
        files is `G_ema`.

    beside
        Names of single tensors that may lie beside the state dict in what `torch.save` wrote, and of numbers that are
        settings of the modules in NVIDIA's files.

    Returns
    -------
    dict
        Tensors by name, without the `module.` that data parallel training puts before every name; in the file's
        order, or sorted by name where the format keeps none. Those from beside come last.

    Raises
    ------
    UserError
        Missing, damaged, carrying code, or no state dict inside.
    """
    with file.open() as stream:
        try:
            content = io.BytesIO(stream.read())  # readers seek back and forth, which is slow on a remote file
        except OSError as error:
            raise UserError(f"weights {file.text!r} cannot be read: {error}") from None
    keys = (key,) if isinstance(key, str) else tuple(key or ())
    data: Any
    if file.suffix == ".pkl" and is_nvidia(content.getvalue()):
        data = parse_nvidia(content.getvalue(), file.text, (*keys, "G_ema"), beside)
    else:
        data = _safetensors(content, file.text) if not file.keeps_order else _torch(content, file.text)
    state = _unwrap(data, keys)
    if state is None:
        held = f"keys {', '.join(map(str, list(data)[:5]))}" if isinstance(data, Mapping) else type(data).__name__
        raise UserError(f"weights {file.text!r} hold no state dict ({held}); save model.state_dict() alone")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state | {name: data[name] for name in beside if name not in state and isinstance(data.get(name), Tensor)}


def _safetensors(content: io.BytesIO, text: str) -> dict[str, Tensor]:
    try:
        return dict(sorted(load_safetensors(content.getvalue()).items()))  # the reader's order is not fixed
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"weights {text!r} are damaged ({error}); copy or download the file again") from None


def _torch(content: io.BytesIO, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, of files that are refused right after
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and tar readers each raise their own
        what = _code(content.getvalue(), error)
        if what:
            raise UserError(
                f"weights {text!r} are refused: the file carries code ({what}), and weights are read as "
                "tensors only; save model.state_dict() alone, or as .safetensors"
            ) from None
        raise UserError(
            f"weights {text!r} are damaged, truncated or not what torch.save writes by default; "
            "copy, download or save the file again"
        ) from None


def _code(content: bytes, error: Exception) -> str | None:
    """What code a refused file would have run, if it was refused for that."""
    if "TorchScript" in str(error):
        return "a TorchScript program"
    if isinstance(error, pickle.UnpicklingError) and (found := _REFUSED.search(str(error))):
        return found[1]
    return _called(content)


def _called(content: bytes) -> str | None:
    """The first thing that a plain pickle, of a protocol that torch does not know, would import."""
    words: list[str] = []
    found = None
    try:
        for operation, argument, _ in pickletools.genops(content):
            if isinstance(argument, str):
                words.append(argument)
            if operation.name in ("GLOBAL", "INST"):
                found = found or words[-1].replace(" ", ".")
            elif operation.name == "STACK_GLOBAL":
                found = found or ".".join(words[-2:])
    except Exception:  # no pickle, or only the beginning of one
        return None
    return found


def _unwrap(data: Any, keys: Sequence[str]) -> dict[str, Tensor] | None:
    if not isinstance(data, Mapping) or not data:
        return None
    if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in data.items()):
        return dict(data)
    for wrapper in (*keys, *_WRAPPERS):
        if wrapper in data and (state := _unwrap(data[wrapper], keys)):
            return state
    inner = [state for value in data.values() if (state := _unwrap(value, keys))]
    return inner[0] if len(inner) == 1 else None
