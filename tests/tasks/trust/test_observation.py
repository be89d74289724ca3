"""Profiles that are made while maps are dumped: the same bytes as from the store, and no harm to the maps."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from plans import plan_over

from rosetta.mining.trust.layer_sums import LayerSums
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.images import ImageStore
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.dump.activations import dump
from tasks.dump.features import WRITE_FEATURES
from tasks.plan import Plan
from tasks.plan.facts import Identity
from tasks.trust import observation
from tasks.trust.observation import Observation
from tasks.trust.profile import PROFILE

OWN = """
from torch import nn

def build():
    model = nn.Sequential(nn.Conv2d(3, 14, 9, stride=24), nn.ReLU(), nn.Conv2d(14, 5, 5, stride=3), nn.ReLU())
    model.default_layers = ["1", "3"]
    return model
"""
COUNT, CHUNK, BLOCK = 43, 2, 4
LAYERS = [["1", 14, 9, 9], ["3", 5, 2, 2]]


@dataclass(frozen=True)
class Zoo:
    root: Root
    plan: Plan

    def dump(self, model: str, observed: bool = True) -> None:
        spec = ModelSpec(name=model, model="python:observed_zoo:build", weights=f"random:{len(model)}")
        fingerprints = self.plan.fingerprint(ACTIVATIONS, model), self.plan.fingerprint(IMAGES)
        begin = partial(Observation.begin, self.plan, model) if observed else None
        dump(self.root, *fingerprints, spec, Compute(writers=3), "cpu", begin)

    def from_store(self) -> dict[str, bytes]:
        """The profile as the stage makes it."""
        self.root.remove("profiles")
        PROFILE.make(self.plan)
        return files(self.root, "profiles/own.zarr")

    def forget_blocks(self, *blocks: int) -> None:
        """As if a dump had been stopped before these were written."""
        store = ActivationStore.open(self.root, self.plan.fingerprint(ACTIVATIONS, "own"), "own")
        for block in blocks:
            layout.written_of(store.group)[block] = False
        store.group.attrs["complete"] = False


def files(root: Root, folder: str) -> dict[str, bytes]:
    return {path: (Path(root.url) / path).read_bytes() for path in root.find(folder)}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    (tmp_path / "observed_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(CHUNK, BLOCK))
    root = Root(str(tmp_path / "root"))
    identity = Identity({}, layers=LAYERS)
    plan = plan_over(root, ["own", "other"]).given(models={"own": identity, "other": identity})
    images = ImageStore.create(root, plan.fingerprint(IMAGES), images=COUNT, size=(20, 20), block=64, latents=None)
    images.write(0, np.random.default_rng(0).integers(0, 256, (COUNT, 20, 20, 3), dtype=np.uint8))
    images.finish()
    WRITE_FEATURES.make(plan)
    made = Zoo(root, plan)
    made.dump("other", observed=False)
    yield made
    sys.modules.pop("observed_zoo", None)


def test_an_observed_profile_is_that_of_the_store(zoo):
    zoo.dump("own")
    store = ProfileStore.read(zoo.root, "own")
    assert store.complete
    assert store.written().all()
    found = files(zoo.root, "profiles/own.zarr")
    assert found == zoo.from_store()
    assert PROFILE.make(zoo.plan) == "skipped"


def test_a_gpu_that_the_run_does_not_use_is_left_alone(zoo, monkeypatch):
    assert zoo.plan.facts.device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    zoo.dump("own")
    found = files(zoo.root, "profiles/own.zarr")
    assert found
    assert found == zoo.from_store()


@pytest.mark.parametrize("missing", [(7, 8, 9, 10), (10,), (), (0, *range(1, 11))])
def test_a_dump_that_goes_on_reads_what_is_there(zoo, missing):
    zoo.dump("own", observed=False)
    zoo.forget_blocks(*missing)
    zoo.dump("own")
    found = files(zoo.root, "profiles/own.zarr")
    assert found
    assert found == zoo.from_store()


def test_a_hole_between_blocks_is_left_to_the_stage(zoo):
    zoo.dump("own", observed=False)
    zoo.forget_blocks(3)
    zoo.dump("own")
    assert not zoo.root.exists("profiles/own.zarr")
    assert zoo.from_store()


def test_layers_that_the_memory_does_not_hold_are_left_to_the_stage(zoo, monkeypatch):
    bound = 2 * zoo.plan.recipe.compute.memory_bytes
    costs = {"1": bound, "3": 1}
    monkeypatch.setattr(observation, "sum_bytes", lambda layer, *_: costs[layer.name])
    zoo.dump("own")
    store = ProfileStore.open(zoo.root, zoo.plan.fingerprint(ProfileStore.artifact, "own"), "own")
    assert not store.complete
    assert list(store.written()) == [False, True]
    PROFILE.make(zoo.plan)
    found = files(zoo.root, "profiles/own.zarr")
    assert found == zoo.from_store()


def test_what_goes_wrong_leaves_the_maps_whole(zoo, monkeypatch, caplog):
    zoo.dump("own", observed=False)
    maps = files(zoo.root, "activations/own.zarr")
    zoo.root.remove("activations/own.zarr")
    add, calls = LayerSums.add, []

    def fail(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise ValueError("Stored and computed checksum do not match.")
        add(*arguments)

    monkeypatch.setattr(LayerSums, "add", fail)
    zoo.dump("own")
    assert files(zoo.root, "activations/own.zarr") == maps
    assert not zoo.root.exists("profiles/own.zarr")
    assert "profile own: made from the store afterwards" in caplog.text
    monkeypatch.undo()


def test_a_kill_while_profiles_are_written_leaves_none_that_is_marked_and_not_there(zoo, monkeypatch):
    write, calls = observation.write_profile, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(observation, "write_profile", stop)
    with pytest.raises(KeyboardInterrupt):
        zoo.dump("own")
    monkeypatch.undo()
    assert ActivationStore.read(zoo.root, "own").complete
    store = ProfileStore.open(zoo.root, zoo.plan.fingerprint(ProfileStore.artifact, "own"), "own")
    assert store.written().sum() == 1
    assert not store.complete
    PROFILE.make(zoo.plan)
    found = files(zoo.root, "profiles/own.zarr")
    assert found == zoo.from_store()


def test_no_profile_is_observed_before_there_are_features(zoo):
    zoo.root.remove("features.zarr")
    zoo.dump("own")
    assert not zoo.root.exists("profiles/own.zarr")
