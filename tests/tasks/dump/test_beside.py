"""Maps of a model on a GPU are rounded and summed up there, and nothing there waits for the host."""

from collections import Counter
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rosetta.units import Layer, Units
from tasks.dump.beside import Streams
from tasks.dump.maps import MapBuffers
from tasks.dump.rounding import round_units

UNITS = Units((Layer("wide", 30, (5, 3)), Layer("one", 7, (1, 1))))
IMAGES, CHUNK = 3, 4
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select"}


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.all = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.all += 1
        if func.name().partition(".")[0] in WAITS:
            self.count[func.name()] += 1
        return func(*args, **(kwargs or {}))


class Here:
    """Stands for the streams of a device: what is done on them is done at once, and counted."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.waits, self.copied = Waits(), 0

    def pinned(self, size: Any, dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(size), dtype=dtype)

    def emptied(self) -> None:
        pass

    def filled(self) -> None:
        pass

    @contextmanager
    def working(self, after: Any = None) -> Any:
        with self.waits:
            yield

    def to_host(self, room: Tensor, hosted: Tensor, others: Any) -> Any:
        self.copied += 1 + len(others)
        hosted.copy_(room)
        parts = tuple(one.clone() for one in others)
        return type("Copied", (), {"parts": parts, "wait": lambda self: None})()


def planted(layer: Layer) -> Tensor:
    """Maps of usual units, of some with a large mean, of dead and of tiny ones."""
    maps = torch.randn(IMAGES, layer.channels, *layer.grid, generator=torch.manual_seed(0))
    maps[:, 1] += 50
    maps[:, 2] = 0
    maps[:, 3] *= 1e-25
    maps[:, 4] = 0.1
    return maps


def encoded(beside: Any, device: str = "cpu") -> dict[str, Any]:
    buffers = MapBuffers(UNITS, CHUNK, beside)
    with buffers.filling():
        for layer in UNITS.layers:
            buffers.put(slice(0, IMAGES), layer.name, planted(layer).to(device))
    return {layer.name: buffers.encode(layer.name, IMAGES, True, "lz4", ("m", 0)) for layer in UNITS.layers}


def require_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, one in wanted.items():
        assert found[name].chunks == one.chunks
        for field in ("peak", "mean", "square", "noise"):
            ours, theirs = (getattr(part.statistics, field) for part in (found[name], one))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_runs_on_a_device_waits_for_nothing_and_gives_the_same_bytes():
    beside = Here()
    require_same(encoded(beside), encoded(None))
    assert beside.waits.all > 50
    assert not beside.waits.count
    assert beside.copied == 5 * len(UNITS.layers)


@pytest.mark.parametrize("rounded", [True, False])
def test_rounding_asks_for_no_value(rounded):
    """On torch's device `meta` there are none to ask for."""
    peak, *others = round_units(torch.zeros(3, 5, 12, 49, device="meta"), rounded)
    assert peak.shape == (3, 5, 12)
    assert [(one.shape, one.dtype) for one in others] == [((3, 12), torch.float64)] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_step_on_a_gpu_never_waits():
    device = torch.device("cuda")
    beside = Streams.of(device)
    assert beside is not None
    wanted = encoded(None)
    encoded(beside, "cuda")  # what the first use of anything waits for
    torch.cuda.synchronize()
    made = {layer.name: planted(layer).to(device) for layer in UNITS.layers}
    buffers = MapBuffers(UNITS, CHUNK, beside)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with buffers.filling():
            for layer in UNITS.layers:
                buffers.put(slice(0, IMAGES), layer.name, made[layer.name])
        found = {layer.name: buffers.encode(layer.name, IMAGES, True, "lz4", ("m", 0)) for layer in UNITS.layers}
    finally:
        torch.cuda.set_sync_debug_mode("default")
    require_same(found, wanted)
