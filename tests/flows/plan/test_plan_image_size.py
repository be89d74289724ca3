"""`images.size` left out: the largest input of a model, unless the root or the shared images have a size."""

import logging

import pytest
from PIL import Image

from flows.plan.checks import prepare
from flows.plan.forecast import forecast
from flows.plan.gather import plan_of_recipe
from rosetta.recipe import USUAL_SIDE, Images, parse_recipe
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.provenance import ended_with, write_recipe
from storage.filesystem.root import Root

RECIPE = """
name = "sides"
root = "{root}"
[images]
{images}
[[models]]
name = "one"
model = "timm/test_resnet"
weights = "random:0"
layers = ["layer1"]
size = [64, 96]
[[models]]
name = "two"
model = "timm/test_vit"
weights = "{weights}"
layers = ["blocks.0.mlp.act"]
{maker}
[compute]
device = "cpu"
"""
MAKER = '[[models]]\nname = "maker"\nmodel = "dcgan/digiface"\nweights = "random:0"\nlayers = ["main.2"]'


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"photos/{name}.png")

    def make(images='source = "{folder}/photos"', *changes, weights="random:0", maker="", root="root"):
        images = images.format(folder=tmp_path)
        text = RECIPE.format(root=tmp_path / root, images=images, weights=weights, maker=maker)
        return parse_recipe(text, "sides", changes=changes)

    return make


def test_it_follows_the_largest_input(recipe, caplog):
    caplog.set_level(logging.INFO)
    plan = plan_of_recipe(recipe())
    assert plan.recipe.images.size == 160
    assert "images.size: 160, the largest input of a model (two)" in caplog.text
    assert plan.fingerprint(IMAGES).depends["size"] == 160
    assert plan_of_recipe(recipe('source = "{folder}/photos"', "models.one.size=[64, 192]")).recipe.images.size == 192
    sizes = {one.name: one.image_size for one in forecast(plan).models}
    assert sizes == {"one": (64, 96), "two": (160, 160)}
    assert forecast(plan).image_side == 160


def test_what_is_stated_holds(recipe):
    assert plan_of_recipe(recipe('source = "{folder}/photos"\nsize = 20')).recipe.images.size == 20


def test_weights_that_are_not_there(recipe):
    plan = plan_of_recipe(recipe(weights="no/such/file.pth"), any_weights=True)
    assert plan.recipe.images.size == 160
    assert [one.image_size for one in forecast(plan).models] == [(64, 96), (160, 160)]


def test_a_root_keeps_the_size_that_it_began_with(recipe, monkeypatch):
    """One that an earlier version began has the default of then."""
    began = recipe('source = "{folder}/photos"\nsize = 256')
    write_recipe(Root(began.root), began)
    monkeypatch.setattr("flows.plan.image_size.image_size", lambda *_: pytest.fail("a model was asked"))
    plan = prepare(recipe())
    assert plan.recipe == began
    (Root(began.root).local / "provenance.json").write_text("{}")
    assert ended_with(began)
    assert ended_with(recipe())
    assert not ended_with(recipe('source = "{folder}/photos"\nsize = 20'))


def test_shared_images_have_the_size_of_their_run(recipe, tmp_path):
    home = recipe('source = "{folder}/photos"\nsize = 40', root="home")
    write_recipe(Root(home.root), home)
    shared = f'source = "{{folder}}/photos"\nfrom = "{tmp_path}/home"'
    assert plan_of_recipe(recipe(shared)).recipe.images.size == 40


def test_a_generator_says_it_itself(recipe):
    with_maker = recipe("count = 4", maker=MAKER)
    plan = plan_of_recipe(with_maker)
    assert plan.recipe.images.size is None
    assert [one.image_size for one in forecast(plan).models] == [None, (64, 96), (160, 160)]
    assert forecast(plan).image_side is None
    before = recipe("count = 4\nsize = 256", maker=MAKER)  # as an earlier version wrote it
    write_recipe(Root(before.root), before)
    assert prepare(with_maker).recipe == before


def test_as_long_as_no_model_is_known():
    assert (Images().side, Images(size=3).side) == (USUAL_SIDE, 3)
