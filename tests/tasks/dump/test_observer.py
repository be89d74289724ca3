"""Maps are shown as they are stored: each layer's chunks in order and once, from any number of writers."""

import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump import activations
from tasks.dump.beside import Streams
from tasks.dump.pipeline import Pipeline

OWN = """
from torch import nn

def build():
    model = nn.Sequential(nn.Conv2d(3, 14, 3), nn.ReLU(), nn.Conv2d(14, 5, 3, stride=2))
    model.default_layers = ["0", "1", "2"]
    return model
"""
IMAGES = 21
MADE, PICTURES = fingerprint("activations"), fingerprint("images")
SPEC = ModelSpec(name="own", model="python:observed_zoo:build", weights="random:0")


class Seen:
    """Keeps what it is shown; takes its time, and longer for early images."""

    def __init__(self, fail_at: int = -1) -> None:
        self.maps: dict[str, list[tuple[int, torch.Tensor]]] = {}
        self.fail_at, self.busy, self.lock = fail_at, set[str](), threading.Lock()

    def __call__(self, layer: str, first_image: int, maps: torch.Tensor) -> None:
        with self.lock:
            assert layer not in self.busy, "a layer's chunks come one after the other"
            self.busy.add(layer)
        time.sleep(0.01 if first_image < 4 else 0)
        if first_image == self.fail_at:
            raise RuntimeError("seen enough")
        with self.lock:
            self.maps.setdefault(layer, []).append((first_image, maps.clone()))
            self.busy.remove(layer)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Root:
    (tmp_path / "observed_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(2, 4))
    root = Root(str(tmp_path / "root"))
    store = ImageStore.create(root, PICTURES, images=IMAGES, size=(12, 12), block=32, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8))
    store.finish()
    yield root
    sys.modules.pop("observed_zoo", None)


def run(root: Root, seen: Seen, writers: int, monkeypatch) -> ActivationStore:
    with monkeypatch.context() as patch:
        patch.setattr(
            activations, "Pipeline", lambda *given, **named: replace(Pipeline(*given, **named), observe=seen)
        )  # as the stage makes it, with someone who looks on
        activations.dump(root, MADE, PICTURES, SPEC, Compute(writers=writers), "cpu")
    return ActivationStore.read(root, "own")


@pytest.mark.parametrize("writers", [1, 2, 7])
def test_every_chunk_is_shown_once_in_order_as_it_is_stored(root, writers, monkeypatch):
    seen = Seen()
    store = run(root, seen, writers, monkeypatch)
    for layer in store.units.layers:
        assert [first for first, _ in seen.maps[layer.name]] == list(range(0, IMAGES, 2))
        shown = np.concatenate([_by_channel(maps, layer.channels).numpy() for _, maps in seen.maps[layer.name]])
        np.testing.assert_array_equal(shown, store.maps(layer.name, slice(None)))


class Beside(Streams):
    """Stands for the streams of a device: what is done on them is done at once, and written down."""

    def __init__(self) -> None:
        self.device, self.log = torch.device("cpu"), []

    def pinned(self, size, dtype):
        return torch.zeros(tuple(size), dtype=dtype)

    def filled(self):
        return None

    def emptied(self):
        self.log.append("the model waits")

    @contextmanager
    def working(self, after=None):
        self.log.append("work")
        yield

    def to_host(self, room, hosted, others):
        hosted.copy_(room)
        return SimpleNamespace(parts=tuple(others), wait=lambda: None)


def test_whoever_reads_sums_on_a_device_afterwards_waits_for_them(root, monkeypatch):
    beside = Beside()
    monkeypatch.setattr(Streams, "of", lambda _: beside)
    run(root, Seen(), 2, monkeypatch)
    assert beside.log.count("work") == 2 * 3 * 11, "each chunk of each layer is rounded, and shown"
    assert beside.log[-1] == "the model waits"


@pytest.mark.parametrize("writers", [1, 7])
def test_an_observer_that_fails_stops_the_stage_and_the_next_sees_what_is_missing(root, writers, monkeypatch):
    with pytest.raises(RuntimeError, match="seen enough"):
        run(root, Seen(fail_at=10), writers, monkeypatch)
    begun = ActivationStore.open(root, MADE, "own")
    assert begun is not None
    assert not begun.written()[2:].any()
    first = 4 * int(begun.written().sum())
    again = Seen()
    run(root, again, writers, monkeypatch)
    assert all([first for first, _ in maps] == list(range(first, IMAGES, 2)) for maps in again.maps.values())


def _by_channel(maps: torch.Tensor, channels: int) -> torch.Tensor:
    """(image, channel, y, x) of columns, without the room that is left over."""
    return maps.transpose(0, 1).flatten(1, 2)[:, :channels]
