"""The recipes that come with the project: each can be planned where none of its weights are."""

import json
from pathlib import Path

import pytest

from flows.command.main import main
from flows.plan.forecast import forecast
from flows.plan.gather import plan_of_recipe
from flows.plan.study import plan_study
from rosetta import zoo
from rosetta.recipe import read_recipe
from rosetta.study import read_study

FILES = sorted((Path(__file__).parents[3] / "deployments" / "recipes").glob("*.toml"))
STUDIES = [path for path in FILES if "[[study.family]]" in path.read_text()]
RECIPES = [path for path in FILES if path not in STUDIES]


def test_there_are_recipes():
    expected = {
        "faces",
        "flux-klein",
        "iccv2023-imagenet",
        "iccv2023-lsun-cats",
        "large-dit",
        "large-styleganxl",
        "today",
    }
    assert expected <= {path.stem for path in RECIPES}
    assert {path.stem for path in STUDIES} == {"study", "study-published"}


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_plan_states_the_cost(path, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["mine", str(path), "--plan", "--json"])
    planned = json.loads(capsys.readouterr().out)
    recipe = read_recipe(path)
    assert {model["name"] for model in planned["models"]} == {spec.name for spec in recipe.models}
    assert all(model["bytes_stored"] > 0 for model in planned["models"])
    assert all(0 < pair["peak_bytes"] <= recipe.compute.memory_bytes for pair in planned["pairs"])
    assert all(pair["operations"] > 0 and pair["bytes_read"] > 0 for pair in planned["pairs"])
    fetched = {name for name, reason in planned["unseen"].items() if reason is None}
    assert fetched == {spec.name for spec in recipe.models if zoo.is_fetched(spec)}
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


@pytest.mark.slow
def test_a_plan_of_a_study_states_its_sizes_and_its_cost(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(path for path in STUDIES if path.stem == "study")
    main(["study", str(path), "--plan", "--json"])
    planned = json.loads(capsys.readouterr().out)
    study = read_study(path)
    assert planned["families"].keys() == {family.name for family in study.families}
    assert all(size > 0 for sizes in planned["families"].values() for size in sizes.values())
    assert [run["model"] for run in planned["runs"]] == [spec.name for spec in study.members]
    assert {model["name"] for model in planned["plans"]["dcgan"]["models"]} == {
        spec.name for spec in study.recipe.models
    }
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


@pytest.mark.slow
def test_the_published_study_can_be_planned():
    path = next(path for path in STUDIES if path.stem == "study-published")
    planned = plan_study(read_study(path))
    assert list(planned.wholes) == ["klein", "sana", "pmf"]
    assert len(planned.members) == 3 * len(planned.study.members)
    assert all(sorted(sizes.values()) == list(sizes.values()) for sizes in planned.sizes.values())
    for whole in planned.wholes.values():
        cost = forecast(plan_of_recipe(whole, any_weights=True))
        assert all(0 < pair.peak_bytes <= planned.study.recipe.compute.memory_bytes for pair in cost.pairs)


@pytest.mark.slow
def test_a_plan_says_what_is_missing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(path for path in RECIPES if path.stem == "iccv2023-imagenet-biggan")
    main(["mine", str(path), "--plan"])
    said = capsys.readouterr().out
    assert (
        "Before it can run: model 'biggan': weights 'weights/biggan-deep-256-pytorch_model.bin': no such file" in said
    )
    assert "Weights that libraries fetch when it runs: resnet50, dino-resnet50, dino-vit, mae, clip-resnet50" in said
    assert "nothing was written" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large-dit", "large-styleganxl"])
def test_large_runs_are_planned_past_this_machine(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(path for path in RECIPES if path.stem == name)
    main(["mine", str(path), "--plan", "--on", "h100:8", "--json"])
    simulated = json.loads(capsys.readouterr().out)
    assert simulated["images"] == 50_000
    assert len(simulated["ways"]) == 2
    # What the recipe keeps is what its forecast recommends.
    assert simulated["recommended_keep"] == read_recipe(path).images.keep
    assert not list(tmp_path.iterdir())
