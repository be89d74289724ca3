"""What `torch.save` wrote, read as data where torch's own reader refuses to.

Trainers put more into a checkpoint than tensors: arguments, metrics as NumPy scalars, configurations. torch reads those
by calling their classes, or refuses the whole file. Here they become records that stand for them
(:mod:`rosetta.zoo.weights.inert`); the tensors beside them are put together from their bytes, and nothing is imported
or called.
"""

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rosetta.zoo.weights.inert import Global, Made, Meter, Rules, read

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
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_REACHES_OUT = re.compile(
    r"(?:os|posix|nt|sys|subprocess|shutil|socket|pty|ctypes|importlib|runpy|webbrowser)\..*"
    r"|(?:builtins|__builtin__|io|_io)\.(?:eval|exec|compile|open|__import__|input|breakpoint)"
)
"""What no training has among its results. It would not run here; but who finds it in a file does not want that file."""
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first two pickles of what `torch.save` wrote before PyTorch 1.6."""
_LONGEST = 100
_MOST_INSTRUCTIONS = 1 << 24
"""Under a minute of work; a checkpoint with the state of its optimiser takes some hundred thousand."""


def is_torchscript(content: bytes) -> bool:
    """Whether it is a program of TorchScript, which is a zip with code in it."""
    if not content.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_saved(content: bytes) -> Any:
    """What the file holds: tensors, plain values, dicts, and :class:`~rosetta.zoo.weights.inert.Made` for the rest.

    Raises
    ------
    RefusedError
        It names what reaches out of the process; the text is that name.
    ExcessError
        It asks for more work than a checkpoint does.
    Exception
        Of any other kind: damaged, truncated, not written by `torch.save`.
    """
    meter = Meter(_MOST_INSTRUCTIONS)
    return _zipped(content, meter) if content.startswith(b"PK\x03\x04") else _legacy(content, meter)


def class_of(record: Made) -> str:
    """The name of the class that a record stands for, fit for a terminal."""
    first = record.arguments[0] if record.arguments else None
    rebuilds = record.maker.rpartition(".")[2].startswith("_")  # copyreg._reconstructor, torch._tensor._rebuild_…
    return printable(first.name if rebuilds and isinstance(first, Global) else record.maker)


def printable(name: str) -> str:
    """A name out of a file, fit for a terminal."""
    return name if name.isprintable() and len(name) <= _LONGEST else ascii(name[:_LONGEST])


def _zipped(content: bytes, meter: Meter) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian")
        return read(archive.read(pickled), 0, _rules(lambda key: archive.read(f"{folder}data/{key}")), meter)[0]


def _legacy(content: bytes, meter: Meter) -> Any:
    """Four pickles, the keys of the storages, the storages: their bytes come last, so the pickle is read twice."""
    ends: dict[str, memoryview] = {}
    counts: dict[str, int] = {}

    def note(number: Any) -> Global | None:
        found = _storage(number)
        if isinstance(found, Global):
            return found
        key, dtype, count = found
        counts[key] = count * dtype.itemsize
        return None

    plain = Rules(_known)
    magic, at = read(content, 0, plain, meter)
    protocol, at = read(content, at, plain, meter)
    system, start = read(content, at, plain, meter)
    if (magic, protocol, system.get("little_endian")) != (_MAGIC, _PROTOCOL, True):
        raise ValueError("not of torch.save")
    _, at = read(content, start, Rules(_known, Made, note), meter)
    keys, at = read(content, at, plain, meter)
    for key in keys:
        at += 8  # the number of elements, which the pickle says as well
        ends[key] = memoryview(content)[at : at + counts[key]]
        at += counts[key]
    return read(content, start, _rules(ends.__getitem__), meter)[0]


def _rules(content: Callable[[str], bytes | memoryview]) -> Rules:
    """How pickles are read whose storages' bytes are at hand."""
    storages: dict[tuple[str, torch.dtype], Tensor] = {}

    def stored(number: Any) -> Tensor | Global:
        found = _storage(number)
        if isinstance(found, Global):
            return found
        key, dtype, count = found
        if (key, dtype) not in storages:
            numbers = bytearray(content(key))
            if len(numbers) != count * dtype.itemsize:
                raise ValueError("a storage of another length")
            storages[key, dtype] = torch.frombuffer(numbers, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return storages[key, dtype]

    return Rules(_known, _called, stored)


def _known(name: str) -> bool:
    return not _REACHES_OUT.fullmatch(name)


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name in _PARAMETERS:
        return arguments[0]
    if name not in _TENSORS:
        return Made(name, arguments)
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, Tensor):  # of a type of numbers that is not read, float8 say
        return Made(name, arguments)
    # torch holds these against the end of the storage.
    return storage.as_strided(_lengths(size), _lengths(stride), offset)


def _lengths(value: Any) -> tuple[int, ...]:
    if isinstance(value, Made) and value.maker == "torch.Size":
        (value,) = value.arguments
    if not (isinstance(value, tuple) and all(type(length) is int for length in value)):
        raise TypeError(type(value))
    return value


def _storage(number: Any) -> tuple[str, torch.dtype, int] | Global:
    """Key, type and count of the storage that a persistent id of torch's stands for, or the class that it is of."""
    if number[0] == "module" and isinstance(number[1], Global):  # with its source, before PyTorch 1.6
        return number[1]
    kind, type_, key, _, count, *view = number
    if kind != "storage" or not isinstance(key, str) or type(count) is not int or view not in ([], [None]):
        raise ValueError("another persistent id")
    if not isinstance(type_, Global):
        raise TypeError(type(type_))
    name = _STORAGE.fullmatch(type_.name)
    return (key, _DTYPES[name[1]], count) if name else type_
