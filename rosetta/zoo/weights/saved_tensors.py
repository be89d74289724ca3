"""Storages and tensors of torch's among the records of a pickle (:mod:`rosetta.zoo.weights.pickle_as_data`).

`torch.save` keeps the numbers of tensors outside its pickle, where a persistent id stands for each storage: in a zip
with one file for each, or, before PyTorch 1.6, behind the pickle. What a pickle may name, and which of its tensors are
made, is for :mod:`rosetta.zoo.weights.torch_save` and :mod:`rosetta.zoo.weights.nvidia_pickle` to say.
"""

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rosetta.zoo.weights.pickle_as_data import Global, Made, Meter, Rules, read

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
STORAGE = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(_DTYPES)})Storage")
"""Classes of the storages that are read."""
TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETER = "torch._utils._rebuild_parameter"
ZIP = b"PK\x03\x04"
MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first two pickles of what `torch.save` wrote before PyTorch 1.6, and of what it still makes of a lone storage."""
_GREATEST = 1 << 48
_MOST_DIMENSIONS = 64


@dataclass(slots=True, eq=False)
class Storage:
    """Numbers of one type, one after the other."""

    key: str
    """What the file calls it."""
    dtype: torch.dtype
    count: int
    content: memoryview | None = None
    """Their bytes, little-endian; None until they have been reached."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * self.dtype.itemsize

    def fill(self, content: bytes | memoryview) -> None:
        """Give it its bytes; ValueError where they are more or fewer."""
        if len(content) != self.size:  # a file cut short is refused even where no tensor wants the rest
            raise ValueError("a storage of another length")
        self.content = memoryview(content)

    def numbers(self, start: int, end: int) -> Tensor:
        """(end - start,) of its numbers, in memory of their own; ValueError where the file has no such."""
        if self.content is None or end > self.count:
            raise ValueError("beyond the storage")
        width = self.dtype.itemsize
        content = bytearray(self.content[start * width : end * width])
        if not content:
            return torch.empty(0, dtype=self.dtype)
        if self.dtype == torch.bool:  # whose bytes may only be 0 and 1
            return torch.frombuffer(content, dtype=torch.uint8) != 0
        return torch.frombuffer(content, dtype=self.dtype)


def layout(arguments: tuple[Any, ...]) -> tuple[Storage, int, tuple[int, ...], tuple[int, ...]]:
    """Storage, offset, size and stride (elements) out of what one of :data:`TENSORS` was to be called with.

    Raises
    ------
    TypeError, ValueError
        They are none. Whether they lie in the storage is not looked at.
    """
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, Storage):
        raise TypeError(type(storage))
    return storage, _whole(offset), _wholes(size), _wholes(stride)


def read_zip(
    content: bytes, rules: Rules, meter: Meter, admit: Callable[[zipfile.ZipInfo], None] = lambda part: None
) -> Any:
    """What `torch.save` writes: a zip of `data.pkl` and `data/<key>`.

    Parameters
    ----------
    content, rules, meter
        As of :func:`rosetta.zoo.weights.pickle_as_data.read`, and so are the errors. Calls see storages with their
        bytes.
    admit
        Sees each part before it is read, and raises where that is not to be.
    """
    storages: dict[str, Storage] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()

        def part(name: str) -> bytes:
            admit(archive.getinfo(name))
            return archive.read(name)

        def stored(number: Any) -> Storage | Global:
            found = _stored(storages, number)
            if isinstance(found, Storage) and found.content is None:
                found.fill(part(f"{folder}data/{found.key}"))
            return found

        (pickled,) = (name for name in names if name.rpartition("/")[2] == "data.pkl")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names and part(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian")
        return read(part(pickled), 0, replace(rules, stored=stored), meter)[0]


def read_legacy(
    content: bytes | memoryview, rules: Rules, meter: Meter, storages: dict[str, Storage] | None = None
) -> Any:
    """What `torch.save` wrote without a zip: four pickles, the keys of the storages, the storages.

    Parameters
    ----------
    content, rules, meter
        As of :func:`rosetta.zoo.weights.pickle_as_data.read`, and so are the errors. The bytes of the storages come
        last: calls see them only in a second reading with the `storages` that the first has filled.
    """
    storages = {} if storages is None else storages
    magic, at = read(content, 0, rules, meter)
    protocol, at = read(content, at, rules, meter)
    system, at = read(content, at, rules, meter)
    if (magic, protocol, system.get("little_endian")) != (MAGIC, _PROTOCOL, True):
        raise ValueError("not of torch.save")
    value, at = read(content, at, replace(rules, stored=partial(_stored, storages)), meter)
    keys, at = read(content, at, rules, meter)
    view = memoryview(content)
    for key in keys:
        storage = storages[key]
        if int.from_bytes(view[at : at + 8], "little") != storage.count:
            raise ValueError("a storage of another length")
        end = at + 8 + storage.size
        storage.fill(view[at + 8 : end])
        at = end
    return value


def _stored(storages: dict[str, Storage], number: Any) -> Storage | Global:
    """What a persistent id of torch's stands for: a storage (kind, class, key, device, count[, view]) or a class.

    A storage whose type of numbers is not read, float8 say, is its class.
    """
    if not (isinstance(number, tuple) and 4 <= len(number) <= 6):
        raise TypeError(type(number))
    if number[0] == "module" and isinstance(number[1], Global):  # with its source, before PyTorch 1.6
        return number[1]
    kind, type_, key, _, count, *view = number
    if kind != "storage" or not isinstance(key, str) or view not in ([], [None]):
        raise ValueError("another persistent id")
    if not (isinstance(type_, Global) and type_.name.endswith("Storage")):
        raise TypeError(type(type_))
    if not (name := STORAGE.fullmatch(type_.name)):
        return type_
    storage = Storage(key, _DTYPES[name[1]], _whole(count))
    first = storages.setdefault(key, storage)
    if (first.dtype, first.count) == (storage.dtype, count):
        return first
    if first.count or count:  # only of an empty one does torch save views of several types
        raise ValueError("two storages of one key")
    storage.fill(b"")
    return storage


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _GREATEST:
        raise ValueError("no length")
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Made) and value.maker == "torch.Size":
        (value,) = value.arguments
    if not (isinstance(value, tuple) and len(value) <= _MOST_DIMENSIONS):
        raise TypeError(type(value))
    return tuple(map(_whole, value))
