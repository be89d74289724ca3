"""Tensors out of a checkpoint, and nothing but tensors."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.weights.nvidia_modules import NetworkState, Recorded
from rosetta.zoo.weights.nvidia_pickle import is_nvidia, parse_nvidia
from rosetta.zoo.weights.pickle_as_data import Made
from rosetta.zoo.weights.refusals import printable, read_or_refused
from rosetta.zoo.weights.source import FromFile, Shards
from rosetta.zoo.weights.torch_save import class_of, is_torchscript, read_saved

PREFERRED = (
    "g_ema",
    "netG_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "ema",
    "params_ema",
    "teacher",
    "state_dict",
    "model_state_dict",
    "generator",
    "netG",
    "model",
    "params",
    "net",
    "module",
    "weights",
    "_orig_mod",
    "encoder_q",
    "online_encoder",
    "base_encoder",
    "target_encoder",
    "encoder",
    "backbone",
    "student",
    "momentum_encoder",
    "encoder_k",
)
"""Words by which trainers name a network, in entries and prefixes. Where several fit equally well the first goes first:
moving averages and teachers, as they are the better weights; of contrastive pairs the encoder that was trained."""
_DEEPEST = 4
_DATA_PARALLEL = "module."


@dataclass(frozen=True)
class Entry:
    """Tensors that lie together in a checkpoint."""

    path: tuple[str, ...]
    """Keys that lead to them from the top."""
    tensors: Mapping[str, Tensor]
    """By name, in the file's order, or sorted by name where the format keeps none."""
    objects: Mapping[str, str] = field(default_factory=dict)
    """Names there whose value is an object of a class that is not read, and the class."""
    modules: Mapping[str, Recorded] = field(default_factory=dict)
    """What a file of NVIDIA's says of the modules."""
    beside: Mapping[str, Tensor] = field(default_factory=dict)
    """Single tensors that lie beside the network's own."""
    ordered: bool = True
    """Whether the order means anything."""

    @property
    def state(self) -> NetworkState:
        """All that may tell which network it is, without the `module.` of data parallel training."""
        return NetworkState({**parallel_stripped(self.tensors), **self.beside}, self.modules)


def preference(words: Sequence[str]) -> tuple[int, ...]:
    """A sort key of the words that lead to a network: how early :data:`PREFERRED` has them."""
    return tuple(sorted(PREFERRED.index(word) if word in PREFERRED else len(PREFERRED) for word in words))


def read_entries(file: FromFile | Shards, keys: Sequence[str] = (), beside: Sequence[str] = ()) -> list[Entry]:
    """Everything in a checkpoint that may be a state dict, on the CPU.

    Parameters
    ----------
    file
        `.safetensors`, a `.pkl` of NVIDIA's, or what `torch.save` wrote; pickles are read without ever running code,
        and of what they hold beside tensors only what `beside` names is kept, and what NVIDIA's say of modules.
    keys
        Entries that go first, in turn; before the usual ones, which in NVIDIA's files is `G_ema`.
    beside
        Names of single tensors that may lie beside the state dict in what `torch.save` wrote.

    Returns
    -------
    list
        At least one, by preference: the given keys, :data:`PREFERRED`, then the file's order.

    Raises
    ------
    UserError
        Missing, damaged, carrying code, or no tensors inside.
    """
    data = _merged(file, keys)
    entries = list(_entries(data, ()))
    if not entries:
        raise UserError(f"weights {file.text!r} hold no state dict ({_summary(data)}); save model.state_dict() alone")

    def order(entry: Entry) -> tuple[Any, ...]:
        given = min((keys.index(word) for word in entry.path if word in keys), default=len(keys))
        # Tensors that lie at the top among other things are rarely the network.
        loose = not entry.path and len(entry.tensors) < len(data)
        return given, loose, preference(entry.path)

    return [_apart(entry, data, beside, file.keeps_order) for entry in sorted(entries, key=order)]


def read_tensors(file: FromFile, keys: Sequence[str] = ()) -> dict[str, Tensor]:
    """The one state dict that a checkpoint holds, for whom no network says which it is; see :func:`read_entries`.

    Returns
    -------
    dict
        Tensors by name, without the `module.` that data parallel training puts before every name.

    Raises
    ------
    UserError
        As there, or several state dicts of which none is at a usual place.
    """
    first, *others = entries = read_entries(file, keys)
    if not {*keys, *PREFERRED} & {*first.path} and any(len(other.path) == len(first.path) for other in others):
        found = ", ".join(".".join(entry.path) for entry in entries[:5])
        raise UserError(f"weights {file.text!r} hold no state dict (keys {found}); save model.state_dict() alone")
    return parallel_stripped(first.tensors)


