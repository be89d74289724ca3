"""NVIDIA's pickles: every tensor comes out, no code gets in, and whatever is wrong is one line."""

import builtins
import functools
import io
import os
import pickle
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nvidia_files import (
    Call,
    EasyDict,
    Layer,
    Network,
    Persistent,
    assert_equal,
    in_band,
    network,
    pickled,
    saved,
    snapshot,
    storage_bytes,
    view,
)
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families.dcgan import DCGAN, Generator
from rosetta.zoo.weights import saved_tensors
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.nvidia_pickle import parse_nvidia
from rosetta.zoo.weights.pickle_as_data import Meter, Rules, read
from rosetta.zoo.weights.source import FromFile, tensors_sha256

Spec = Callable[..., ModelSpec]


# What comes out


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "zip", "legacy"])
def test_every_tensor_comes_out(protocol: int | str, tmp_path: Path) -> None:
    held = snapshot()
    content = pickled(held, protocol) if isinstance(protocol, int) else saved(held, protocol == "zip")
    for which in ("G", "D", "G_ema"):
        assert_equal(parse_nvidia(content, "net.pkl", (which,)), held[which].state_dict())
    (tmp_path / "net.PKL").write_bytes(content)
    file = FromFile("net", str(tmp_path / "net.PKL"))
    assert_equal(read_tensors(file), held["G_ema"].state_dict())
    assert_equal(read_tensors(file, ("generator", "D")), held["D"].state_dict())


@pytest.mark.parametrize(
    "nested",
    [
        lambda held: (held["G"], held["D"], held["G_ema"]),
        lambda held: held["G_ema"],
        lambda held: {"kimg": 3, "networks": held},
        lambda held: OrderedDict(held),
        lambda held: EasyDict(held),
        lambda held: {"G_ema": held["G_ema"].state_dict(), "best": 3},
        lambda held: held["G_ema"].state_dict(),
    ],
)
def test_other_nestings(nested: Callable[[dict[str, Any]], Any]) -> None:
    held = snapshot()
    assert_equal(parse_nvidia(pickled(nested(held)), "net.pkl"), held["G_ema"].state_dict())


def test_networks_share_no_memory_even_where_the_file_shares_storages() -> None:
    numbers = torch.arange(12.0)
    shared = in_band(storage_bytes(numbers))
    content = pickled(network(a=view(shared, 0, (3, 4), (4, 1)), b=view(shared, 2, (2, 5), (1, 2))))
    found = parse_nvidia(content, "net.pkl")
    assert_equal(found, {"a": numbers.view(3, 4), "b": numbers.as_strided((2, 5), (1, 2), 2)})
    found["a"].zero_()
    assert found["b"].sum() == numbers.as_strided((2, 5), (1, 2), 2).sum()


def test_a_network_that_is_not_there() -> None:
    held = snapshot()
    del held["G_ema"]
    with pytest.raises(UserError, match=r"'net\.pkl' have no G_ema \(the networks there are G, D\); give a file"):
        parse_nvidia(pickled(held), "net.pkl")
    for nothing in (None, {}, [], 3, "text", {"G_ema": None}, {"a": {"b": {"c": held}}}, (1, 2, 3)):
        with pytest.raises(UserError, match=r"have no D or G_ema \(it holds no network at all\)"):
            parse_nvidia(pickled(nothing), "net.pkl", ("D", "G_ema"))


def test_a_network_without_tensors() -> None:
    with pytest.raises(UserError, match="have no tensors in G_ema"):
        parse_nvidia(pickled({"G_ema": network({"a": network(b=None)})}), "net.pkl")


def test_a_network_of_tensorflow() -> None:
    with pytest.raises(UserError, match=r"TensorFlow network; convert them with legacy\.py"):
        parse_nvidia(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81}b.", "net.pkl")


