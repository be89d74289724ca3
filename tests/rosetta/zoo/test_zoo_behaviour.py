"""What a model does, in numbers: the same on every machine, another once anything in it changes by a thousandth."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusion_folders import save_dit
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS
from torch.nn.modules.module import register_module_forward_hook

from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo import behaviour
from rosetta.zoo.behaviour import TOLERANCE, agree, examine, made_with

OWN = """
import numpy as np
import torch
from torch import nn

class Own(nn.Module):
    image_size = (32, 32)
    default_layers = ("body.0", "body.2", "body.4")
    gain, noise, drawn, bad = 1.0, 0.0, 0.0, False

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU(), nn.Conv2d(64, 8, 1)]
        self.body = nn.Sequential(*layers)
        self.body[2].weight.data[5] *= self.gain

    def forward(self, images):
        images = images + self.noise * np.random.normal() + self.drawn * torch.randn(())
        return self.body(images * (np.inf if self.bad else 1))
"""
SPEC = ModelSpec(name="own", model="python:behaved_zoo:Own", weights="random:0")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The class of the model that `SPEC` names."""
    (tmp_path / "behaved_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import behaved_zoo

    yield behaved_zoo.Own
    sys.modules.pop("behaved_zoo")


def differing(one, other):
    return [layer for layer in one.maps if not agree(one.maps[layer], other.maps[layer])]


def test_threads_and_kernels_make_no_difference(own):
    threads, before = torch.get_num_threads(), examine(SPEC)
    try:
        torch.set_num_threads(3)
        with torch.backends.mkldnn.flags(enabled=False):
            now = examine(SPEC)
    finally:
        torch.set_num_threads(threads)
    assert [layer.name for layer in now.units.layers] == ["body.0", "body.2", "body.4"]
    assert differing(before, now) == []


@pytest.mark.parametrize("gain", [1.05, 0.9, 0.0, -1.0])
def test_one_channel_of_many_that_changed_shows_from_its_layer_on(own, monkeypatch, gain):
    before = examine(SPEC)
    monkeypatch.setattr(own, "gain", gain)
    assert differing(before, examine(SPEC)) == ["body.2", "body.4"]


def test_what_a_model_draws_says_nothing(own, monkeypatch):
    """Torch's numbers are the same each time; of what comes out otherwise each time nothing is kept."""
    monkeypatch.setattr(own, "drawn", 1.0)
    assert differing(examine(SPEC), examine(SPEC)) == []
    assert all(examine(SPEC).maps.values())
    monkeypatch.setattr(own, "noise", 1.0)
    assert examine(SPEC).maps == {"body.0": [], "body.2": [], "body.4": []}


def test_maps_that_are_not_finite_have_no_numbers(own, monkeypatch):
    before = examine(SPEC)
    monkeypatch.setattr(own, "bad", True)
    assert examine(SPEC).maps == {"body.0": [], "body.2": [], "body.4": []}
    assert differing(before, examine(SPEC)) == ["body.0", "body.2", "body.4"]


def test_a_generator_is_known_by_its_image_too_and_a_diffusion_model_in_one_step(tmp_path):
    weights = str(save_dit(tmp_path / "dit"))
    spec = ModelSpec(name="dit", model="diffusers/custom", weights=weights, condition=Condition(steps=100))
    ran = []
    counting = register_module_forward_hook(lambda module, _, __: ran.append(type(module).__name__))
    try:
        found = examine(spec)
    finally:
        counting.remove()
    assert ran.count("DiTTransformer2DModel") == 2, "once to learn its layers, once to see what it does"
    assert found.preprocessing is None
    assert len(found.image) > 2
    assert examine(spec) == found


@given(
    SEEDS,
    st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9)).filter(lambda shape: np.prod(shape) > 1),
    st.sampled_from([-100.0, 0.0, 3.0]),
    st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_sketches_differ_as_far_as_maps_do(seed, shape, offset, scale):
    """Also where a layer has one channel or one position, and whatever its scale is."""
    random = np.random.default_rng(seed)
    maps = (random.normal(size=shape) + offset) * scale
    spread = maps.std()
    change = random.normal(size=shape)
    change /= np.sqrt((change**2).mean())

    def sketch(values):
        return behaviour._sketch(torch.from_numpy(values))

    assert agree(sketch(maps), sketch(maps + TOLERANCE / 10 * spread * change))
    assert not agree(sketch(maps), sketch(maps + 30 * TOLERANCE * spread * change))


def test_code_is_known_by_versions_and_the_zoos_own_text(tmp_path, monkeypatch):
    known = made_with("timm/resnet18")
    assert known.keys() == {"torch", "timm", "rosetta's zoo"}
    assert known["torch"] == torch.__version__.partition("+")[0]
    assert made_with("pixels/64").keys() == {"torch", "rosetta's zoo"}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "behaviour.py").write_text(Path(behaviour.__file__).read_text())
    (tmp_path / "two/another.py").write_text("")
    digests = set()
    for folder in ("one", "two"):
        monkeypatch.setattr(behaviour, "__file__", str(tmp_path / folder / "behaviour.py"))
        behaviour._zoo_digest.cache_clear()
        digests.add(made_with("pixels/64")["rosetta's zoo"])
    behaviour._zoo_digest.cache_clear()
    assert len(digests | {known["rosetta's zoo"]}) == 3
