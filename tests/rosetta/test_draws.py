"""One table of a recipe that stands for several draws of random weights."""

import pytest

from rosetta.errors import UserError
from rosetta.recipe import Recipe, parse_recipe

TEXT = """
name = "run"
root = "runs/run"
[[models]]
name = "gan"
model = "torchvision/resnet18"
[[models]]
name = "net"
model = "torchvision/resnet18"
[[models]]
name = "drawn"
model = "{model}"
weights = "{weights}"
control = {control}
layers = ["layer1"]
"""


def recipe(weights: str, model: str = "timm/resnet18", control: str = "true", *changes: str) -> Recipe:
    return parse_recipe(TEXT.format(model=model, weights=weights, control=control), "draws.toml", None, changes)


@pytest.mark.parametrize("control", ["true", "false"])
def test_a_range_of_seeds_makes_a_model_of_each(control):
    made = recipe("random:3..5", "timm/resnet18", control)
    drawn = made.models[2:]
    assert [(spec.name, spec.weights) for spec in drawn] == [(f"drawn-{n}", f"random:{n}") for n in (3, 4, 5)]
    assert all(spec.control == (control == "true") and spec.layers == ("layer1",) for spec in drawn)
    assert parse_recipe(made.to_toml(), "again.toml") == made, "what is stored is expanded"
    assert Recipe.model_validate(made.model_dump(by_alias=True)) == made


def test_plain_data_is_expanded_too():
    data = recipe("random:0").model_dump(mode="json", by_alias=True, exclude_none=True)
    data["models"][-1]["weights"] = "random:0..1"
    assert [spec.name for spec in Recipe.model_validate(data).models] == ["gan", "net", "drawn-0", "drawn-1"]


def test_one_seed_and_one_name_stay_as_they_are():
    assert recipe("random:0").models[2].name == "drawn"
    assert recipe("random:7..7").models[2].name == "drawn-7"
    assert len(recipe("random:0..99").models) == 102


@pytest.mark.parametrize(
    ("weights", "model", "message"),
    [
        ("random:4..0", "timm/resnet18", r"'drawn': .* first seed is larger than the last; give random:0\.\.4"),
        ("random:0..100", "timm/resnet18", "101 draws are more than the 100"),
        ("random:0..", "timm/resnet18", r"whole numbers from 0, like random:0\.\.4"),
        ("random:-1..4", "timm/resnet18", "whole numbers from 0"),
        ("random:a..b", "timm/resnet18", "whole numbers from 0"),
        ("random:0..4", "pixels/64", "pixels/64 has no weights to draw; leave weights out"),
    ],
)
def test_what_is_no_range_is_refused_with_the_remedy(weights, model, message):
    with pytest.raises(UserError, match=f"recipe draws.toml: .*{message}"):
        recipe(weights, model)


def test_names_that_meet_are_refused():
    with pytest.raises(UserError, match="two models are called 'drawn-1'; give each model its own name"):
        recipe("random:0..4", "timm/resnet18", "true", "models.net.name=drawn-1")


def test_an_error_of_one_draw_names_it():
    with pytest.raises(UserError, match="drawn-0"):
        recipe("random:0..1", "timm/resnet18", "true", "models.drawn.lyers=3")
