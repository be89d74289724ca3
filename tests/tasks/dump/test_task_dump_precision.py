"""No correlation is off by more than 1e-3 because of how maps are stored, and no unit keeps bits needlessly."""

import sys
from dataclasses import dataclass
from itertools import count

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from strategies import SPREAD_LAYERS

from rosetta import zoo
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting
from tasks.dump.activations import dump
from tasks.dump.rounding import LARGEST_NOISE

OWN = """
import torch
from torch import nn

UNITS = [[(0.0, 1.0, "dense")]]

class Changed(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def forward(self, x):
        kinds = {"dense": x, "sparse": torch.relu(x - 1), "dead": 0 * x}
        return torch.cat([a + b * kinds[kind][:, place % 3, None] for place, (a, b, kind) in enumerate(self.units)], 1)

class Own(nn.Module):
    image_size = (16, 16)
    default_layers = ("plain", "changed.*")

    def __init__(self):
        super().__init__()
        self.plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
        self.changed = nn.ModuleList(Changed(units) for units in UNITS)

    def forward(self, images):
        x = self.plain(images)
        return [part(x) for part in self.changed]
"""
IMAGES, BLOCK = 12, 4
NUMBERS = count()
PICTURES = fingerprint("images")
SPEC = ModelSpec(name="own", model="python:precise_zoo:Own", weights="random:0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("precise")
    (folder / "precise_zoo.py").write_text(OWN)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("precise_zoo", None)


@dataclass
class Stored:
    """What a dump and a correlation made of some layers, and what is true of them."""

    found: np.ndarray
    """(unit, unit) through the store."""
    true: np.ndarray
    """The same in float64 of what the model gave."""
    rounding: np.ndarray
    """(unit,) as the store says."""
    noise: np.ndarray
    """(unit,) what float16's ten bits would cost, over the standard deviation."""
    resolved: np.ndarray
    """(unit,) whether float32 itself holds it."""


def stored(folder, layers) -> Stored:
    import precise_zoo

    precise_zoo.UNITS = layers
    root = Root(f"memory://precise/{next(NUMBERS)}")  # readers remember stores by their place
    images = ImageStore.create(root, PICTURES, images=IMAGES, size=(16, 16), block=16, latents=None)
    images.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 16, 16, 3), dtype=np.uint8))
    images.finish()
    dump(root, fingerprint("activations"), PICTURES, SPEC, Compute(), "cpu")
    correlate(root, {("own", "own"): fingerprint("c")}, Setting())
    model, pixels = zoo.load(SPEC), images.pixels(slice(None))
    maps = {name: values.double().numpy() for name, values in model.observe(from_pixels(pixels, model.device)).items()}
    every = np.concatenate(list(maps.values()), axis=1)
    flat = every.transpose(1, 0, 2, 3).reshape(every.shape[1], -1)
    resolved = np.ptp(flat, axis=1) > 2.0**-18 * np.abs(flat).max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = 2.0**-11 / np.sqrt(3) * np.sqrt((flat**2).mean(axis=1)) / flat.std(axis=1)
    rounding = ActivationStore.read(root, "own").of_units("rounding")
    found = CorrelationStore.read(root, "own", "own").pearson()
    root.remove("")
    return Stored(found, oracle.textbook_pearson(every, every), rounding, noise, resolved)


@given(SPREAD_LAYERS)
@example([[(1000.0, 0.1, "dense")], [(200.0, 0.05, "dense")], [(0.0, 2e-8, "dense")]])
@example([[(0.0, 1.0, "sparse"), (0.3, 1.0, "dead"), (0.0, 1.0, "dead")], [(0.0, 1e-8, "sparse"), (5.0, 1.0, "dense")]])
@settings(max_examples=40)
def test_storage_moves_no_correlation_and_keeps_no_bits_needlessly(folder, layers):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(BLOCK, BLOCK))
        done = stored(folder, layers)
    asked = np.outer(done.resolved, done.resolved)
    np.testing.assert_allclose(done.found[asked], done.true[asked], atol=1e-3, rtol=0)
    assert (done.rounding[done.resolved] <= LARGEST_NOISE).all()
    coarse = done.resolved & (done.noise < 0.5 * LARGEST_NOISE)
    assert (done.rounding[coarse] > 0.2 * done.noise[coarse]).all(), "bits were kept needlessly"
