"""What `torch.save` wrote, read as data where torch's own reader refuses to.

Trainers put more into a checkpoint than tensors: arguments, metrics as NumPy scalars, configurations. torch reads those
by calling their classes, or refuses the whole file. Here they become records that stand for them
(:mod:`rosetta.zoo.weights.pickle_as_data`); the tensors beside them are put together from their bytes, and nothing is
imported or called.
"""

import io
import re
import zipfile
from functools import partial
from typing import Any

from torch import Tensor

from rosetta.zoo.weights.pickle_as_data import Global, Made, Meter, Rules
from rosetta.zoo.weights.refusals import printable
from rosetta.zoo.weights.saved_tensors import PARAMETER, TENSORS, ZIP, Storage, layout, read_legacy, read_zip

_PARAMETERS = (PARAMETER, f"{PARAMETER}_with_state")
_REACHES_OUT = re.compile(
    r"(?:os|posix|nt|sys|subprocess|shutil|socket|pty|ctypes|importlib|runpy|webbrowser)\..*"
    r"|(?:builtins|__builtin__|io|_io)\.(?:eval|exec|compile|open|__import__|input|breakpoint)"
)
"""What no training has among its results. It would not run here; but who finds it in a file does not want that file."""
_MOST_INSTRUCTIONS = 1 << 24
"""Under a minute of work; a checkpoint with the state of its optimiser takes some hundred thousand."""


def is_torchscript(content: bytes) -> bool:
    """Whether it is a program of TorchScript, which is a zip with code in it."""
    if not content.startswith(ZIP):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_saved(content: bytes) -> Any:
    """What the file holds: tensors, plain values, dicts, and :class:`~rosetta.zoo.weights.pickle_as_data.Made` for the
    rest.

    Raises
    ------
    RefusedError
        It names what reaches out of the process; the text is that name.
    ExcessError
        It asks for more work than a checkpoint does.
    Exception
        Of any other kind: damaged, truncated, not written by `torch.save`.
    """
    meter, rules = Meter(_MOST_INSTRUCTIONS), Rules(_known, partial(_called, {}))
    if content.startswith(ZIP):
        return read_zip(content, rules, meter)
    storages: dict[str, Storage] = {}
    read_legacy(content, Rules(_known), meter, storages)  # their bytes come last, so it is read twice
    return read_legacy(content, rules, meter, storages)


def class_of(record: Made) -> str:
    """The name of the class that a record stands for, fit for a terminal."""
    first = record.arguments[0] if record.arguments else None
    rebuilds = record.maker.rpartition(".")[2].startswith("_")  # copyreg._reconstructor, torch._tensor._rebuild_…
    return printable(first.name if rebuilds and isinstance(first, Global) else record.maker)


def _known(name: str) -> bool:
    return not _REACHES_OUT.fullmatch(name)


def _called(numbers: dict[Storage, Tensor], name: str, arguments: tuple[Any, ...]) -> Any:
    """Tensors that lie in one storage share its memory, which is in `numbers` from the first of them on."""
    if name in _PARAMETERS:
        return arguments[0]
    if name not in TENSORS or isinstance(arguments[0], Global):  # of a type of numbers that is not read, float8 say
        return Made(name, arguments)
    storage, offset, size, stride = layout(arguments)
    if storage not in numbers:
        numbers[storage] = storage.numbers(0, storage.count)
        storage.content = memoryview(b"")  # large checkpoints are not to be held twice
    return numbers[storage].as_strided(size, stride, offset)  # torch holds these against the end of the storage
