"""Distances in the features of models that had no part in a search."""

import finished
import numpy as np
import pandas as pd
import pytest
import torch

from rosetta.errors import UserError
from rosetta.guidance.latent import Rendering
from rosetta.guidance.perceptual import feature_distance
from rosetta.zoo.image_arrays import from_pixels
from storage.filesystem.root import Root
from tasks.guided import features
from tasks.guided.features import Judges, distances, feature_columns, outside_judge
from tasks.guided.matches import GuidedRun
from tasks.guided.metrics import lines, summarised, summary_table


def some_pixels(seed, images=3):
    return np.random.default_rng(seed).integers(0, 256, (images, 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run whose models are replaced by one that can be run."""
    from rosetta import zoo
    from rosetta.model_spec import ModelSpec

    eye = zoo.load(ModelSpec(name="d", model=f"python:{__name__}:Eye", weights="random:0"))
    monkeypatch.setattr(GuidedRun, "model", lambda self, name: eye)
    return GuidedRun.open(Root(str(finished.write(tmp_path / "run"))))


class Eye(torch.nn.Module):
    """A discriminative model."""

    image_size = (8, 8)
    default_layers = ("first",)

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, 1, 1)

    def forward(self, images):
        return self.first(images)


def test_a_model_judges_all_results_but_those_that_it_guided(run):
    results, targets = {"none": some_pixels(1), "d": some_pixels(2)}, some_pixels(3)
    found = feature_columns(run, Judges({"none": (), "d": ("d",)}), results, targets)
    assert list(found) == ["features:d"]
    assert np.isnan(found["features:d"]["d"]).all()
    images, wanted = (from_pixels(pixels, torch.device("cpu")) for pixels in (results["none"], targets))
    expected = feature_distance(run.model("d"), wanted)(Rendering(images, images, {}))
    np.testing.assert_allclose(found["features:d"]["none"], expected.numpy(), rtol=1e-5)
    assert (found["features:d"]["none"] > 0).all()


def test_distances_do_not_depend_on_how_many_are_looked_at_together(run, monkeypatch):
    results, targets = some_pixels(1, 5), some_pixels(2, 5)
    together = distances(run.model("d"), results, targets)
    monkeypatch.setattr(features, "_AT_ONCE", 2)
    np.testing.assert_allclose(distances(run.model("d"), results, targets), together, rtol=1e-5)
    np.testing.assert_allclose(distances(run.model("d"), targets, targets), 0, atol=1e-9)


@pytest.mark.parametrize("text", ["mobilenet", "=weights.pth", "torchvision/mobilenet_v2="])
def test_a_judge_is_a_model_with_weights(run, text):
    with pytest.raises(UserError, match=r"is not MODEL=WEIGHTS; write them as a recipe does, like \S+$"):
        outside_judge(run, text)


def test_random_weights_do_not_judge(run):
    with pytest.raises(UserError, match=r"has random weights, in whose features distances say little"):
        outside_judge(run, f"python:{__name__}:Eye=random:3")


def metrics():
    frames = []
    for guidance in ("none", "a", "all"):
        frame = pd.DataFrame({"guidance": guidance, "image": range(4), "source": "x", "psnr": 20.0, "ssim": 0.5})
        frame = frame.assign(lpips=np.nan, rec=0.1, reg=0.1, act=0.1)
        for name in ("a", "b_p"):
            guides = guidance in (name, "all")
            frame[f"features:{name}"] = np.nan if guides else np.arange(4) + (guidance == "none")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_gains_are_told_where_both_rows_were_judged_and_nothing_stands_for_the_rest():
    none, first, every = summarised(metrics())
    assert none["features:a"] == 2.5
    assert "features:a" not in first
    assert first["features:b_p_gain"] == -1
    assert not any(name.startswith("features:") for name in every)
    table = summary_table(metrics(), "inversion", 4, 4)
    assert [head for head in table.columns if head.startswith("features:")] == ["features:a", "features:b_p"]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "--judge MODEL=WEIGHTS" in table.note
    assert "features:b_p" in lines(summarised(metrics()))[1]
    assert "--judge" not in summary_table(metrics().query("guidance != 'all'"), "inversion", 4, 4).note