def test_a_model_is_loaded_from_a_pickle(spec: Spec, tmp_path: Path) -> None:
    class Root(Persistent):
        def __init__(self, main: nn.Module) -> None:
            super().__init__()
            self.main = main

    generator = Generator()
    (tmp_path / "net.pkl").write_bytes(pickled({"G_ema": Root(generator.main)}))
    model = zoo.load(spec("dcgan/digiface", str(tmp_path / "net.pkl")))
    assert tensors_sha256(model.module) == tensors_sha256(generator)


def test_a_pkl_of_torch_save_stays_what_it_was(tmp_path: Path) -> None:
    state = Generator().state_dict()
    for zipped in (True, False):
        (tmp_path / "net.pkl").write_bytes(saved({"state_dict": state, "epoch": 3}, zipped))
        assert_equal(read_tensors(FromFile("net", str(tmp_path / "net.pkl"))), state)


def test_the_moving_average_in_a_checkpoint_of_rosinality(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    average, other = Generator(), Generator()
    held = {"g": other.state_dict(), "d": {"w": torch.zeros(2)}, "g_optim": {"state": {}, "param_groups": [{"lr": 1}]}}
    held |= {"g_ema": average.state_dict(), "latent_avg": torch.zeros(512)}
    torch.save(held, tmp_path / "550000.pt")
    for key in (("netG_state_dict",), ("nowhere", "g_ema"), ()):
        monkeypatch.setattr(DCGAN, "state_keys", key)
        model = zoo.load(spec("dcgan/digiface", str(tmp_path / "550000.pt")))
        assert tensors_sha256(model.module) == tensors_sha256(average)
    assert_equal(read_tensors(FromFile("", str(tmp_path / "550000.pt")), ("none", "g")), other.state_dict())


# What does not get in


def _planted(marker: Path) -> dict[str, tuple[Any, str]]:
    path = str(marker)
    payload = pickle.dumps(Call(os.mkdir, path))
    legacy = saved(Call(os.mkdir, path), False)
    return {
        "system": (Call(os.system, f"mkdir {path}"), r"posix\.system"),
        "mkdir": (Call(os.mkdir, path), r"posix\.mkdir"),
        "eval": (Call(builtins.eval, f"__import__('os').mkdir({path!r})"), r"builtins\.eval"),
        "exec": (Call(builtins.exec, f"import os; os.mkdir({path!r})"), r"builtins\.exec"),
        "getattr": (Call(getattr, OrderedDict, "__init__"), r"builtins\.getattr"),
        "popen": (Call(subprocess.Popen, ["mkdir", path]), r"subprocess\.Popen"),
        "partial": (functools.partial(os.mkdir, path), r"posix\.mkdir"),
        "pickle": (Call(pickle.loads, payload), r"_?pickle\.loads"),
        "torch.load": (Call(torch.load, io.BytesIO), r"torch\.serialization\.load"),
        "class": (EasyDict(a=Path(path)), r"pathlib\.PosixPath"),
        "in-band pickle": (in_band(payload), r"posix\.mkdir"),
        "in-band legacy": (in_band(legacy), r"posix\.mkdir"),
        "in-band module": (in_band(saved(nn.Linear(1, 1), False)), r"torch\.nn\.modules\.linear\.Linear"),
    }


@pytest.mark.parametrize("where", ["top", "G_ema", "parameter", "options", "alone"])
@pytest.mark.parametrize("planted", list(_planted(Path("nowhere"))))
def test_planted_code_is_refused_by_name(tmp_path: Path, planted: str, where: str) -> None:
    marker = tmp_path / "sprung"
    trap, name = _planted(marker)[planted]
    held: Any = snapshot()
    if where == "top":
        held["extra"] = trap
    elif where == "G_ema":
        held["G_ema"].first.extra = trap
    elif where == "parameter":
        held["G"] = network(weight=trap)
    elif where == "options":
        held["training_set_kwargs"]["class_name"] = [trap]
    else:
        held = trap
    for protocol in (3, 4):  # 2 writes the names of Python 2
        with pytest.raises(
            UserError, match=rf"^weights 'net.pkl' are refused: the file carries code \({name}"
        ) as caught:
            parse_nvidia(pickled(held, protocol), "net.pkl")
        assert "convert the network to .safetensors" in str(caught.value)
    assert not marker.exists()


def test_a_zip_in_the_place_of_a_storage_is_not_opened(tmp_path: Path) -> None:
    content = saved(Call(os.mkdir, str(tmp_path / "sprung")), True)
    with pytest.raises(UserError, match="damaged"):
        parse_nvidia(pickled({"G_ema": network(a=view(in_band(content), 0, (1,), (1,)))}), "net.pkl")
    assert not (tmp_path / "sprung").exists()


def test_the_source_in_the_file_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Persistent, "source", f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})")
    held = snapshot()
    assert_equal(parse_nvidia(pickled(held), "net.pkl"), held["G_ema"].state_dict())
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_what_torch_saves(tmp_path: Path, zipped: bool) -> None:
    held = {"g_ema": Generator().state_dict(), "G_ema": Network(0), "x": Call(os.mkdir, str(tmp_path / "sprung"))}
    for name, message in (("net.pkl", r"posix\.mkdir"), ("net.pt", r"_reconstruct_persistent_obj|posix\.mkdir")):
        (tmp_path / name).write_bytes(saved(held, zipped))
        with pytest.raises(UserError, match=rf"are refused: the file carries code \([\w.]*({message})\)"):
            read_tensors(FromFile("net", str(tmp_path / name)), ("g_ema",))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n}b.", r"carries code \(os\.system\)"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x01aNu}b.", r"carries code \(os\.system\)"),
        (b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aNsb.", r"asks for a change of collections\.OrderedDict"),
        (b"ctorch.nn.modules.linear\nLinear\nN}\x86b.", r"asks for a change of torch\.nn\.modules\.linear\.Linear"),
        (b"(S'id'\nios\nsystem\n.", r"carries code \(os\.system\)"),
        (b"(cos\nsystem\nS'id'\no.", r"carries code \(os\.system\)"),
        (b"Pos.system\n.", "asks for a persistent id"),
        (b"\x80\x02X\x07\x00\x00\x00storageQ.", "asks for a persistent id"),
        (b"\x80\x02\x82\x01.", "asks for copyreg extension 1"),
        (b"ctorch.nn\n" + b"x" * 500 + b"\n.", r"carries code \('torch\.nn\.x{91}'\)"),
        (b"cos\n\xff\x1b[31m\n.", "damaged"),
        (b"\x80\x04\x8c\x02os\x8c\x05\x1b[31m\x93.", r"carries code \('os\.\\x1b\[31m'\)"),
        (b"\x80\x04\x8c\x02os\x8c\x03\xed\xa0\x80\x93.", r"carries code \('os\.\\ud800'\)"),
        (b"\x80\x04\x8c\x02osK\x01\x93.", "damaged"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01R.", "damaged"),
        (b"\x80\x02K\x01)R.", "damaged"),
        (b"\x80\x02]}b.", "damaged"),
        (b"\x80\x05\x97.", "damaged"),
        (b"", "damaged"),
        (b".", "damaged"),
        (b"0.", "damaged"),
        (b"\x80\x04", "damaged"),
        (b"\x80\x04\x8e" + b"\xff" * 8, "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "damaged"),
        (b"<!DOCTYPE html>\n<html>", "damaged"),
        (b"PK\x03\x04" + b"\0" * 64, "damaged"),
        (bytes(range(256)) * 8, "damaged"),
    ],
)
def test_what_is_no_such_pickle(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_nvidia(content, "net.pkl")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", [("storage", os.system, "0", "cpu", 4), ("storage", OrderedDict, "0", "cpu", 4), 3])
@pytest.mark.parametrize("zipped", [True, False])
def test_persistent_ids_are_storages_or_nothing(number: Any, zipped: bool, tmp_path: Path) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return number if isinstance(value, Network) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"G_ema": Network(0)})
    content = b"".join(pickle.dumps(part, 2) for part in (saved_tensors.MAGIC, 1001, {"little_endian": True}))
    content += stream.getvalue() + pickle.dumps([], 2)
    if zipped:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("archive/data.pkl", stream.getvalue())
        content = packed.getvalue()
    with pytest.raises(UserError, match=r"posix\.system|damaged"):
        parse_nvidia(content, "net.pkl")


