"""Networks among the records of NVIDIA's pickles: their tensors, and the settings that no tensor tells."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rosetta.zoo.weights.pickle_as_data import ExcessError, Made, Meter, bytes_of
from rosetta.zoo.weights.saved_tensors import PARAMETER, TENSORS, layout

MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
PACKAGES = ("torch.nn.", "torch_utils.", "training.", "pg_modules.", "feature_networks.", "timm.", "torchvision.")
"""Where classes of modules come from, those of StyleGAN-XL's discriminator too, which are pickled without NVIDIA's
persistence."""
_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_FORMATS = {"b1": "?", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "u4": "I", "u8": "Q"}
"""What `struct` calls the types of NumPy's scalars."""
_GREATEST = 1 << 48
_DEEPEST = 64
_DEEPEST_VALUE = 8


@dataclass(frozen=True)
class Opaque:
    """A value that is no plain data."""

    kind: str
    """Name of its class."""

    def __repr__(self) -> str:
        return f"<{self.kind}>"


@dataclass(frozen=True)
class Recorded:
    """What a pickle tells of a module beside its tensors.

    Values are None, booleans, numbers, texts, tuples (lists, too) and dicts of these by text; any other is
    :class:`Opaque`.
    """

    positional: tuple[Any, ...] = ()
    """What its class was called with by place."""
    named: Mapping[str, Any] = field(default_factory=dict)
    """And by name."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What it holds that is plain data, and no dict."""


class NetworkState(dict[str, Tensor]):
    """A state dict, and what a file says of the modules that it is of."""

    def __init__(self, tensors: Mapping[str, Tensor], modules: Mapping[str, Recorded]) -> None:
        super().__init__(tensors)
        self.modules = modules
        """By dotted path; the network is under the empty one."""


def networks_in(value: Any, alone: str, meter: Meter, deeper: int = 1) -> dict[str, Any]:
    """The networks in a file by name; a single one is called `alone`."""
    if _is_network(value, meter):
        return {alone: value}
    if isinstance(value, list | tuple):
        value = dict(zip(("G", "D", "G_ema"), value, strict=True)) if len(value) == 3 else {}
    entries = {name: entry for name, entry in (_mapping(value) or {}).items() if isinstance(name, str)}
    found = {name: entry for name, entry in entries.items() if _is_network(entry, meter)}
    if found or not deeper:
        return found
    inner = [networks for entry in entries.values() if (networks := networks_in(entry, alone, meter, deeper - 1))]
    return inner[0] if len(inner) == 1 else {}


