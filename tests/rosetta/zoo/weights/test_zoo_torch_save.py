"""What trainers put beside the tensors is read as data, and none of it runs."""

import argparse
import collections
import datetime
import enum
import functools
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.zoo.weights import torch_save
from rosetta.zoo.weights.checkpoint import read_entries
from rosetta.zoo.weights.saved_tensors import Storage
from rosetta.zoo.weights.source import FromFile

RAN: list[object] = []


class Phase(enum.Enum):
    FINE = "fine"


class Config(dict):  # type: ignore[type-arg]
    """As configurations of detection libraries are: a dict with attributes."""

    def __setitem__(self, key: object, value: object) -> None:
        RAN.append(key)
        super().__setitem__(key, value)


class Meter:
    """As a trainer's own classes are."""

    def __init__(self) -> None:
        self.value = 3.5

    def __setstate__(self, state: object) -> None:
        RAN.append(state)


class Counted(nn.Module):
    """A loss with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(3))


BESIDE: dict[str, Callable[[], Any]] = {
    "namespace": lambda: argparse.Namespace(lr=0.1, nested=argparse.Namespace(path=pathlib.PurePosixPath("a/b"))),
    "numpy float": lambda: np.float64(71.2),
    "numpy float32": lambda: np.float32(71.2),
    "numpy array": lambda: np.arange(5),
    "numpy dtype": lambda: np.dtype("<f4"),
    "path": lambda: pathlib.PosixPath("a/b"),
    "date": lambda: datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "enum": lambda: Phase.FINE,
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("abca"),
    "deque": lambda: collections.deque([1.0], maxlen=3),
    "partial": lambda: functools.partial(torch.optim.SGD, lr=0.1),
    "function": lambda: torch.relu,
    "class": lambda: nn.Linear,
    "set": lambda: {1, 2, "a"},
    "configuration": lambda: Config(a=Config(b=1)),
    "trainer's": Meter,
    "module": lambda: Counted(),
    "optimiser": lambda: torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9),
}


@pytest.fixture
def state() -> dict[str, Tensor]:
    wide = torch.arange(60.0).reshape(3, 4, 5)
    return {
        "weight": torch.randn(4, 3),
        "view": wide[1:, ::2].transpose(0, 1),
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
        "parameter": nn.Parameter(torch.randn(2)),
    }


def _same(read: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(read) == list(wanted)
    for name, tensor in wanted.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_is_ignored(
    tmp_path: Path, state: dict[str, Tensor], kind: str, zipped: bool, protocol: int
) -> None:
    held = {"state_dict": collections.OrderedDict(state), "epoch": 3, "beside": BESIDE[kind]()}
    file = tmp_path / "net.pth"
    torch.save(held, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    RAN.clear()
    first = read_entries(FromFile("net", str(file)))[0]
    assert first.path == ("state_dict",)
    _same(dict(first.tensors), state)
    assert not RAN


@pytest.mark.parametrize("zipped", [True, False])
def test_it_reads_what_torch_reads(tmp_path: Path, state: dict[str, Tensor], zipped: bool) -> None:
    """Tied tensors stay tied, too."""
    torch.save({**state, "tied": state["weight"].T}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "net.pth").read_bytes()
    read = torch_save.read_saved(content)
    _same(read, torch.load(tmp_path / "net.pth", weights_only=True))
    assert read["tied"].data_ptr() == read["weight"].data_ptr()


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_an_empty_storage_keep_their_types(tmp_path: Path, zipped: bool) -> None:
    empty = torch.zeros(0, 4)
    torch.save({"a": empty, "b": empty.view(torch.int32)}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    read = torch_save.read_saved((tmp_path / "net.pth").read_bytes())
    _same(read, {"a": empty, "b": empty.view(torch.int32)})


@pytest.mark.parametrize("part", ["data/0", "data.pkl"])
def test_a_compressed_zip_is_read(tmp_path: Path, state: dict[str, Tensor], part: str) -> None:
    """torch does not compress; tools that pack a folder again do."""
    torch.save(state, tmp_path / "net.pth")
    with (
        zipfile.ZipFile(tmp_path / "net.pth") as source,
        zipfile.ZipFile(tmp_path / "small.pth", "w") as target,
    ):
        for name in source.namelist():
            squeezed = zipfile.ZIP_DEFLATED if name.endswith(part) else zipfile.ZIP_STORED
            target.writestr(name, source.read(name), squeezed)
    _same(torch_save.read_saved((tmp_path / "small.pth").read_bytes()), state)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_storage_of_another_length_is_damage(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "net.pth").read_bytes()
    if zipped:
        with (
            zipfile.ZipFile(tmp_path / "net.pth") as source,
            zipfile.ZipFile(tmp_path / "short.pth", "w") as target,
        ):
            for name in source.namelist():
                held = source.read(name)
                target.writestr(name, held[:-4] if name.endswith("data/0") else held)
        content = (tmp_path / "short.pth").read_bytes()
    else:
        content = content[:-4]
    with pytest.raises(ValueError, match="another length"):
        torch_save.read_saved(content)


@pytest.mark.parametrize("inserted", [b"", bytes(8)])
def test_storages_that_lie_elsewhere_are_damage(tmp_path: Path, inserted: bytes) -> None:
    """Before zips, storages lay one behind the other: shifted bytes would be other numbers."""
    weight = torch.randn(64)
    torch.save({"a": weight}, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "net.pth").read_bytes()
    at = len(content) - weight.nbytes - 8
    content = content[:at] + inserted + content[at:]
    with nullcontext() if not inserted else pytest.raises(ValueError, match="another length"):
        assert torch.equal(torch_save.read_saved(content)["a"], weight)


def test_numbers_of_a_type_that_is_not_read_are_objects(tmp_path: Path, state: dict[str, Tensor]) -> None:
    held = {**state, "tiny": torch.zeros(3).to(torch.float8_e4m3fn)}
    torch.save({"state_dict": held, "args": argparse.Namespace()}, tmp_path / "net.pth")
    entry = read_entries(FromFile("net", str(tmp_path / "net.pth")))[0]
    _same(dict(entry.tensors), state)
    assert list(entry.objects) == ["tiny"]


@pytest.mark.parametrize("name", ["os.\x1b[31m", "my.\x1b[31m", "my." + "x" * 150])
def test_names_out_of_a_file_are_fit_for_a_terminal(tmp_path: Path, name: str) -> None:
    module, _, last = name.partition(".")
    words = b"".join(b"X" + len(word.encode()).to_bytes(4, "little") + word.encode() for word in (module, last))
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x04}X\x01\x00\x00\x00a" + words + b"\x93)Rs.")
    with pytest.raises(UserError, match=r"net' (are refused|hold no state dict)") as caught:
        read_entries(FromFile("net", str(tmp_path / "net.pth")))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


class Reaching:
    """Unpickled as it asks to be, it does something to the machine."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