@pytest.mark.parametrize("kind", ["bare", "zip", "legacy"])
def test_truncated_anywhere(kind: str) -> None:
    held = {"G_ema": Layer()}
    content = pickled(held) if kind == "bare" else saved(held, kind == "zip")
    for length in {*range(0, len(content), max(1, len(content) // 150)), len(content) - 1}:
        with pytest.raises(UserError, match="damaged, truncated or no pickle"):
            parse_nvidia(content[:length], "net.pkl")


def test_truncated_where_no_tensor_is_wanted() -> None:
    """Which storage comes last in torch's first format is chance: most of these are not the network's."""
    content = saved({"G_ema": Layer(), "optimizer": [torch.randn(4) for _ in range(64)]}, zipped=False)
    assert parse_nvidia(content, "net.pkl")
    with pytest.raises(UserError, match="damaged, truncated or no pickle"):
        parse_nvidia(content[:-1], "net.pkl")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (True,), (1,)),
        (0, (1.0,), (1,)),
        (0, [1], [1]),
        (0, (2**63,), (1,)),
        (1 << 14_000, (1,), (1,)),
        (0, (1,) * 65, (1,) * 65),
    ],
)
def test_views_stay_inside_their_storage(offset: Any, size: Any, stride: Any) -> None:
    storage = in_band(storage_bytes(torch.zeros(4)))
    with pytest.raises(UserError, match="damaged"):
        parse_nvidia(pickled(network(a=view(storage, offset, size, stride))), "net.pkl")


