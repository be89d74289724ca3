"""Writers beside the forward pass: the same bytes from any number of them, and failures that stop the stage at once."""

import errno
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.activations import dump

OWN = """
import torch
from torch import nn

SEEN = []
BAD = None

class Poison(nn.Module):
    def forward(self, x):
        SEEN.append(len(x))
        return x * float("nan") if len(SEEN) == BAD else x

def build():
    model = nn.Sequential(nn.Conv2d(3, 14, 3), nn.ReLU(), nn.Conv2d(14, 5, 3, stride=2), Poison())
    model.default_layers = ["0", "1", "3"]
    return model
"""
IMAGES = 26
MADE, PICTURES = fingerprint("activations"), fingerprint("images")
SPEC = ModelSpec(name="own", model="python:piped_zoo:build", weights="random:0")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Root:
    (tmp_path / "piped_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(2, 8))
    monkeypatch.setattr("tasks.dump.forward.batch_size", lambda device: 1)
    root = Root(str(tmp_path / "root"))
    store = ImageStore.create(root, PICTURES, images=IMAGES, size=(12, 12), block=32, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8))
    store.finish()
    yield root
    sys.modules.pop("piped_zoo", None)


def run(root: Root, writers: int | None = None) -> None:
    dump(root, MADE, PICTURES, SPEC, Compute(writers=writers), "cpu")


def files(root: Root) -> dict[str, bytes]:
    store = Path(root.url) / "activations/own.zarr"
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("writers", [2, 7])
def test_any_number_of_writers_leaves_the_same_bytes(root, writers):
    run(root, 1)
    whole = files(root)
    root.remove("activations")
    run(root, writers)
    assert files(root) == whole


def test_a_map_that_is_not_finite_stops_at_its_block(root):
    import piped_zoo

    piped_zoo.SEEN.clear()
    run(root)
    whole, passes = files(root), len(piped_zoo.SEEN)
    root.remove("activations")
    piped_zoo.SEEN.clear()
    piped_zoo.BAD = passes - 8  # image 18, as each goes through on its own
    with pytest.raises(UserError, match="model own, layer 3: NaN or infinity in channels 0, 1, 2, 3 and more"):
        run(root)
    piped_zoo.BAD = None
    store = ActivationStore.open(root, MADE, "own")
    assert store.written().tolist() == [True, True, False, False]
    run(root)
    assert files(root) == whole


@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_fills_leaves_no_marker_before_its_data(root, failing, monkeypatch):
    """Whichever block it fills in: those before are whole, and the same command goes on to the same bytes."""
    run(root)
    whole = files(root)
    root.remove("activations")
    write = ActivationStore.write

    def full(self, block, layers):
        if block == failing:
            time.sleep(0.3)  # until the next block waits behind it
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, block, layers)

    with monkeypatch.context() as patch:
        patch.setattr(ActivationStore, "write", full)
        with pytest.raises(OSError, match="No space left"):
            run(root)
    store = ActivationStore.open(root, MADE, "own")
    written = layout.markers(store.group)
    assert written.tolist() == [block < failing for block in range(4)]
    run(root)
    assert files(root) == whole
