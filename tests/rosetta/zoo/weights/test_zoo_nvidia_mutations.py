"""Damaged and made-up pickles: tensors or one line, and nothing else happens."""

import codecs
import contextlib
import functools
import gc
import pickle
import sys
import threading
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvidia_files import Call, Layer, pickled, saved
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.weights import nvidia_pickle
from rosetta.zoo.weights.nvidia_pickle import parse_nvidia

_WATCHED = ("exec", "compile", "import", "open", "pickle.", "os.", "subprocess.", "shutil.", "socket.", "ctypes.")
_seen: dict[int, list[str]] = {}
"""What happens, by the thread that is watched."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen and event.startswith(_WATCHED) and (seen := _seen.get(threading.get_ident())) is not None:
        seen.append(f"{event} {arguments[:1]}")


sys.addaudithook(_watch)  # for good, as Python has no way to remove one
for codec in ("raw-unicode-escape", "cp437"):  # of old texts and names in a zip; Python imports them on first use
    codecs.lookup(codec)


def _read_watched(content: bytes) -> None:
    """Reads tensors or is refused; that nothing else happens is asserted."""
    found: dict[str, Tensor] = {}
    gc.disable()  # whatever is collected might close a file
    events = _seen.setdefault(threading.get_ident(), [])
    try:
        with contextlib.suppress(UserError):
            found = parse_nvidia(content, "net.pkl", ("G_ema", "g"))
    finally:
        _seen.clear()
        gc.enable()
    assert not events
    assert all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items())
    assert sum(tensor.nbytes for tensor in found.values()) <= nvidia_pickle._MOST_INFLATION * len(content)


def test_the_watch_sees() -> None:
    events = _seen.setdefault(threading.get_ident(), [])
    pickle.loads(pickle.dumps(Call(eval, "1")))  # noqa: S301
    _seen.clear()
    assert [event.split()[0] for event in events] == ["pickle.find_class", "compile", "exec"]


@functools.cache
def _valid(kind: str) -> bytes:
    held = {"G_ema": Layer(), "kimg": 3}
    return pickled(held) if kind == "bare" else saved(held, kind == "zip")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(["bare", "zip", "legacy"]))
def test_mutations_give_tensors_or_one_line(data: st.DataObject, kind: str) -> None:
    content = bytearray(_valid(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "flip", "cut", "drop", "repeat", "insert"])):
            case "set":
                content[at] = data.draw(st.integers(0, 255))
            case "flip":
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[at + 1 :]
            case "drop":
                del content[at : at + data.draw(st.integers(1, 8))]
            case "repeat":
                content[at:at] = content[at : at + data.draw(st.integers(1, 64))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        content = content or bytearray(b".")
    _read_watched(bytes(content))


_FRAGMENTS = [
    *(bytes([code]) for code in b"().0125NOQRabdelostu]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"),
    *(b"cos\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch.storage\n_load_from_bytes\n"),
    *(b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"ccollections\nOrderedDict\n"),
    *(b"\x8c\x05state", b"\x8c\x08_modules", b"\x8c\x0b_parameters", b"\x8c\x01g"),
    *(b"K\x01", b"J\xff\xff\xff\xff", b"C\x01\0", b"h\0", b"q\0"),
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join))
def test_any_instructions_give_tensors_or_one_line(content: bytes) -> None:
    _read_watched(b"\x80\x04(K\x01)](}q\0" + content + b".")
