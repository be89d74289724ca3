"""The networks in the pickles of StyleGAN2-ADA, StyleGAN3 and StyleGAN-XL, without the code in them.

Such a `.pkl` is a pickle of a dict with the entries `G`, `D` and `G_ema`. Each is a module that NVIDIA's
`torch_utils.persistence` wrote as a call of `_reconstruct_persistent_obj` with the source of the module's class and the
module's `__dict__`; to load one as it was meant is to execute that source. All that is wanted here lies in the
`__dict__`: `_parameters`, `_buffers` and `_modules`. So the file is read as data (:mod:`rosetta.zoo.weights.inert`),
and the state dict is put together from what the calls would have been called with.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.weights.inert import ExcessError, Global, Made, Meter, RefusedError, Rules, read

_MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
_PACKAGES = ("torch.nn.", "torch_utils.", "training.", "pg_modules.", "feature_networks.", "timm.", "torchvision.")
"""Where classes of modules come from, those of StyleGAN-XL's discriminator too, which are pickled without NVIDIA's
persistence."""
_IN_BAND = "torch.storage._load_from_bytes"
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
_DTYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_STORAGE = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(_DTYPES)})Storage")
_INERT = re.compile(
    r"collections\.OrderedDict|dnnlib(\.util)?\.EasyDict|(builtins|__builtin__)\.(set|frozenset|slice|complex|bytearray)"
    r"|numpy\.(dtype|ndarray|_?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer))"
    r"|_codecs\.encode|functools\.partial"
    r"|torch\.(Size|device|bool|complex\d+|b?float\d+|u?int\d+)"
)
"""What occurs among the attributes of modules and in the options of a training. None of it is ever called."""
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first two pickles of what `torch.save` wrote before PyTorch 1.6, and of what it still makes of a lone storage."""
_MOST_INSTRUCTIONS = 1 << 21
"""A few seconds of work, and over twenty times what three networks of StyleGAN3 at 1024 px take, bytes included."""
_MOST_INFLATION = 4
"""Bytes of tensors for each byte of the file. Tied weights are stored once and given twice."""
_GREATEST = 1 << 48
_DEEPEST = 64
_BLOCK = 4096


@dataclass(slots=True, eq=False)
class _Storage:
    """Numbers of one type, one after the other."""

    dtype: torch.dtype
    count: int
    content: memoryview | None = None
    """Their bytes, little-endian; None until the file's end has been read."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * self.dtype.itemsize


def parse_nvidia(
    content: bytes, text: str, which: str | Sequence[str] = "G_ema", settings: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The state dict of one network in a pickle of NVIDIA's; nothing in the file runs.

    Parameters
    ----------
    content
        Of a file: a pickle as their training scripts write it, or the same handed to `torch.save`. The networks may be
        the entries of a dict, at the top or one below, the three of a tuple (G, D, G_ema), or a single one.
    text
        What errors call the file.
    which
        The network's name there; the first that is there, where several are given.
    settings
        Attributes of modules to look for: of each the first that is a number.

    Returns
    -------
    dict
        Parameters and persistent buffers by dotted name, in the order of `Module.state_dict()`, on the CPU, contiguous
        and sharing no memory; before them the settings that were found, by their plain name, ().

    Raises
    ------
    UserError
        It is damaged, names code, asks for too much, or holds no such network.
    """
    wanted = (which,) if isinstance(which, str) else tuple(which)
    meter = Meter(_MOST_INSTRUCTIONS)
    try:
        value = _unpickled(content, meter)
        networks = _networks(value, wanted[0], meter)
        name = next((name for name in wanted if name in networks), None)
        if name is not None and (tensors := _tensors(networks[name], Meter(_MOST_INFLATION * len(content)), meter)):
            for setting in settings:
                if (
                    setting not in tensors
                    and (number := _setting(networks[name], setting, _DEEPEST, meter)) is not None
                ):
                    tensors[setting] = torch.tensor(number)
            return tensors
    except RefusedError as refused:
        raise UserError(f"weights {text!r} are refused: {_why(str(refused))}") from None
    except ExcessError:
        raise UserError(
            f"weights {text!r} are refused: they would take far more memory or work than a file of {len(content)} "
            "bytes is worth; download the file again from where it was published"
        ) from None
    except Exception:  # a damaged file can be wrong in any way
        raise UserError(
            f"weights {text!r} are damaged, truncated or no pickle of networks; copy or download the file again"
        ) from None
    if name is not None:
        raise UserError(f"weights {text!r} have no tensors in {_shown(name)}; give the file of a trained network")
    held = ", ".join(_shown(name) for name in list(networks)[:8])
    there = f"the networks there are {held}" if held else "it holds no network at all"
    raise UserError(f"weights {text!r} have no {' or '.join(map(_shown, wanted))} ({there}); give a file that has it")


def is_nvidia(content: bytes) -> bool:
    """Whether a `.pkl` is one for :func:`parse_nvidia`, and not just a state dict that `torch.save` wrote."""
    return b"_reconstruct_persistent_obj" in content or not (
        content.startswith(b"PK\x03\x04") or _MAGIC.to_bytes(10, "little") in content[:16]
    )


