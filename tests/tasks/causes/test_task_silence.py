"""Silencing the units of a concept moves the scores of its classes, and no others'."""

import shutil
from zlib import crc32

import causal_runs
import causal_zoo
import numpy as np
import pytest
import torch

from flows.ablate import plan_silencing
from rosetta.errors import UserError
from rosetta.guidance.cause_settings import Silencing
from rosetta.guidance.silencing import random_sets
from storage.artifacts import layout, tables
from storage.artifacts.catalogue import SILENCED, SILENCINGS
from storage.artifacts.causes import SilencingStore
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from tasks.causes import silence
from tasks.causes.run import CausesRun
from tasks.causes.summary import of_silenced, silenced_lines

SETTINGS = Silencing(images=6, concepts=(0, 1, 2, 5), sets=9)


def made(root, settings):
    plan = plan_silencing(root.url, settings)
    assert silence.fill_silencings(root, plan) == "done"
    assert silence.make_silenced(root, plan) == "done"
    return plan


@pytest.fixture(scope="module")
def found(planted, tmp_path_factory):
    root = Root(str(shutil.copytree(planted.local, tmp_path_factory.mktemp("silenced") / "run")))
    return root, made(root, SETTINGS)


def test_the_classes_of_a_concept_fall(found):
    root, _ = found
    table = tables.read(root, SILENCED.path())
    scored = table[(table["model"] == "c") & (table["rank"] != 0)]
    for concept in SETTINGS.concepts:
        # Three detectors a concept, the first eight of which are classes.
        own = {seen for seen in range(3 * concept, 3 * concept + 3) if seen < causal_zoo.CLASSES}
        moved = scored[scored["cluster"] == concept]
        assert set(moved["class"]) == own
        assert (moved["change"] < 0).all()
        assert (moved["label"] == [f"shape {index}" for index in moved["class"]]).all()
        assert sorted(moved["rank"]) == list(range(-len(own), 0))
    whole = table[(table["model"] == "c") & (table["rank"] == 0)].set_index("cluster")
    assert whole.loc[0, "p_value"] == pytest.approx(0.1)  # the least that nine sets allow
    assert whole.loc[5, "p_value"] == 1
    assert whole.loc[5, "change"] == pytest.approx(0, abs=1e-6)
    assert set(table.loc[table["model"] == "d", "rank"]) == {0}  # an embedding has no classes
    summary = of_silenced(root)
    assert [(one["concept"], one["model"]) for one in summary[:2]] == [(0, "d"), (0, "c")]
    assert "shape" in silenced_lines(summary)[1]
    assert "cosine" in silenced_lines(summary)[0]


def test_outputs_are_those_of_slow_recomputation(found):
    root, plan = found
    run, store = CausesRun.open(root), SilencingStore.read(root)
    for name in ("d", "c"):
        model, scale = run.model(name), run.scale(name)
        moved, shift, _ = store.found(name)
        own = plan.units[1][name]
        assert own.tolist() == [causal_runs.FIRST + seen for seen in (3, 4, 5)]
        sets = [own, *random_sets(scale, own, plan.sets, (plan.seed, 1, crc32(name.encode())))]
        for number in (0, 4):
            lengths, shifts = [], []
            for image in plan.images:
                pixels = run.data.pictures.pixels(slice(image, image + 1))
                inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 * 2 - 1

                def set_units(_, __, output, units=sets[number], scale=scale):
                    output = output.clone()
                    for unit in units:
                        output[:, unit - causal_runs.FIRST] = scale.mean[unit]
                    return output

                with torch.no_grad():
                    before = model.module(inputs).double()
                    handle = model.module.see.register_forward_hook(set_units)
                    after = model.module(inputs).double()
                    handle.remove()
                lengths.append(float((after - before).norm() / before.norm()))
                shifts.append((after - before)[0].numpy())
            assert moved[1, number, 0] == pytest.approx(np.mean(lengths), abs=1e-5)
            if shift is not None:
                np.testing.assert_allclose(shift[1, number], np.mean(shifts, axis=0), atol=1e-5)
        assert (shift is None) == (name == "d")


class StopError(Exception):
    pass


def test_a_second_call_goes_on_and_gives_the_same_bytes(planted, found, tmp_path, monkeypatch):
    root = Root(str(shutil.copytree(planted.local, tmp_path / "run")))
    write = SilencingStore.write

    def cut(store, position, values):
        if position == 2:
            raise StopError
        write(store, position, values)

    monkeypatch.setattr(SilencingStore, "write", cut)
    with pytest.raises(StopError):
        made(root, SETTINGS)
    monkeypatch.undo()
    plan = made(root, SETTINGS)
    whole, _ = found
    for artifact in (SILENCINGS, SILENCED):
        again, once = ({file: of.read_bytes(file) for file in of.find(artifact.path())} for of in (root, whole))
        assert again == once
    assert silence.fill_silencings(root, plan) == silence.make_silenced(root, plan) == "skipped"


def test_a_run_without_a_generator(tmp_path):
    root = causal_runs.write(tmp_path / "run", {"d": "seer", "c": "classifier"})
    made(root, Silencing(images=2, concepts=(0,), sets=2))
    table = tables.read(root, SILENCED.path())
    assert set(table["model"]) == {"d", "c"}


def test_a_model_that_is_not_the_one_that_was_mined_is_one_line(planted, tmp_path):
    root = Root(str(shutil.copytree(planted.local, tmp_path / "run")))
    group = layout.open_to_write(Place(root, "activations/c.zarr"))
    group.attrs["weights_sha256"] = "0" * 64
    layout.complete(group)
    with pytest.raises(UserError, match=r"^c: its weights or layers are not those that were mined in .*; restore"):
        plan_silencing(root.url, SETTINGS)
