"""Which runs a sweep is, and one recipe over many models."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from tinyzoo import recipe_text

from flows.sweep import SHARED, SweepError, plan_sweep, sweep
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.status import artifacts


@pytest.fixture
def zoo(tmp_path):
    """Three recipes, of which the second is none, and something else."""
    for name in ("one", "three"):
        (tmp_path / f"{name}.toml").write_text(recipe_text(f"runs/{name}").replace('"tiny"', f'"{name}"'))
    (tmp_path / "two.toml").write_text("name = ")
    (tmp_path / "notes.txt").write_text("no recipe")
    return tmp_path


def spec(name: str, seed: int = 5) -> ModelSpec:
    return ModelSpec(name=name, model="python:tinyzoo:small", weights=f"random:{seed}")


def recipes(planned) -> dict[str, Recipe]:
    assert all(isinstance(run.recipe, Recipe) for run in planned), planned
    return {run.name: run.recipe for run in planned}


def test_a_folder_is_all_of_its_recipes_and_a_bad_one_keeps_its_reason(zoo):
    one, three, two = plan_sweep(str(zoo), changes=["images.count=7"])
    assert [run.name for run in (one, three, two)] == ["one", "three", "two"]
    assert "two.toml is not TOML" in str(two.recipe)
    assert (one.recipe.root, one.recipe.images.count) == ("runs/one", 7)
    assert (three.recipe.root, three.recipe.images.count) == ("runs/three", 7)


def test_a_glob_and_one_root_for_all(zoo):
    found = recipes(plan_sweep(f"{zoo}/*e.toml", root="s3://zoo/"))
    assert {name: recipe.root for name, recipe in found.items()} == {"one": "s3://zoo/one", "three": "s3://zoo/three"}


def test_two_recipes_in_one_place(zoo):
    (zoo / "again.toml").write_text((zoo / "one.toml").read_text())
    planned = plan_sweep(f"{zoo}/[ao]*.toml")
    assert [isinstance(run.recipe, Recipe) for run in planned] == [True, False]
    assert "runs/one is also the root of one" in str(planned[1].recipe)


@pytest.mark.parametrize("place", ["", "/none/*.toml", "/none.toml"])
def test_no_recipe(tmp_path, place):
    with pytest.raises(UserError, match="no recipe found at"):
        plan_sweep(f"{tmp_path}{place}")


def test_one_recipe_over_models(zoo):
    found = recipes(plan_sweep(str(zoo / "one.toml"), [spec("x"), spec("y")], root="runs"))
    assert list(found) == ["one-x", "one-y"]
    assert [recipe.root for recipe in found.values()] == ["runs/x", "runs/y"]
    assert {recipe.images.from_ for recipe in found.values()} == {f"runs/{SHARED}"}
    assert [spec.name for spec in found["one-y"].models] == ["painter", "ada", "bob", "y"]
    assert plan_sweep(str(zoo / "one.toml"), [spec("x")])[0].recipe.root == "runs/one/x"


def test_a_model_that_does_not_go_with_the_recipe_is_that_runs_matter(zoo):
    bad, good = plan_sweep(str(zoo / "one.toml"), [spec("ada"), spec("y")])
    assert "two models are called 'ada'" in str(bad.recipe)
    assert isinstance(good.recipe, Recipe)


def test_models_with_many_recipes_or_a_file_that_is_none(zoo):
    with pytest.raises(UserError, match=r"models need one recipe, but .* has 3"):
        plan_sweep(str(zoo), [spec("x")])
    with pytest.raises(UserError, match="is not TOML"):
        plan_sweep(str(zoo / "two.toml"), [spec("x")])


@pytest.mark.slow
def test_what_the_runs_of_one_recipe_have_in_common_is_made_once(zoo, environment):
    settings = {PREFECT_API_URL: environment["PREFECT_API_URL"], PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings):
        with pytest.raises(SweepError) as failed:
            sweep(str(zoo / "one.toml"), models=(spec("x", 8), spec("ada"), spec("y", 9)), root=str(zoo / "runs"))
        assert str(failed.value).splitlines()[0] == "1 of 3 runs failed"
        assert str(failed.value).splitlines()[1].startswith("ada: ")
        found = sweep(str(zoo / "one.toml"), models=(spec("x", 8), spec("y", 9)), root=str(zoo / "runs"))
    assert [run.name for run in found] == ["one-x", "one-y"]
    assert {stage.outcome for run in found for stage in run.mined.stages} == {"skipped"}
    shared = zoo / "runs" / SHARED
    assert sorted(path.name for path in (shared / "activations").iterdir()) == [
        f"{name}.zarr" for name in ("ada", "bob", "painter", "x", "y")
    ]
    for name in ("x", "y"):
        root = Root(str(zoo / "runs" / name))
        assert {entry.state for entry in artifacts(root)} == {"complete"}
        assert check_root(root) == []
        assert not (zoo / "runs" / name / "activations").exists()