def _why(name: str) -> str:
    if name.startswith("dnnlib.tflib."):
        return "they are a TensorFlow network; convert them with legacy.py of NVIDIA's stylegan2-ada-pytorch"
    what = f"asks for {_shown(name)}" if " " in name else f"carries code ({_shown(name)})"
    return (
        f"the file {what}, and weights are read as tensors only; "
        "convert the network to .safetensors where you trust the file"
    )


def _shown(name: str) -> str:
    """A name out of a file, fit for a terminal."""
    return name if re.fullmatch(r"[\w. -]{1,100}", name) else ascii(name[:100])


# From bytes to records


def _unpickled(content: bytes, meter: Meter) -> Any:
    """What the file holds, every storage with its bytes."""
    rules = Rules(_known, partial(_called, meter=meter))
    if content.startswith(b"PK\x03\x04"):
        return _zipped(content, rules, meter)
    first, _ = read(content, 0, rules, meter)
    return _legacy(content, rules, meter) if first == _MAGIC else first


def _known(name: str) -> bool:
    return bool(
        name in (_MODULE, _IN_BAND, _PARAMETER, *_TENSORS)
        or name.startswith(_PACKAGES)
        or _INERT.fullmatch(name)
        or _STORAGE.fullmatch(name)
    )


def _called(name: str, arguments: tuple[Any, ...], meter: Meter) -> Any:
    if name != _IN_BAND:
        return Made(name, arguments)
    (content,) = arguments
    if isinstance(content, Made) and content.maker == "_codecs.encode":  # bytes, in pickles for Python 2
        content = content.arguments[0].encode("latin1")
    meter.spend(len(content) // _BLOCK)
    storage = _legacy(content, Rules(lambda name: bool(_STORAGE.fullmatch(name))), meter)
    if not isinstance(storage, _Storage):
        raise TypeError(type(storage))
    return storage


def _legacy(content: bytes | memoryview, rules: Rules, meter: Meter) -> Any:
    """What `torch.save` wrote without a zip: four pickles, the keys of the storages, the storages."""
    storages: dict[str, _Storage] = {}
    magic, at = read(content, 0, rules, meter)
    protocol, at = read(content, at, rules, meter)
    system, at = read(content, at, rules, meter)
    if (magic, protocol, system.get("little_endian")) != (_MAGIC, _PROTOCOL, True):
        raise ValueError("not of torch.save")
    value, at = read(content, at, Rules(rules.known, rules.call, partial(_stored, storages)), meter)
    keys, at = read(content, at, rules, meter)
    view = memoryview(content)
    for key in keys:
        storage = storages[key]
        if int.from_bytes(view[at : at + 8], "little") != storage.count:
            raise ValueError("a storage of another length")
        storage.content = view[at + 8 : at + 8 + storage.size]
        if len(storage.content) != storage.size:  # a file cut short is refused even where no tensor wants the rest
            raise ValueError("a storage cut short")
        at += 8 + storage.size
    return value


def _zipped(content: bytes, rules: Rules, meter: Meter) -> Any:
    """What `torch.save` writes: a zip of `data.pkl` and `data/<key>`, nothing compressed."""
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}

        def part(name: str) -> bytes:
            if entries[name].compress_type != zipfile.ZIP_STORED:
                raise ExcessError
            meter.spend(entries[name].file_size // _BLOCK)
            return archive.read(entries[name])

        (pickled,) = (name for name in entries if name.rpartition("/")[2] == "data.pkl")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in entries and part(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian")
        value, _ = read(part(pickled), 0, Rules(rules.known, rules.call, partial(_stored, storages)), meter)
        for key, storage in storages.items():
            storage.content = memoryview(part(f"{folder}data/{key}"))
    return value


def _stored(storages: dict[str, _Storage], number: Any) -> _Storage | Global:
    """What a persistent id of torch's stands for: a storage (kind, class, key, device, count[, view]) or a class."""
    if not (isinstance(number, tuple) and 4 <= len(number) <= 6):
        raise TypeError(type(number))
    if number[0] == "module" and isinstance(number[1], Global):  # with its source, before PyTorch 1.6
        return number[1]
    kind, type_, key, _, count, *view = number
    if kind != "storage" or not isinstance(key, str) or view not in ([], [None]):
        raise ValueError("another persistent id")
    if not (isinstance(type_, Global) and (name := _STORAGE.fullmatch(type_.name))):
        raise TypeError(type(type_))
    storage = storages.setdefault(key, _Storage(_DTYPES[name[1]], _whole(count)))
    if (storage.dtype, storage.count) != (_DTYPES[name[1]], count):
        raise ValueError("two storages of one key")
    return storage


# From records to tensors


def _networks(value: Any, alone: str, meter: Meter, deeper: int = 1) -> dict[str, Any]:
    """The networks in a file by name; a single one is called `alone`."""
    if _is_network(value, meter):
        return {alone: value}
    if isinstance(value, list | tuple):
        value = dict(zip(("G", "D", "G_ema"), value, strict=True)) if len(value) == 3 else {}
    entries = {name: entry for name, entry in (_mapping(value) or {}).items() if isinstance(name, str)}
    found = {name: entry for name, entry in entries.items() if _is_network(entry, meter)}
    if found or not deeper:
        return found
    inner = [networks for entry in entries.values() if (networks := _networks(entry, alone, meter, deeper - 1))]
    return inner[0] if len(inner) == 1 else {}


def _is_network(value: Any, meter: Meter) -> bool:
    """Whether it is a module, or a state dict."""
    if _is_module(value):
        return True
    entries = _mapping(value) or {}
    meter.spend(1 + len(entries))
    return bool(entries) and all(map(_is_tensor, entries.values()))


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and (value.maker == _MODULE or value.maker.startswith(_PACKAGES))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Made) and value.maker in (_PARAMETER, *_TENSORS)


def _attributes(module: Made) -> Mapping[Any, Any] | None:
    """The `__dict__` of a module."""
    if module.maker != _MODULE:
        return _mapping(module.state)
    meta = _mapping(module.arguments[0]) or {}
    return _mapping(meta.get("state"))


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    """A dict, or what stands for one of another class."""
    if isinstance(value, Made) and not (_is_module(value) or _is_tensor(value)):
        return value.pairs
    return value if isinstance(value, dict) else None


def _tensors(network: Any, room: Meter, meter: Meter) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in _named(network, "", _DEEPEST, meter):
        if name in found:
            raise ValueError("two tensors of one name")
        found[name] = _tensor(value, room)
    return found


def _named(network: Any, prefix: str, deeper: int, meter: Meter) -> Iterator[tuple[str, Made]]:
    """Each tensor of a module with its dotted name; a module may lie in several others, so each visit is paid for."""
    meter.spend()
    if deeper < 0:
        raise ExcessError
    if not _is_module(network):
        yield from ((_name(name), tensor) for name, tensor in (_mapping(network) or {}).items())
        return
    attributes = _attributes(network) or {}
    transient = _texts(attributes.get("_non_persistent_buffers_set"))
    meter.spend(len(transient))
    for table in ("_parameters", "_buffers"):
        for name, tensor in (_mapping(attributes.get(table)) or {}).items():
            meter.spend(1 + len(prefix) // 16)
            if tensor is not None and not (table == "_buffers" and name in transient):
                yield prefix + _name(name), tensor
    for name, module in (_mapping(attributes.get("_modules")) or {}).items():
        if module is not None:
            if not _is_module(module):
                raise TypeError(type(module))
            yield from _named(module, f"{prefix}{_name(name)}.", deeper - 1, meter)


def _setting(network: Any, name: str, deeper: int, meter: Meter) -> float | None:
    """The first number of this name among the attributes of a module and of those inside it."""
    meter.spend()
    attributes = (_attributes(network) if _is_module(network) else None) or {}
    value: Any = attributes.get(name)
    if type(value) in (int, float):
        return float(value)
    inside = (_mapping(attributes.get("_modules")) or {}).values() if deeper else ()
    found = (_setting(module, name, deeper - 1, meter) for module in inside)
    return next((number for number in found if number is not None), None)


def _name(name: Any) -> str:
    if not (isinstance(name, str) and name and name.isprintable()):
        raise ValueError("no name")
    return name


def _texts(value: Any) -> set[Any]:
    """A set, or the call by which protocols before 4 make one."""
    if isinstance(value, Made) and value.arguments:
        value = value.arguments[0]
    return {text for text in value if isinstance(text, str)} if isinstance(value, set | list) else set()


def _tensor(value: Any, room: Meter) -> Tensor:
    while isinstance(value, Made) and value.maker == _PARAMETER:
        value = value.arguments[0]
    if not (isinstance(value, Made) and value.maker in _TENSORS):
        raise TypeError(type(value))
    storage, offset, size, stride = value.arguments[:4]
    offset, size, stride = _whole(offset), _wholes(size), _wholes(stride)
    if not isinstance(storage, _Storage) or storage.content is None or len(storage.content) != storage.size:
        raise ValueError("a storage without its bytes")
    if len(size) != len(stride):
        raise ValueError("as many strides as sizes")
    count, span = 1, 1
    for length, step in zip(size, stride, strict=True):
        count *= length
        span += (length - 1) * step
    if count == 0:
        return torch.empty(size, dtype=storage.dtype)
    if offset + span > storage.count:
        raise ValueError("beyond the storage")
    width = storage.dtype.itemsize
    room.spend(max(count, span) * width)
    content = bytearray(storage.content[offset * width : (offset + span) * width])
    if storage.dtype == torch.bool:  # whose bytes may only be 0 and 1
        flat = torch.frombuffer(content, dtype=torch.uint8) != 0
    else:
        flat = torch.frombuffer(content, dtype=storage.dtype)
    return flat.as_strided(size, stride).contiguous()


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _GREATEST:
        raise ValueError("no length")
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Made) and value.maker == "torch.Size":
        (value,) = value.arguments
    if not (isinstance(value, tuple) and len(value) <= _DEEPEST):
        raise TypeError(type(value))
    return tuple(map(_whole, value))
