"""Units of one class each, over a folder of classes that is mined as listed."""

import numpy as np
import photos
import planted
import pytest

from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root

CLASSES, EACH, UNITS = 6, 8, 10
IMAGES = CLASSES * EACH


@pytest.fixture(scope="module", params=["drawn", "runs"])
def judged(request, tmp_path_factory):
    """Unit k of two models follows one pattern in images of class k; all others are noise."""
    place = tmp_path_factory.mktemp("classes")
    for image in range(IMAGES):
        photos.write(place / "photos" / f"{image // EACH}" / f"{image % EACH:02}.bmp", image)
    photos.mine(Root(str(place / "images")), place / "photos", order="listed")
    first = ImageStore.read(Root(str(place / "images"))).first_half()
    root, random = Root(str(place / "root")).absolute, np.random.default_rng(1)
    pixels = planted.pictures(random, IMAGES)
    planted.write_images(root, pixels)
    of_class = np.arange(IMAGES)[:, None] // EACH == np.arange(UNITS)
    pattern = 3 * of_class[:, :, None, None] * random.normal(size=(IMAGES, UNITS, 5, 5))
    stored = first if request.param == "drawn" else None
    for model in "ab":
        planted.write_maps(root, model, {"l": pattern + random.normal(size=pattern.shape)}, first=stored)
    planted.write_controls(root, random, pixels, stored)
    table, _ = planted.judge(root, ("a", "b", "pixels", "untrained"), neighbours=1)
    return request.param, table[(table["model_b"] == "b") & (table["unit_a"] < CLASSES)]


def test_what_is_of_one_class_replicates_and_holds_out(judged):
    how, rows = judged
    assert (rows["unit_a"] == rows["unit_b"]).all()
    assert len(rows) == CLASSES
    holds = rows["replicates"] & (rows["pearson_held_out"] > 0.3)
    if how == "drawn":
        assert holds.all()
    else:
        assert holds.sum() <= CLASSES // 2, "runs hold whole classes"