def _many_modules() -> Any:
    module = network()
    for _ in range(60):
        module = network({"a": module, "b": module})
    return module


def _deep_modules() -> Any:
    module = network()
    for _ in range(100):
        module = network({"a": module})
    return module


def _squeezed() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"}" * 10_000_000)
    return stream.getvalue()


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: pickled(network(a=view(in_band(storage_bytes(torch.zeros(1))), 0, (1 << 40,), (0,)))),
        lambda: pickled(network(**dict.fromkeys(map(str, range(50)), torch.zeros(4096)))),
        lambda: pickled(_many_modules()),
        lambda: pickled(_deep_modules()),
        lambda: b"\x80\x04" + b"}" * 3_000_000 + b".",
        lambda: b"\x80\x04" + b"]" * 1_500_000 + b"a" * 1_499_999 + b".",
        _squeezed,
    ],
)
def test_bombs_do_not_go_off(bomb: Callable[[], bytes]) -> None:
    with pytest.raises(UserError, match="would take far more memory or work than a file of"):
        parse_nvidia(bomb(), "net.pkl")


def test_what_makes_other_unpicklers_slow_takes_no_time() -> None:
    nested: Any = ()
    for _ in range(80):
        nested = (nested, nested)  # its hash would take 2^80 steps
    held = {"G_ema": network(a=torch.ones(1)), "x": [Call(OrderedDict), b"r\xff\xff\xff\xff"]}
    content = pickled(held)
    assert_equal(parse_nvidia(content, "net.pkl"), {"a": torch.ones(1)})
    value, _ = read(b"\x80\x04}" + pickle.dumps(nested)[2:-1] + b"Nsr\xff\xff\xff\xff.", 0, Rules(bool), Meter(1000))
    assert value == {}
    deep = b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b"."
    with pytest.raises(UserError, match="no network at all"):
        parse_nvidia(deep, "net.pkl")
    huge = b"\x80\x04}(\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"Nu."
    assert read(huge, 0, Rules(bool), Meter(10)) == ({}, len(huge))
