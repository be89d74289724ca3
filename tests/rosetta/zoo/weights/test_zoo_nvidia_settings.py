"""What NVIDIA's pickles tell of modules beside their tensors: plain data, and nothing else."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from nvidia_files import Call, called, network, pickled, saved, snapshot
from torch import nn

from rosetta.errors import UserError
from rosetta.zoo.weights.nvidia_modules import Opaque, Recorded
from rosetta.zoo.weights.nvidia_pickle import parse_nvidia


def _modules(content: bytes) -> dict[str, Recorded]:
    return dict(parse_nvidia(content, "net.pkl").modules)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "zip", "legacy"])
def test_what_is_told_of_modules_comes_out_as_data(protocol: int | str) -> None:
    held = snapshot()
    net = held["G_ema"]
    called(net, {"clamp": None, "on": True, "taps": [1, (2.5, "x")], "inner": {"empty": {}, 3: 4}}, "place", 7)
    net._init_kwargs |= {"scalars": [np.float64(2.5), np.float32(0.5), np.int64(-3), np.bool_(True)]}
    net._init_kwargs |= {"others": [np.array([1]), 1j, b"x", torch.float32, torch.zeros(2), 2**60, {"a"}, nn.ReLU()]}
    content = pickled(held, protocol) if isinstance(protocol, int) else saved(held, protocol == "zip")
    modules = _modules(content)
    assert set(modules) == {name for name, _ in net.named_modules()}
    root = modules[""]
    assert root.positional == ("place", 7)
    others = root.named.pop("others")
    assert len(others) == 8
    assert all(isinstance(value, Opaque) for value in others)
    assert root.named == {
        "clamp": None,
        "on": True,
        "taps": (1, (2.5, "x")),
        "inner": {"empty": {}},
        "scalars": (2.5, 0.5, -3, True),
    }
    assert modules["first"].attributes == {"training": True, "bias": None, "cutoff": 2.5, "gain": 1.0}
    assert modules["tables.0"].attributes["num_embeddings"] == 3
    assert modules["first"].named == {}
    assert _modules(pickled(net.state_dict())) == {}


def _asking(value: Any) -> Call:
    """A network whose constructor was given a value."""
    net = network(a=torch.ones(1))
    net.call[1][0]["state"]["_init_kwargs"] = {"it": value}
    return net


@pytest.mark.parametrize(
    "scalar",
    [
        Call(np.dtype, "f8"),
        functools.partial(np.dtype, "f8"),
        np.complex128(1j),
        np.datetime64("2020-01-01"),
        np.str_("x"),
        np.dtype(">f8").type(1).astype(">f8"),
        Call(np._core.multiarray.scalar, np.dtype("f8"), b"1234"),
        Call(np._core.multiarray.scalar, "f8", b"12345678"),
    ],
)
def test_numbers_of_numpy_that_are_none(scalar: Any) -> None:
    found = _modules(pickled(_asking(scalar)))[""].named["it"]
    assert isinstance(found, Opaque | float)


@pytest.mark.parametrize("name", ["_init_args", "_init_kwargs"])
@pytest.mark.parametrize("value", [None, 3, "text", torch.zeros(1), np.zeros(2), slice(3)])
def test_arguments_that_are_none(name: str, value: Any) -> None:
    net = _asking(1)
    net.call[1][0]["state"][name] = value
    with pytest.raises(UserError, match="damaged, truncated or no pickle"):
        _modules(pickled(net))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_deep_arguments_are_cut() -> None:
    value = _modules(pickled(_asking(_nested(100))))[""].named["it"]
    for _ in range(7):
        (value,) = value
    assert value == Opaque("list")


def _many_arguments() -> Any:
    value: Any = [1] * 50
    for _ in range(6):
        value = [value] * 50
    return _asking(value)


def test_arguments_that_share_their_parts_do_not_grow() -> None:
    with pytest.raises(UserError, match="would take far more memory or work than a file of"):
        _modules(pickled(_many_arguments()))
