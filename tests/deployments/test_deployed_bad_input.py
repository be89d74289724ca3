"""What Prefect's own commands say of what does not fit."""

import pytest
import yaml
from prefect_server import REPOSITORY

pytestmark = pytest.mark.slow


def test_an_unknown_parameter(deployed):
    said = deployed("deployment", "run", "mine/faces", "--param", "recipes=zoo")
    assert said.returncode == 1
    assert "recipes" in said.stdout + said.stderr
    assert not deployed.runs("faces", "mine")


@pytest.mark.parametrize("parameter", ["replace=perhaps", 'changes={"images": 3}', 'recipe={"name": "faces"}'])
def test_a_parameter_that_does_not_fit_the_form(deployed, parameter):
    said = deployed("deployment", "run", "mine/faces", "--param", parameter)
    assert said.returncode == 1
    assert "alid" in said.stdout + said.stderr
    assert not deployed.runs("faces", "mine")


def test_a_schedule_that_is_no_cron(deployed, tmp_path):
    file = yaml.safe_load((REPOSITORY / "deployments/prefect.yaml").read_text())
    nightly = next(one for one in file["deployments"] if one["name"] == "nightly")
    nightly["name"] = "never"
    nightly["schedules"] = [{"cron": "at night"}]
    (tmp_path / "never.yaml").write_text(yaml.safe_dump({**file, "deployments": [nightly]}))
    said = deployed("deploy", "--prefect-file", tmp_path / "never.yaml", "--all")
    assert said.returncode == 1
    assert "cron" in (said.stdout + said.stderr).lower()
    assert "never" not in deployed.must("deployment", "ls")