HOSTILE: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    "mkdir": lambda mark: (os.mkdir, (str(mark),)),
    "system": lambda mark: (os.system, (f"mkdir {mark}",)),
    "exec": lambda mark: (exec, (f"import os; os.mkdir({str(mark)!r})",)),
    "eval": lambda mark: (eval, (f"__import__('os').mkdir({str(mark)!r})",)),
    "open": lambda mark: (open, (str(mark), "w")),
    "partial": lambda mark: (functools.partial(os.mkdir, str(mark)), ()),
    # These need not be refused; they do not run either.
    "numpy": lambda mark: (np.savetxt, (str(mark), [1.0])),
    "path": lambda mark: (pathlib.Path.touch, (pathlib.PurePosixPath(mark),)),
}
HARMLESS = ("numpy", "path")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["beside", "among", "deep"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_ever_runs(
    tmp_path: Path, state: dict[str, Tensor], kind: str, where: str, zipped: bool, protocol: int
) -> None:
    mark = tmp_path / "ran"
    trap = Reaching(HOSTILE[kind](mark))
    held: dict[str, Any] = {"state_dict": dict(state), "beside": argparse.Namespace()}
    if where == "beside":
        held["trap"] = trap
    elif where == "among":
        held["state_dict"]["trap"] = trap
    else:
        held["beside"].inner = [{"a": (trap,)}]
    file = tmp_path / "net.pth"
    torch.save(held, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    expected = nullcontext() if kind in HARMLESS else pytest.raises(UserError, match=r"are refused: .* carries code")
    with expected:
        _same(dict(read_entries(FromFile("net", str(file)))[0].tensors), state)
    assert not mark.exists()


@pytest.mark.parametrize(
    "storage", [("storage", os.system, "0", "cpu", 4), ("storage", "x", "0", "cpu", 4), ("other",), ("storage",), 3]
)
@pytest.mark.parametrize("beside", [None, argparse.Namespace()])
def test_a_persistent_id_is_a_storage_or_nothing(tmp_path: Path, storage: Any, beside: object) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return storage if isinstance(value, Meter) else None

    file = tmp_path / "net.pth"
    with file.open("wb") as stream:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, stream, 2)
        Pickler(stream, 2).dump({"a": Meter(), "beside": beside})
        pickle.dump(["0"], stream, 2)
        stream.write((4).to_bytes(8, "little") + bytes(16))
    with pytest.raises(UserError, match=r"are refused: the file carries code|are damaged"):
        read_entries(FromFile("net", str(file)))


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((9,), (1,), 0), ((2,), (1,), 7), ((2,), (-1,), 4), ((2, 2), (1,), 0)]
)
def test_a_tensor_stays_inside_its_storage(size: Any, stride: Any, offset: int) -> None:
    storage = Storage("0", torch.float32, 8, memoryview(bytes(32)))
    with pytest.raises((RuntimeError, ValueError)):
        torch_save._called({}, "torch._utils._rebuild_tensor_v2", (storage, offset, size, stride))
