"""What a model is told is part of what its artifacts depend on."""

import pytest

from flows.plan.gather import plan_of_recipe
from rosetta.errors import UserError
from rosetta.recipe import parse_recipe
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES

TEXT = """
name = "told"
root = "{root}"
[[models]]
name = "g"
model = "biggan/deep-128"
weights = "random:0"
{condition}
[[models]]
name = "d"
model = "timm/test_resnet"
weights = "random:0"
"""


@pytest.fixture
def surveyed(tmp_path):
    def make(condition: str):
        return plan_of_recipe(parse_recipe(TEXT.format(root=tmp_path / "root", condition=condition), "told"))

    return make


def images_of(plan):
    return plan.fingerprint(IMAGES)


def test_images_and_maps_depend_on_the_condition(surveyed):
    digests = set()
    for condition in (
        "",
        "condition = { truncation = 0.5 }",
        "condition = { classes = [1] }",
        "condition = { classes = [1, 2] }",
        "condition = { bound = 1.0 }",
    ):
        plan = surveyed(condition)
        digests.add((images_of(plan).digest, plan.fingerprint(ACTIVATIONS, "g").digest))
    assert len({images for images, _ in digests}) == len({maps for _, maps in digests}) == 5


def test_nothing_told_is_nothing_depended_on(surveyed):
    plain, empty = surveyed(""), surveyed("condition = {}")
    assert images_of(plain) == images_of(empty)
    assert "condition" not in images_of(plain).depends["generator"]


def test_a_run_with_another_condition_is_refused(surveyed):
    before, after = surveyed("condition = { truncation = 0.5 }"), surveyed("condition = { truncation = 0.7 }")
    with pytest.raises(UserError, match=r"images.zarr .*generator\.condition\.truncation: 0\.5 → 0\.7"):
        images_of(after).require_match("images.zarr", images_of(before).attributes())
