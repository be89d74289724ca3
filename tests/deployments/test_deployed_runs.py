"""The documented way: pool, deploy, worker, run; and a schedule that fires."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import yaml
from prefect_server import REPOSITORY
from tinyzoo import recipe_text

from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.status import artifacts

pytestmark = pytest.mark.slow


def test_a_run_of_a_deployment_with_parameters_of_its_own(worked, recipe, tmp_path):
    root = tmp_path / "elsewhere"
    seen = len(worked.runs("faces", "mine"))
    given = [f"recipe={recipe}", f"root={root}", 'changes=["images.count=12"]']
    worked.must("deployment", "run", "mine/faces", *(word for one in given for word in ("--param", one)))
    run = worked.ended("faces", "mine", seen=seen)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert run["tags"] == ["rosetta"]
    assert {entry.state for entry in artifacts(Root(str(root)))} == {"complete"}
    assert check_root(Root(str(root))) == []
    assert not (tmp_path / "root").exists()
    assert len(pd.read_parquet(root / "tables/units.parquet")) > 0
    links = worked.artifacts(run)
    assert links["tiny-report"]["data"] == f"[the dictionary]({(root / 'report/index.html').as_uri()})"
    assert {"tiny-summary", "tiny-rosetta", "tiny-clusters"} <= set(links)
    logged = worked.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200})
    assert any("dump ada: 12 done" in line["message"] for line in logged)

    words = ["--param", f"root={root}", "--param", 'wanted={"images": ["new:2"], "steps": 3}']
    worked.must("deployment", "run", "invert/faces", *words)
    run = worked.ended("faces", "invert")
    assert run["state_name"] == "Completed", run["state"]["message"]
    links = worked.artifacts(run)
    page = root / "inversions/inversion/index.html"
    assert page.exists()
    assert page.as_uri() in links["tiny-inversions-inversion-page"]["data"]
    assert json.loads(links["tiny-inversions-inversion-summary"]["data"])[0]["images"] == 2

    words = [f"folder={tmp_path}", f"out={tmp_path / 'shelf'}"]
    worked.must("deployment", "run", "shelf/nightly", *(word for one in words for word in ("--param", one)))
    run = worked.ended("nightly", "shelf")
    assert run["state_name"] == "Completed", run["state"]["message"]
    (shown,) = worked.artifacts(run).values()
    assert shown["data"] == f"[{tmp_path.name}]({(tmp_path / 'shelf/index.html').as_uri()})"
    assert '"../elsewhere/report/index.html"' in (tmp_path / "shelf/data/shelf.js").read_text()


def test_what_is_wrong_is_the_message_of_the_run(worked, tmp_path):
    seen = len(worked.runs("faces", "mine"))
    worked.must("deployment", "run", "mine/faces", "--param", f"recipe={tmp_path / 'none.toml'}")
    run = worked.ended("faces", "mine", seen=seen)
    assert run["state_name"] == "Failed"
    assert "none.toml: No such file or directory; give the path of a recipe" in run["state"]["message"]


def test_a_schedule_fires_and_one_failing_recipe_fails_the_sweep_alone(worked, tmp_path):
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    (zoo / "a.toml").write_text(recipe_text("unused").replace('"tiny"', '"one"'))
    (zoo / "b.toml").write_text(recipe_text("unused").replace('"tiny"', '"two"').replace("tinyzoo:small", "tinyzoo:no"))
    (zoo / "c.toml").write_text("name = ")
    (zoo / "d.toml").write_text(recipe_text("unused", ("painter", "bob", "cyd")).replace('"tiny"', '"four"'))

    file = yaml.safe_load((REPOSITORY / "deployments/prefect.yaml").read_text())
    nightly = next(one for one in file["deployments"] if one["name"] == "nightly")
    anchor = datetime.now(UTC) + timedelta(seconds=15)
    nightly["name"] = "soon"
    nightly["parameters"] = {"recipes": str(zoo), "root": str(tmp_path / "runs")}
    nightly["schedules"] = [{"interval": 86400, "anchor_date": anchor.isoformat(), "active": True}]
    (tmp_path / "soon.yaml").write_text(yaml.safe_dump({**file, "deployments": [nightly]}))
    worked.must("deploy", "--prefect-file", tmp_path / "soon.yaml", "--all")

    run = worked.ended("soon", "sweep")
    assert run["auto_scheduled"]
    assert run["state_name"] == "Failed"
    told = run["state"]["message"].splitlines()
    assert told[0].endswith("2 of 4 runs failed")
    assert told[1].startswith("two: ")
    assert "'no'" in told[1]
    assert told[2].startswith("c: recipe ")
    assert "is not TOML" in told[2]
    assert len(told) == 3
    for name in ("one", "four"):
        assert {entry.state for entry in artifacts(Root(str(tmp_path / "runs" / name)))} == {"complete"}
    runs = [
        one for one in worked.runs(flow="mine") if one["parent_task_run_id"] and one["start_time"] > run["start_time"]
    ]
    assert {one["name"]: one["state_name"] for one in runs} == {
        "mine one": "Completed",
        "mine two": "Failed",
        "mine four": "Completed",
    }
