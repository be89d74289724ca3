"""A dump stays below what was said beforehand, at any number of images, and fits into the recipe's memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.forward import batch_size
from tasks.dump.memory import PROCESS_BYTES, fitted

OWN = """
from torch import nn

def build():
    first, second, third = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 96), (96, 192), (192, 96)))
    model = nn.Sequential(first, nn.GELU(), second, nn.GELU(), third)
    model.default_layers = ["1", "3", "4"]
    model.image_size = (64, 64)
    return model
"""
CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.dump.activations import dump

def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

before = kib("VmRSS")
spec = ModelSpec(name="own", model="python:heavy_zoo:build", weights="random:0")
compute = Compute(chunk_mib=8, memory=sys.argv[2])
dump(Root(sys.argv[1]), fingerprint("activations"), fingerprint("images"), spec, compute, "cpu")
print(1024 * (kib("VmHWM") - before))
"""
SPEC = ModelSpec(name="own", model="python:heavy_zoo:build", weights="random:0")
DEEP = Units(tuple(Layer(f"layers.{number}", 3072, (14, 14)) for number in range(12)))
WIDE = Units(tuple(Layer(f"layers.{number}", 3072, (14, 14)) for number in range(120)))


def grown(root: Root, images: int, memory: str, folder: Path) -> int:
    """Bytes that a process grew by to dump so many images."""
    store = ImageStore.create(root, fingerprint("images"), images=images, size=(64, 64), block=images, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (images, 64, 64, 3), dtype=np.uint8))
    store.finish()
    command = [sys.executable, "-c", CHILD, root.url, memory, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ActivationStore.read(root, "own").images == images
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system says nothing of peak memory")
@pytest.mark.parametrize(("memory", "sets"), [("2 GiB", 2), ("100 MiB", 1)])
def test_a_dump_stays_below_what_is_said_at_any_number_of_images(tmp_path, monkeypatch, memory, sets):
    (tmp_path / "heavy_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    compute = Compute(chunk_mib=8, memory=memory)
    held = fitted("own", zoo.structure(SPEC), 96, compute)
    model = zoo.footprint(SPEC, batch_size(zoo.load(SPEC).device))
    sys.modules.pop("heavy_zoo", None)
    assert held.sets == sets
    assert held.peak <= compute.memory_bytes
    assert model is not None
    few, many = (grown(Root(str(tmp_path / str(count))), count, memory, tmp_path) for count in (32, 96))
    assert many < held.peak + model + PROCESS_BYTES
    assert many < few + held.peak / 2


@pytest.mark.parametrize(
    ("units", "memory"), [(DEEP, "256 MiB"), (DEEP, "1 GiB"), (DEEP, "8 GiB"), (WIDE, "1 GiB"), (WIDE, "8 GiB")]
)
@pytest.mark.parametrize("images", [5, 512, 50_000])
def test_what_is_held_fits_into_the_memory(units, images, memory):
    compute = Compute(memory=memory)
    held = fitted("m", units, images, compute)
    assert held.peak <= compute.memory_bytes
    assert held.blocks.shard % held.blocks.chunk == 0


def test_what_does_not_fit_is_one_line():
    with pytest.raises(UserError, match="is too little; dumping m needs at least") as refused:
        fitted("m", WIDE, 50_000, Compute(memory="64 MiB"))
    assert "\n" not in str(refused.value)
