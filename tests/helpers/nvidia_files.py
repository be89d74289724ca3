"""Pickles as NVIDIA's training scripts write them, without NVIDIA's code."""

import io
import pickle
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("called")


class EasyDict(dict[str, Any]):
    """As `dnnlib.EasyDict`, which pickles as a class of its own."""


@contextmanager
def theirs() -> Iterator[None]:
    """The modules of NVIDIA's repository, for as long as something is pickled."""
    names = {"torch_utils": {}, "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj}}
    names |= {"dnnlib": {}, "dnnlib.util": {"EasyDict": EasyDict}}
    homes = {_reconstruct_persistent_obj: "torch_utils.persistence", EasyDict: "dnnlib.util"}
    with pytest.MonkeyPatch.context() as patch:
        for name, members in names.items():
            module = types.ModuleType(name)
            vars(module).update(members)
            patch.setitem(sys.modules, name, module)
        for member, home in homes.items():
            patch.setattr(member, "__module__", home)
        yield


class Persistent(nn.Module):
    """Pickles as `persistence.persistent_class` makes a module pickle."""

    source = "raise SystemExit('executed')"

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": type(self).__name__}
        return _reconstruct_persistent_obj, (meta | {"state": dict(self.__dict__)},), None


class Layer(Persistent):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last))
        self.turned = nn.Parameter(torch.randn(5, 7).t())
        self.bias = None
        self.register_parameter("absent", None)
        self.register_buffer("up_filter", None)
        self.register_buffer("noise", torch.randn(6, 6)[1:4, ::2])
        self.register_buffer("strength", torch.randn([]))
        self.register_buffer("spread", torch.randn(3, 1).expand(3, 2))
        self.register_buffer("scratch", torch.randn(9), persistent=False)
        self.size, self.cutoff, self.gain = np.array([36, 36]), np.float64(2.5), np.float32(1)


class Network(Persistent):
    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.first = Layer()
        self.tables = nn.ModuleList([nn.Embedding(3, 2), nn.Identity(), nn.Sequential(nn.BatchNorm1d(2), Layer())])
        self.light = nn.Parameter(torch.randn(4).half())
        for number, dtype in enumerate((torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16)):
            self.register_buffer(f"buffer{number}", torch.arange(-3, 3).to(dtype))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("bytes", torch.tensor([0, 255], dtype=torch.uint8))
        self.register_buffer("empty", torch.empty(0, 3))
        self.kind, self.place, self.shape = torch.float32, torch.device("cpu"), torch.Size([1, 2])
        self._init_kwargs = EasyDict(z_dim=8, synthesis_kwargs=EasyDict(channel_base=1024, names={"a", "b"}))


def persistent(state: dict[str, Tensor], arguments: dict[str, Any] | None = None, *by_place: Any) -> Persistent:
    """A module whose state dict this is, as NVIDIA's scripts pickle one: no class of its own has to exist.

    Parameters
    ----------
    arguments
        What its constructor was called with, by name; None for a file that does not tell.
    by_place
        And by place.
    """
    module = Persistent()
    inner: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = tensor
        else:
            module.register_buffer(name, tensor)
    for name, tensors in inner.items():
        module.add_module(name, persistent(tensors))
    if arguments is not None:
        called(module, arguments, *by_place)
    return module


def called(module: nn.Module, arguments: dict[str, Any], *by_place: Any) -> None:
    """Note in a module what its constructor was called with, as persistence does."""
    module._init_args, module._init_kwargs = by_place, _easy(arguments)


def _easy(value: Any) -> Any:
    return EasyDict({name: _easy(each) for name, each in value.items()}) if isinstance(value, dict) else value


def snapshot() -> dict[str, Any]:
    options = {"training_set_kwargs": {"path": "faces.zip", ("a", 1): b"key"}, "augment_pipe": None}
    return {**options, "G": Network(0), "D": Network(1), "G_ema": Network(2)}


def pickled(value: Any, protocol: int = 4) -> bytes:
    with theirs():
        return pickle.dumps(value, protocol)


def saved(value: Any, zipped: bool) -> bytes:
    stream = io.BytesIO()
    with theirs():
        torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        assert found[name].is_contiguous()


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def network(modules: dict[str, Any] | None = None, **parameters: Any) -> Call:
    """A module of given parts, whatever they are."""
    return Call(_reconstruct_persistent_obj, {"state": {"_parameters": parameters, "_modules": modules or {}}})


def view(storage: Any, offset: Any, size: Any, stride: Any) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


def in_band(content: bytes) -> Call:
    return Call(torch.storage._load_from_bytes, content)


def storage_bytes(tensor: Tensor) -> bytes:
    """What a storage pickles as inside a tensor: itself in the format of `torch.save` before 1.6."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about typed storages
        content: bytes = tensor.storage().__reduce__()[1][0]
    return content
