"""The mined images nearest to wished-for maps, out of the stores of a run."""

import shutil

import finished
import numpy as np
import pytest
import torch

from rosetta.errors import UserError
from rosetta.guidance.nearest import observed_maps_target
from storage.filesystem.root import Root
from tasks.guided.matches import GuidedRun
from tasks.guided.nearest import latents_at, nearest_stored, require_mined


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run; read only."""
    return finished.write(tmp_path_factory.mktemp("nearest") / "run")


def opened(place):
    return GuidedRun.open(Root(str(place)))


def targets(run, images):
    """What the discriminative model sees of some mined images, as it is in the store."""
    seen = {name: torch.from_numpy(maps[images]) for name, maps in finished.maps_of("d").items()}
    return observed_maps_target(run.matches, {"d": seen})


def brute_force(run, image):
    """(mined image,) mean cosine over the matched units, in float64."""
    held, maps, found = run.statistics("d"), finished.maps_of("d"), []
    for unit in np.unique(run.matches.unit):
        layer, span = next((layer, span) for layer, span in held.units.spans() if unit < span.stop)
        values = (maps[layer.name][:, unit - span.start].astype(np.float64) - held.mean[unit]) / held.std[unit]
        values = values.reshape(len(values), -1)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        found.append(values @ values[image])
    return np.mean(found, axis=0)


def test_a_mined_image_finds_itself_first_and_the_others_in_order(place):
    run = opened(place)
    images = np.arange(finished.IMAGES)
    found = nearest_stored(run, targets(run, images), None, finished.IMAGES, "search")
    assert found.index[:, 0].tolist() == images.tolist()
    for image in images:
        expected = brute_force(run, image)
        np.testing.assert_allclose(found.agreement[image], np.sort(expected)[::-1], atol=1e-5)
        np.testing.assert_allclose(expected[found.index[image]], found.agreement[image], atol=1e-5)


def test_an_image_that_is_left_out_finds_the_next(place):
    run = opened(place)
    images = np.array([2, 7])
    free = nearest_stored(run, targets(run, images), None, 3, "search")
    apart = nearest_stored(run, targets(run, images), None, 2, "search", np.array([2, -1]))
    assert apart.index[0].tolist() == free.index[0, 1:].tolist()
    assert apart.index[1].tolist() == free.index[1, :2].tolist()


def test_images_of_the_class_come_first(place):
    run = opened(place)
    images, classes = np.array([2, 7]), np.array([1, 1])
    found = nearest_stored(run, targets(run, images), classes, finished.IMAGES, "search")
    half = finished.IMAGES // 2  # the class of a mined image is that of its index, odd or even
    assert (found.index[:, :half] % 2 == 1).all()
    assert (found.index[:, half:] % 2 == 0).all()
    assert found.index[1, 0] == 7


def test_latents_are_those_at_the_positions(place):
    run = opened(place)
    every = run.data.pictures.latents(slice(None))
    index = np.array([[3, 1], [3, 9], [0, 0]])
    np.testing.assert_array_equal(latents_at(run.data, index), every[index.T])


def test_more_starts_than_mined_images_is_one_line(place, tmp_path):
    run = opened(place)
    require_mined(run.data, finished.IMAGES)
    with pytest.raises(UserError, match=r"^11 of an image's starts .* the maps of 10; give a smaller --start-count$"):
        require_mined(run.data, 11)
    kept = opened(finished.write(tmp_path / "kept", kept=range(0, 40, 4), seen=40))
    with pytest.raises(UserError, match=r"images.keep = 10 of 40"):
        require_mined(kept.data, 11)


def test_maps_that_were_removed_are_one_line(place, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(place, root)
    for shards in (root / "activations/d.zarr").glob("*/activation/c"):
        shutil.rmtree(shards)
    run = opened(root)
    with pytest.raises(UserError, match="rosetta mine writes them, and --starts random needs none") as told:
        nearest_stored(run, targets(run, np.array([2])), None, 1, "search")
    assert "\n" not in str(told.value)
