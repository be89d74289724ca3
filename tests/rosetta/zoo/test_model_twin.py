"""A model for another thread: the same weights in memory, hooks of its own."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

from rosetta import zoo
from rosetta.model_spec import ModelSpec

SPEC = ModelSpec(name="d", model="python:causal_zoo:seer", weights="random:1")


def test_twins_share_weights_and_give_the_same_maps_at_once():
    model = zoo.load(SPEC)
    twins = [model.twin() for _ in range(3)]
    images = torch.rand(4, 3, 32, 32)
    expected = model.observe(images)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda twin: twin.observe(images), twins))
    for twin, maps in zip(twins, found, strict=True):
        assert twin.module is not model.module
        assert twin.units == model.units
        assert {one.data_ptr() for one in twin.module.parameters()} == {
            one.data_ptr() for one in model.module.parameters()
        }
        assert all(torch.equal(maps[layer], expected[layer]) for layer in expected)


def test_a_module_that_cannot_be_copied_is_its_own_twin():
    model = zoo.load(SPEC)
    model.module.lock = Lock()
    assert model.twin() is model