def parallel_stripped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the `module.` that data parallel training puts before every name."""
    if all(name.startswith(_DATA_PARALLEL) for name in tensors):
        return {name.removeprefix(_DATA_PARALLEL): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _merged(file: FromFile | Shards, keys: Sequence[str]) -> Any:
    """What the file holds, or all shards together."""
    if isinstance(file, FromFile):
        return _content(file, keys)
    whole: dict[str, Any] = {}
    for part in file.files():
        data = _content(part, keys)
        if not isinstance(data, Mapping):
            raise UserError(f"weights {part.text!r} hold no state dict ({_summary(data)}); give whole shards")
        whole |= data
    return dict(sorted(whole.items()))


def _content(file: FromFile, keys: Sequence[str]) -> Any:
    with file.open() as stream:
        try:
            content = stream.read()  # readers seek back and forth, which is slow on a remote file
        except OSError as error:
            raise UserError(f"weights {file.text!r} cannot be read: {error}") from None
    if file.suffix == ".pkl" and is_nvidia(content):
        return parse_nvidia(content, file.text, (*keys, "G_ema"))
    return _safetensors(content, file.text) if not file.keeps_order else _torch(content, file.text)


def _safetensors(content: bytes, text: str) -> dict[str, Tensor]:
    try:
        return dict(sorted(load_safetensors(content).items()))  # the reader's order is not fixed
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"weights {text!r} are damaged ({error}); copy or download the file again") from None


def _torch(content: bytes, text: str) -> Any:
    if is_torchscript(content):
        raise UserError(
            f"weights {text!r} are a TorchScript program, and weights are read as tensors only; where you trust it, "
            'convert it once: torch.save(torch.jit.load("model.pt").state_dict(), "model.pth")'
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, of files that are refused right after
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # pickle, zip and tar readers each raise their own
        pass
    remedy = "save model.state_dict() alone, or as .safetensors"
    with read_or_refused(text, len(content), "not what torch.save writes by default", remedy):
        return _plain(read_saved(content))


def _plain(value: Any, deeper: int = _DEEPEST) -> Any:
    """Records that stand for dicts of another class, as dicts."""
    if isinstance(value, Made) and (value.pairs is not None or value.maker == "collections.OrderedDict"):
        value = value.pairs or {}
    if isinstance(value, dict) and deeper:
        return {key: _plain(each, deeper - 1) for key, each in value.items()}
    return value


def _entries(data: Any, path: tuple[str, ...]) -> Iterator[Entry]:
    if not isinstance(data, Mapping):
        return
    named = {key: value for key, value in data.items() if isinstance(key, str)}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        objects = {name: class_of(value) for name, value in named.items() if isinstance(value, Made)}
        yield Entry(path, tensors, objects, data.modules if isinstance(data, NetworkState) else {})
    for name, value in named.items():
        # What an optimiser keeps of a parameter has the parameter's shape, and may have its name.
        if len(path) < _DEEPEST and not name.startswith("optim"):
            yield from _entries(value, (*path, name))


def _apart(entry: Entry, data: Mapping[str, Any], beside: Sequence[str], ordered: bool) -> Entry:
    """With what lies beside the network's tensors, or among them, in a place of its own."""
    single = {name: entry.tensors.get(name, data.get(name)) for name in beside}
    tensors = {name: tensor for name, tensor in entry.tensors.items() if name not in beside}
    apart = {name: value for name, value in single.items() if isinstance(value, Tensor)}
    return replace(entry, tensors=tensors, beside=apart, ordered=ordered)


def _summary(data: Any) -> str:
    """What a file holds instead."""
    if isinstance(data, Made):
        return f"an object of the class {class_of(data)}"
    if not isinstance(data, Mapping):
        return type(data).__name__
    for key, value in data.items():
        if isinstance(value, Made):
            return f"{printable(str(key))}, an object of the class {class_of(value)}"
    return f"keys {', '.join(printable(str(key)) for key in list(data)[:5])}"
