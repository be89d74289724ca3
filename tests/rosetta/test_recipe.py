"""Reading recipes: defaults, changes from the command, sizes."""

import pytest
from packaged import recipe_text

from rosetta.errors import UserError
from rosetta.recipe import parse_recipe, parse_size


def test_defaults_are_written_out_and_read_back():
    recipe = parse_recipe(recipe_text("runs/x"), "small")
    again = parse_recipe(recipe.to_toml(), "again")
    assert again == recipe
    assert "neighbours = 5" in recipe.to_toml()


def test_changes_from_the_command():
    changes = ["images.count=7", "models.lite0.layers=['blocks.0']", "compute.memory=1 GiB", "matching.pairs=all"]
    recipe = parse_recipe(recipe_text("runs/x"), "small", root="s3://bucket/run", changes=changes)
    assert recipe.images.count == 7
    assert recipe.models[1].layers == ("blocks.0",)
    assert recipe.compute.memory_bytes == 2**30
    assert recipe.matching.pairs == "all"
    assert recipe.root == "s3://bucket/run"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("models.liet0.match=order", "has no 'liet0'"),
        ("models.match=order", "say which model"),
        ("=3", "is not key=value"),
    ],
)
def test_changes_that_lead_nowhere(change, expected):
    with pytest.raises(UserError, match=expected):
        parse_recipe(recipe_text("runs/x"), "small", changes=[change])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("images.range", "[0]", "[0] has too few values"),
        ("images.range", "[0, 1, 2]", "[0, 1, 2] has more than 2 values"),
        ("images.range", "1", "1 is not a list"),
        ("images.range", "[1, 0]", "[1.0, 0.0] is not a range; give the value of black, then the larger one of white"),
        (
            "images.background",
            "'#ff000080'",
            "'#ff000080' is not an opaque colour; write a name such as 'white', or '#rrggbb'",
        ),
        ("models.lite0.size", "[256]", "[256] has too few values"),
        ("models.lite0.size", "'256'", "'256' is not a list"),
        ("models.lite0.mean", "[0.5, 0.5]", "[0.5, 0.5] has too few values"),
        ("models.lite0.mean", "0.5", "0.5 is not a list"),
        (
            "models.lite0.mean.0",
            "[124, 116, 104]",
            "124 is not on the scale 0 to 1; divide values from 0 to 255 by 255",
        ),
        ("models.lite0.std.1", "[0.2, 58, 57]", "58 is not on the scale 0 to 1; divide values from 0 to 255 by 255"),
        ("models.lite0.std.0", "[0, 1, 1]", "input should be greater than 0 (it is 0)"),
    ],
)
def test_values_that_a_key_does_not_take_are_told_by_key_and_value(key, value, told):
    change = f"{key.removesuffix('.0').removesuffix('.1')}={value}"
    with pytest.raises(UserError) as refused:
        parse_recipe(recipe_text("runs/x"), "small", changes=[change])
    assert str(refused.value) == f"recipe small: {key}: {told}"


@pytest.mark.parametrize(
    ("text", "size"), [("2 GiB", 2**31), ("1.5 MB", 1_500_000), ("4096", 4096), ("1 kib", 1024), ("7B", 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1 GB", "0", "2 GiBs", "1e9"])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
