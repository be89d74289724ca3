"""What a cluster gets, read by those who will read it: Prefect's Kubernetes worker, and a parser of Dockerfiles."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration, KubernetesWorkerVariables
from prefect_server import REPOSITORY

from rosetta.recipe import read_recipe

TEMPLATE = json.loads((REPOSITORY / "deployments/kubernetes/base-job.json").read_text())
FILES = ("deployments/prefect.yaml", "deployments/kubernetes/prefect.yaml")
DEPLOYMENTS = {
    f"{Path(file).parent.name}: {one['entrypoint'].rpartition('.')[2]}/{one['name']}": one
    for file in FILES
    for one in yaml.safe_load((REPOSITORY / file).read_text())["deployments"]
}


async def job(**values: object) -> dict:
    """The manifest of a run's job."""
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, values)
    return configuration.job_manifest


async def test_of_defaults() -> None: ...


@pytest.mark.parametrize("file", FILES)
def test_prefect_reads_the_file(file):
    PrefectYamlModel.model_validate(yaml.safe_load((REPOSITORY / file).read_text()))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_parameters_fit_the_form_of_their_flow(name):
    deployment = DEPLOYMENTS[name]
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    schema = parameter_schema(flow.fn).model_dump()
    for parameter, told in schema["properties"].items():
        assert told.get("description"), parameter
    assert validate(deployment["parameters"], schema) == []
    flow.validate_parameters(deployment["parameters"])
    assert set(deployment["parameters"]) <= set(schema["properties"])
    assert "rosetta" in deployment["tags"]
    if recipe := deployment["parameters"].get("recipe"):
        assert read_recipe(REPOSITORY / recipe).name == "faces"