def tensors_of(network: Any, room: Meter, meter: Meter) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a network by dotted name; `room` pays for their bytes."""
    found: dict[str, Tensor] = {}
    for name, value in _named(network, "", _DEEPEST, meter):
        if name in found:
            raise ValueError("two tensors of one name")
        found[name] = _tensor(value, room)
    return found


def modules_of(network: Any, meter: Meter) -> dict[str, Recorded]:
    """What is told of each module of a network by dotted path; empty for a state dict."""
    return dict(_recorded(network, "", _DEEPEST, meter)) if _is_module(network) else {}


# Modules


def _is_network(value: Any, meter: Meter) -> bool:
    """Whether it is a module, or a state dict."""
    if _is_module(value):
        return True
    entries = _mapping(value) or {}
    meter.spend(1 + len(entries))
    return bool(entries) and all(map(_is_tensor, entries.values()))


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and (value.maker == MODULE or value.maker.startswith(PACKAGES))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Made) and value.maker in (PARAMETER, *TENSORS)


def _attributes(module: Made) -> Mapping[Any, Any]:
    """The `__dict__` of a module."""
    if module.maker != MODULE:
        return _mapping(module.state) or {}
    meta = _mapping(module.arguments[0]) or {}
    return _mapping(meta.get("state")) or {}


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    """A dict, or what stands for one of another class."""
    if isinstance(value, Made) and not (_is_module(value) or _is_tensor(value)):
        return value.pairs
    return value if isinstance(value, dict) else None


def _inside(module: Made, prefix: str) -> Iterator[tuple[str, Any]]:
    """The modules that a module holds, with their dotted paths."""
    for name, inner in (_mapping(_attributes(module).get("_modules")) or {}).items():
        if inner is not None:
            if not _is_module(inner):
                raise TypeError(type(inner))
            yield f"{prefix}{_name(name)}", inner


def _named(network: Any, prefix: str, deeper: int, meter: Meter) -> Iterator[tuple[str, Made]]:
    """Each tensor of a module with its dotted name; a module may lie in several others, so each visit is paid for."""
    meter.spend()
    if deeper < 0:
        raise ExcessError
    if not _is_module(network):
        yield from ((_name(name), tensor) for name, tensor in (_mapping(network) or {}).items())
        return
    attributes = _attributes(network)
    transient = _texts(attributes.get("_non_persistent_buffers_set"))
    meter.spend(len(transient))
    for table in ("_parameters", "_buffers"):
        for name, tensor in (_mapping(attributes.get(table)) or {}).items():
            meter.spend(1 + len(prefix) // 16)
            if tensor is not None and not (table == "_buffers" and name in transient):
                yield prefix + _name(name), tensor
    for path, module in _inside(network, prefix):
        yield from _named(module, f"{path}.", deeper - 1, meter)


def _name(name: Any) -> str:
    if not (isinstance(name, str) and name and name.isprintable()):
        raise ValueError("no name")
    return name


def _texts(value: Any) -> set[Any]:
    """A set, or the call by which protocols before 4 make one."""
    if isinstance(value, Made) and value.arguments:
        value = value.arguments[0]
    return {text for text in value if isinstance(text, str)} if isinstance(value, set | list) else set()


# Settings


def _recorded(module: Made, path: str, deeper: int, meter: Meter) -> Iterator[tuple[str, Recorded]]:
    meter.spend(1 + len(path) // 16)
    if deeper < 0:
        raise ExcessError
    held = _attributes(module)
    positional, named = _plain(held.get("_init_args", ()), meter), _plain(held.get("_init_kwargs", {}), meter)
    if not (isinstance(positional, tuple) and isinstance(named, dict)):
        raise TypeError("no arguments")
    own = {name: _plain(value, meter) for name, value in held.items() if isinstance(name, str) and name[:1] != "_"}
    attributes = {name: value for name, value in own.items() if not isinstance(value, Opaque | dict)}
    yield path, Recorded(positional, named, attributes)
    for inner, each in _inside(module, f"{path}." if path else ""):
        yield from _recorded(each, inner, deeper - 1, meter)


def _plain(value: Any, meter: Meter, deeper: int = _DEEPEST_VALUE) -> Any:
    """A value as plain data; values may share parts, so each visit is paid for."""
    meter.spend()
    if value is None or type(value) in (bool, float, str):
        return value
    if type(value) is int:
        return value if abs(value) < _GREATEST else Opaque("a number of over 48 bits")
    if isinstance(value, Made) and value.maker in _SCALARS:
        return _scalar(value)
    entries = _mapping(value)
    if entries is None and isinstance(value, Made) and value.maker.endswith("Dict"):
        entries = {}  # what nothing was put into
    if deeper and isinstance(value, list | tuple):
        return tuple(_plain(item, meter, deeper - 1) for item in value)
    if deeper and entries is not None:
        return {name: _plain(item, meter, deeper - 1) for name, item in entries.items() if isinstance(name, str)}
    return Opaque(value.maker if isinstance(value, Made) else type(value).__name__)


def _scalar(value: Made) -> Any:
    """A number of NumPy's, which is a type and its bytes."""
    kind, content = value.arguments
    content = bytes_of(content)
    if isinstance(kind, Made) and isinstance(kind.state, tuple) and kind.state[1] in ("<", "|"):
        code = _FORMATS.get(kind.arguments[0])
        if code and isinstance(content, bytes | memoryview) and len(content) == struct.calcsize(f"<{code}"):
            return struct.unpack(f"<{code}", content)[0]
    return Opaque("a number of NumPy's")


# Tensors


def _tensor(value: Any, room: Meter) -> Tensor:
    while isinstance(value, Made) and value.maker == PARAMETER:
        value = value.arguments[0]
    if not (isinstance(value, Made) and value.maker in TENSORS):
        raise TypeError(type(value))
    storage, offset, size, stride = layout(value.arguments)
    count, span = 1, 1
    for length, step in zip(size, stride, strict=True):
        count *= length
        span += (length - 1) * step
    if count == 0:
        return torch.empty(size, dtype=storage.dtype)
    numbers = storage.numbers(offset, offset + span)
    room.spend(max(count, span) * storage.dtype.itemsize)
    return numbers.as_strided(size, stride).contiguous()
