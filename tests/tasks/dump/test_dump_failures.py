"""What befalls a dump: one failure ends it at once, nothing is torn, and the same call goes on to the same bytes."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump import maps
from tasks.dump.activations import dump

OWN = """
import time
from torch import nn

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.005)
        return x

def build():
    model = nn.Sequential(nn.Conv2d(3, 14, 3), nn.ReLU(), nn.Conv2d(14, 5, 3, stride=2), Slow())
    model.default_layers = ["0", "1", "3"]
    return model
"""
CHILD = """
import sys
sys.path[:0] = sys.argv[2:]
from test_dump_failures import patched, run
from storage.filesystem.root import Root

patched(lambda name, value: setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], value))
print("begun", flush=True)
run(Root(sys.argv[1]))
"""
IMAGES, WRITERS = 64, 12
MADE, PICTURES = fingerprint("activations"), fingerprint("images")
SPEC = ModelSpec(name="own", model="python:failing_zoo:build", weights="random:0")


def patched(change) -> None:
    """Small blocks, so that many are under way."""
    change("tasks.dump.memory.model_blocks", lambda *_: Blocks(2, 4))
    change("tasks.dump.forward.batch_size", lambda device: 2)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Root:
    (tmp_path / "failing_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    patched(monkeypatch.setattr)
    root = Root(str(tmp_path / "root"))
    store = ImageStore.create(root, PICTURES, images=IMAGES, size=(12, 12), block=64, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8))
    store.finish()
    yield root
    sys.modules.pop("failing_zoo", None)


def run(root: Root) -> None:
    dump(root, MADE, PICTURES, SPEC, Compute(writers=WRITERS), "cpu")


def files(root: Root) -> dict[str, bytes]:
    store = Path(root.url) / "activations/own.zarr"
    found = {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(".partial")}


@pytest.fixture
def whole(root) -> dict[str, bytes]:
    """What is left of a dump that nothing befalls."""
    run(root)
    found = files(root)
    root.remove("activations")
    return found


def require_nothing_torn(root: Root, whole: dict[str, bytes]) -> None:
    """Every block with a marker has all of its data, as it is in the end."""
    store = ActivationStore.open(root, MADE, "own")
    if store is None:
        return
    now = files(root)
    for block in np.flatnonzero(layout.markers(store.group)):
        for layer in ("0", "1", "3"):
            key = f"{layer}/activation/c/{block}/0/0/0"
            assert now[key] == whole[key]


@pytest.mark.parametrize("bytes_left", [0, 20_000, 60_000, 150_000])
def test_a_disk_that_fills_under_twelve_writers(root, whole, bytes_left, monkeypatch):
    from zarr.storage import _local

    put, lock, left = _local._put, threading.Lock(), bytes_left

    def short(path, value, exclusive=False):
        nonlocal left
        with lock:
            left -= len(value) if "own.zarr" in str(path) else 0
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return put(path, value, exclusive=exclusive)

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", short)
        with pytest.raises(OSError, match="No space left") as full:
            run(root)
    assert full.value.errno == errno.ENOSPC
    require_nothing_torn(root, whole)
    run(root)
    assert files(root) == whole


@pytest.mark.parametrize("failing", [1, 20, 90])
def test_a_writer_that_dies_stops_the_stage_at_once_and_says_where(root, whole, failing, monkeypatch):
    encode, count, before = maps.encode, 0, set(threading.enumerate())

    def dying(chunk, codec):
        nonlocal count
        count += 1
        if count == failing:
            raise MemoryError("nothing is left")
        return encode(chunk, codec)

    with monkeypatch.context() as patch:
        patch.setattr(maps, "encode", dying)
        began = time.monotonic()
        with pytest.raises(MemoryError, match="nothing is left") as died:
            run(root)
    assert time.monotonic() - began < 20
    (note,) = died.value.__notes__
    assert note.startswith("model own, layer ")
    assert ", images " in note
    more = set(threading.enumerate()) - before
    assert not [thread for thread in more if thread.name.startswith("ThreadPoolExecutor")]
    require_nothing_torn(root, whole)
    run(root)
    assert files(root) == whole


def test_a_process_killed_at_random_moments_leaves_nothing_torn(root, whole, tmp_path):
    here = str(Path(__file__).parent)
    dice = random.Random(0)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, root.url, here, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(dice.uniform(0.1, 1.0))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        require_nothing_torn(root, whole)
    run(root)
    assert files(root) == whole
