"""A whole study of tiny models: one zoo, tables that agree with the runs, a page that leads to them, and resuming."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from command import Command, refused
from tinyzoo import recipe_text

from rosetta.mining.shape.power_law import over_models
from storage.artifacts.catalogue import DEPTHS, JOIN_RECORD, OF_STUDIES, RECIPE, STUDY_RECORD
from storage.filesystem.root import Root
from storage.run.data import RunData
from storage.upkeep.check import check_root
from storage.upkeep.status import status

FAMILY = '[[study.family]]\nname = "tiny"\nmodels = ["ada", "bob"]\nsize = "units"\n'


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(f"{recipe_text(folder / 'root')}{FAMILY}")
    return folder / "study.toml"


@pytest.fixture(scope="module")
def studied(tiny, recipe):
    return Command(tiny.environment, plots=True).json("study", recipe)


def tables(root) -> tuple[pd.DataFrame, ...]:
    return tuple(pd.read_parquet(root / table.path()) for table in OF_STUDIES)


@pytest.mark.slow
def test_counts_are_those_of_the_runs(studied, recipe):
    root = recipe.parent / "root"
    models, depths, laws = tables(root)
    assert models["model"].tolist() == ["ada", "bob"]
    assert models["size"].tolist() == models["units"].tolist() == [12, 20]
    for row in models.itertuples():
        run = RunData.open(root / "runs/painter" / row.model)
        of_model = run.with_anchor(run.trust, row.model)
        assert (row.buddies, row.buddies_trusted) == (len(of_model), of_model["trusted"].sum())
        assert (row.neurons, row.neurons_trusted) == (len(run.neurons), run.trusted)
        assert row.matched == of_model["unit_b"].nunique() == row.share * row.units
        assert row.pearson == pytest.approx(of_model["pearson"].median())
        layers = depths[depths["model"] == row.model]
        assert layers["layer"].tolist() == run.layers(row.model)
        assert layers["depth"].tolist() == [0.0, 1.0]
        for name in ("units", "buddies", "buddies_trusted", "matched"):
            assert layers[name].sum() == getattr(row, name)
    (law,) = laws[(laws["count"] == "buddies") & (laws["part"] == "all")].itertuples()
    counts = models["buddies"].to_numpy()
    assert law.exponent == pytest.approx(np.log(counts[1] / counts[0]) / np.log(20 / 12))
    assert law.low <= law.exponent <= law.high
    assert over_models([12, 20], counts) is None
    assert np.isnan(law.low_models)
    assert studied["models"][1]["buddies"] == counts[1]


@pytest.mark.slow
def test_each_model_is_dumped_once_and_every_run_is_whole(studied, recipe):
    runs = recipe.parent / "root/runs/painter"
    shared = sorted(path.name for path in (runs / "_shared/activations").iterdir())
    assert shared == ["ada.zarr", "bob.zarr", "painter.zarr"]
    for run in studied["runs"]:
        assert check_root(Root(run["root"])) == []
        assert not (runs / run["model"] / "activations").exists()


@pytest.mark.slow
def test_the_page_leads_to_the_runs_and_asks_for_nothing(studied, recipe):
    root = recipe.parent / "root"
    page = (root / studied["page"]).read_text()
    links = [link for link in re.findall(r'href="([^"#]+)"', page) if link != "data:,"]
    assert links == [f"../runs/painter/{model}/report/index.html" for model in ("ada", "bob")]
    assert all((root / "report" / link).exists() for link in links)
    assert not re.search(r'(src|href)="(https?:)?//', page)
    for kind, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        files = list((root / "report/plots").glob(f"*.{kind}"))
        assert files
        assert all(file.read_bytes().startswith(magic) for file in files)


@pytest.mark.slow
def test_check_and_status_know_the_root_of_a_study(studied, recipe, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(recipe.parent / "root", root, ignore=lambda folder, names: {"runs"} & {*names})
    place = Root(str(root))
    assert status(place).state == "complete"
    assert check_root(place) == []
    record = json.loads((root / "provenance.json").read_text())
    assert record["fingerprints"].keys() == {table.path() for table in OF_STUDIES}
    assert record["weights_sha256"].keys() == {"painter", "ada", "bob"}
    depths = root / DEPTHS.path()
    depths.write_bytes(depths.read_bytes()[:-9] + b"x" * 9)
    (root / STUDY_RECORD.path()).write_text("name = 'another'")
    assert {finding.artifact for finding in check_root(place)} == {DEPTHS.path(), STUDY_RECORD.path()}
    depths.unlink()
    assert status(place).state == "incomplete"
    assert "is missing; rosetta study rebuilds it" in [finding.problem for finding in check_root(place)]


@pytest.mark.slow
def test_a_second_call_skips_everything_and_another_family_counts_again_without_mining(tiny, studied, recipe):
    again = tiny.json("study", recipe)
    assert all(run["skipped"] for run in again["runs"])
    assert [stage["outcome"] for stage in again["stages"]] == ["skipped", "skipped"]
    turned = tiny.json("study", recipe, "--set", "study.family.tiny.size=parameters")
    assert all(run["skipped"] for run in turned["runs"])
    assert [stage["outcome"] for stage in turned["stages"]] == ["done", "done"]
    assert turned["models"][0]["size"] == turned["models"][0]["parameters"]
    assert json.loads(json.dumps(turned)) == turned


@pytest.mark.slow
def test_bad_input_is_one_line_and_nothing_is_written(tiny, recipe, tmp_path):
    text = recipe.read_text().replace(str(recipe.parent / "root"), str(tmp_path / "root"))
    bad = tmp_path / "bad.toml"
    for old, new, told in (
        ('"bob"]', '"bobo"]', "no model is called 'bobo'"),
        ("python:tinyzoo:large", "python:tinyzoo:none", "none"),
        ('weights = "random:2"', 'weights = "none.pth"', "none.pth"),
        ("[[study.family]]", "[[study.families]]", "'family' is missing"),
    ):
        assert old in text
        bad.write_text(text.replace(old, new))
        refused(tiny("study", bad), told)
    assert not (tmp_path / "root").exists()
    for record, kind in ((RECIPE, "run"), (JOIN_RECORD, "join")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / record.path()).write_text("")
        refused(tiny("study", recipe, "--root", tmp_path / kind), f"holds a {kind}")
