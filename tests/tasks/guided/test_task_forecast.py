"""What is said of an edit before it is searched for, on a run whose maps are known."""

import logging
from dataclasses import replace

import finished
import numpy as np
import pandas as pd
import pytest
import torch

from rosetta.guidance.edited_maps import edited_maps
from rosetta.guidance.forecast import Forecast, beside
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.guided import read_table
from storage.filesystem.root import Root
from tasks.guided.forecast import forecast, positions_of, record, warning
from tasks.guided.inputs import Inputs
from tasks.guided.matches import GuidedRun

BEFORE, OTHER = [2, 5], [7, 4]
NEW = np.array([-1, -1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run; read only."""
    return GuidedRun.open(Root(str(finished.write(tmp_path_factory.mktemp("forecast") / "run"))))


def stored(images):
    """What G puts out for some mined images."""
    return {name: torch.from_numpy(maps[images]) for name, maps in finished.maps_of("g").items()}


def asked(run, maps_of_unit):
    """Edits that ask all units for other maps, given the first layer's maps as they are."""

    def edit(one):
        return replace(one, maps=maps_of_unit(one.maps), changed=torch.ones_like(one.changed))

    return edited_maps(run.matches.generator, run.strongest("g"), stored(BEFORE), [edit])


def forecast_of(run, maps_of_unit, own=NEW):
    return forecast(run, asked(run, maps_of_unit), stored(BEFORE), own, None, "forecast")


def test_maps_that_mined_images_have_are_found(run):
    other = stored(OTHER)[finished.HOSTILE][:, :1]
    found = forecast_of(run, lambda maps: other)
    assert found.nearest.tolist() == OTHER
    np.testing.assert_allclose(found.agreement, 1, atol=1e-5)
    assert (found.gain > 0.5).all()
    np.testing.assert_array_equal(found.share, 1)
    assert warning(found, finished.IMAGES) is None


def test_maps_that_no_mined_image_has_are_warned_of(run):
    checks = torch.tensor([1.0, -1.0]).repeat(2).view(1, 1, 1, 4) * torch.tensor([1.0, -1.0]).repeat(2).view(1, 1, 4, 1)
    # Nearly the image as it is, with a pattern that spots do not have.
    found = forecast_of(run, lambda maps: maps + 0.1 * checks, np.array(BEFORE))
    assert (found.gain < 0).all()
    line = warning(found, finished.IMAGES)
    assert line is not None
    assert "does not seem to make that" in line
    assert "2 of 2 images" in line
    assert "\n" not in line


def test_no_image_is_its_own_neighbour(run):
    found = forecast_of(run, lambda maps: maps.clone(), np.array(BEFORE))
    assert (found.nearest != BEFORE).all()
    np.testing.assert_allclose(found.before, 1, atol=1e-6)
    assert (found.agreement < 0.999).all()
    assert (found.existing < 0.999).all()


def test_below_what_is_asked_lie_the_mined_images(run):
    edited = asked(run, lambda maps: -maps)
    units = edited.touched()
    mined = {finished.HOSTILE: stored([0, 3, 4])[finished.HOSTILE][:, :1]}
    target = beside(edited, units, mined)
    (layer,) = target.layers
    assert layer.direction.shape == (5, 1, 16)
    alone = edited.target(units)
    torch.testing.assert_close(layer.direction[:2], alone.layers[0].direction)


def test_share_and_gain_by_hand():
    found = Forecast(np.array([0, 1]), np.array([0.5, 0.1]), np.array([0.6, -0.2]), np.array([0.5, 0.7, 0.2, 0.4]))
    np.testing.assert_allclose(found.gain, [-0.1, 0.3])
    np.testing.assert_allclose(found.share, [0.75, 0.0])
    # On one of two images something is nearer: that is not most of them.
    assert warning(found, 512) is None


def test_positions_are_those_of_mined_images_alone(run):
    latents = np.zeros((4, 3), np.float32)
    latents[2] = np.nan
    images = Inputs(("image 4", "new 4", "image 5", "image 0"), np.zeros((4, 1, 1, 3), np.uint8), latents, None)
    assert positions_of(run.data, images, slice(0, 4)).tolist() == [4, -1, -1, 0]
    assert positions_of(run.data, images, slice(3, 4)).tolist() == [0]


def test_batches_are_recorded_beside_each_other_and_written_twice_as_once(tmp_path, run, caplog):
    root, made = Root(str(tmp_path)), fingerprint("edit")
    good = Forecast(np.array([3]), np.array([0.5]), np.array([0.1]), np.array([0.4, 0.6]))
    bad = Forecast(np.array([4]), np.array([0.1]), np.array([0.5]), np.array([0.4, 0.6]))
    for image, found in ((1, good), (0, bad), (1, good)):
        rows = pd.DataFrame({"image": [image], "source": [f"new {image}"]})
        with caplog.at_level(logging.WARNING, "rosetta"):
            record(root, made, "edits/e", run.data, found, rows)
    table = read_table(root, "edits/e", "forecast", made)
    assert table["image"].tolist() == [0, 1]
    assert table["nearest"].tolist() == [4, 3]
    np.testing.assert_allclose(table["forecast"], [-0.4, 0.4])
    np.testing.assert_allclose(table["existing"], 0.5)
    assert [record.getMessage()[:8] for record in caplog.records] == ["edits/e:"]
