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
    ("text", "size"), [("2 GiB", 2**31), ("1.5 MB", 1_500_000), ("4096", 4096), ("1 kib", 1024), ("7B", 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1 GB", "0", "2 GiBs", "1e9"])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
