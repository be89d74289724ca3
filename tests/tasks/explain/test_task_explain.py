"""What is kept of where a classifier looks: class `k` is what detector `k` sees, wherever it is highest."""

import shutil

import causal_runs
import causal_zoo
import numpy as np
import pytest
import torch
import xarray as xr

from rosetta.errors import UserError
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.catalogue import CLUSTERS, ROSETTA, UNITS
from storage.artifacts.explanations import ExplanationStore
from storage.run.members import RunMembers
from tasks.explain import stored
from tasks.explain.explain import classifier, concept_units, explain
from tasks.explain.stored import (
    BATCH,
    current_stores,
    explanations,
    fill_explanations,
    is_for_run_images,
    plan_explaining,
)

NEEDS = (ROSETTA, CLUSTERS, UNITS)
STANDING = {3 * concept: concept for concept in range(3)}
"""Classes whose detectors are of the strongest neuron of a concept, and that concept."""


@pytest.fixture
def run(causal, tmp_path):
    return RunMembers.open(shutil.copytree(causal.local, tmp_path / "run"), NEEDS)


def test_a_class_is_explained_by_the_map_of_its_planted_detector(run):
    pixels = from_pixels(run.pixels(slice(None)), torch.device("cpu"))
    detectors = classifier(run, "c").observe(pixels)["see"].numpy()
    for index in range(causal_zoo.CLASSES):
        plan = plan_explaining(run, None, "c", index, "see")
        assert fill_explanations(run, plan) == "done"
        for image, found in enumerate(explanations(run, plan.name)):
            own = detectors[image, index]
            # The derivative is 10 at one of 16 positions, of the class's own detector alone.
            expected = np.maximum(own * 10 / causal_zoo.GRID**2, 0)
            assert np.abs(found.cam - expected).max() <= 1e-5 * max(1.0, expected.max())


def test_the_planted_concept_comes_first(run):
    right = []
    for index, concept in STANDING.items():
        plan = plan_explaining(run, None, "c", index, "see")
        fill_explanations(run, plan)
        shown = [found for found in explanations(run, plan.name) if found.cam.max() > 0]
        right += [found.concepts.iloc[0]["cluster"] == concept for found in shown]
    assert len(right) > causal_runs.IMAGES
    assert np.mean(right) >= 0.95


def test_a_store_is_what_python_gives_and_xarray_reads(run):
    plan = plan_explaining(run, "2:5", "c", None, "see")
    fill_explanations(run, plan)
    assert plan.path == "explanations/c.2-5.see.zarr"
    store = xr.open_zarr(str(run.root.local / plan.path))
    assert store.image.values.tolist() == [2, 3, 4]
    assert store.concept.values.tolist() == concept_units(run, "c")["cluster"].tolist()
    for image, kept in zip((2, 3, 4), explanations(run, plan.name), strict=True):
        alone = explain(run, str(image), "c", None, "see")
        assert (kept.index, kept.label, kept.image) == (alone.index, alone.label, alone.image)
        assert kept.cam == pytest.approx(alone.cam, abs=1e-5)
        assert kept.cam == pytest.approx(store.cam.sel(image=image).values)
        assert kept.share == pytest.approx(alone.share, abs=1e-4, nan_ok=True)
        weights = kept.concepts.set_index("cluster")["weight"]
        assert store.weight.sel(image=image).to_series().to_dict() == pytest.approx(weights.to_dict())


def test_it_resumes_after_a_block_and_is_skipped_when_finished(run, monkeypatch):
    plan = plan_explaining(run, None, "c", 0, "see")
    written = ExplanationStore.write

    def once(store, span, found):
        if span.start:
            raise RuntimeError("stopped")
        written(store, span, found)

    monkeypatch.setattr(ExplanationStore, "write", once)
    with pytest.raises(RuntimeError, match="stopped"):
        fill_explanations(run, plan)
    assert current_stores(run) == []
    seen = []

    def noted(store, span, found):
        seen.append(span)
        written(store, span, found)

    monkeypatch.setattr(ExplanationStore, "write", noted)
    assert fill_explanations(run, plan) == "done"
    assert [span.start for span in seen] == list(range(BATCH, causal_runs.IMAGES, BATCH))
    assert fill_explanations(run, plan) == "skipped"
    assert len(current_stores(run)) == 1


def test_of_another_dictionary_nothing_is_shown(run, monkeypatch):
    fill_explanations(run, plan_explaining(run, "0", "c", 0, "see"))
    assert len(current_stores(run)) == 1
    monkeypatch.setattr(stored, "_subject", lambda run, model: {"maps": run.stores[model].digest, "units_sha256": "0"})
    assert current_stores(RunMembers.open(run.root.url, NEEDS)) == []


@pytest.mark.parametrize("text", ["7", "0:16", "8:", ":8"])
def test_images_of_a_run(text):
    assert is_for_run_images(text)


@pytest.mark.parametrize("text", [":", "cat.png", "-1", "0:16:2", "s3://bucket/7"])
def test_files(text):
    assert not is_for_run_images(text)


def test_bad_input_is_one_line_and_writes_nothing(causal):
    run = RunMembers.open(causal.url, NEEDS)
    wrong = [
        (("24", "c", None, None), "image 24 is not in"),
        (("30:", "c", None, None), "30: names no image of .*; its images are 0 to 23"),
        (("0", "c", 8, None), "c has no class 8; its classes are 0 to 7"),
        (("0", "c", None, "nowhere"), "c has no layer 'nowhere' in this run; there are fine, see, coarse"),
        (("0", "c", None, "coarse"), "do not depend on layer 'coarse'"),
        (("0", "d", None, None), "has no classifier"),
        (("0", "g", None, None), "g has no part in the dictionary of .*; --model is one of d, c"),
        (("0", "x", None, None), "model 'x' is not in"),
    ]
    for asked, words in wrong:
        with pytest.raises(UserError, match=words) as caught:
            plan_explaining(run, *asked)
        assert "\n" not in str(caught.value)
    assert not (causal.local / "explanations").exists()


def test_names_are_of_the_model_the_images_the_class_and_the_layer(causal):
    run = RunMembers.open(causal.url, NEEDS)
    assert plan_explaining(run, None, "c", None, "see").name == "c.all.see"
    assert plan_explaining(run, "3", "c", 2, None).name == "c.3.class-2"
