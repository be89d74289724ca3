"""What a cluster gets, read by those who will read it: Prefect's Kubernetes worker, and a parser of Dockerfiles."""

import asyncio
import io
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from kubernetes_asyncio.client import ApiClient
from prefect.client.schemas import FlowRun
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration
from prefect_server import REPOSITORY

from rosetta.recipe import read_recipe
from rosetta.study import read_study

TEMPLATE = json.loads((REPOSITORY / "deployments/kubernetes/base-job.json").read_text())
FILES = ("deployments/prefect.yaml", "deployments/kubernetes/prefect.yaml")
DEPLOYMENTS = {
    f"{Path(file).parent.name}: {one['entrypoint'].rpartition('.')[2]}/{one['name']}": one
    for file in FILES
    for one in yaml.safe_load((REPOSITORY / file).read_text())["deployments"]
}


@pytest.fixture
def job(prefect):
    """Makes the manifest of a run's job, as Prefect's worker makes it of the template."""

    def make(**values: object) -> dict:
        configuration = asyncio.run(KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, values))
        configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="mine faces"))
        return configuration.job_manifest

    # The worker looks the blocks up that values may refer to.
    with temporary_settings({PREFECT_API_URL: prefect.environment["PREFECT_API_URL"]}):
        yield make


def as_kubernetes_reads_it(manifest: dict) -> dict:
    """The same with nothing but the fields that Kubernetes knows there."""

    async def read() -> dict:
        async with ApiClient() as client:
            answer = SimpleNamespace(data=json.dumps(manifest))
            return client.sanitize_for_serialization(client.deserialize(answer, "V1Job"))

    return asyncio.run(read())


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, {"gpus": "2", "secret": "keys", "memory_limit": "64Gi", "namespace": "vision"}])
def test_the_job_is_one_that_kubernetes_knows(job, values):
    manifest = job(**values)
    known = as_kubernetes_reads_it(manifest)
    pod = manifest["spec"]["template"]["spec"]
    # Prefect's worker puts these into every pod, where Kubernetes drops them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    assert known == manifest
    (container,) = pod["containers"]
    assert {"name": "PREFECT_LOGGING_EXTRA_LOGGERS", "value": "rosetta"} in container["env"]
    assert container["image"] == "rosetta:latest"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == values.get("gpus", "0")
    assert container["envFrom"] == [{"secretRef": {"name": values.get("secret", "rosetta-store"), "optional": True}}]
    assert pod["volumes"][0]["name"] == container["volumeMounts"][0]["name"]
    assert pod["restartPolicy"] == "Never"
    assert manifest["spec"]["backoffLimit"] == 0


def test_the_template_says_all_that_the_worker_asks_for():
    of_prefect = KubernetesWorker.get_default_base_job_template()
    ours, theirs = (template["variables"]["properties"] for template in (TEMPLATE, of_prefect))
    assert set(ours) - set(theirs) == {"gpus", "secret"}
    assert set(theirs) <= set(ours)
    assert set(TEMPLATE["job_configuration"]) == set(of_prefect["job_configuration"])
    defaults = {name: told["default"] for name, told in ours.items() if "default" in told}
    assert validate(defaults, TEMPLATE["variables"]) == []
    named = {name.strip() for name in re.findall(r"{{(.*?)}}", json.dumps(TEMPLATE["job_configuration"]))}
    assert named == set(ours)


def test_the_image_copies_what_is_there_and_runs_as_no_root():
    content = (REPOSITORY / "deployments/Dockerfile").read_bytes()
    parser = DockerfileParser(fileobj=io.BytesIO(content))
    steps = [step for step in parser.structure if step["instruction"] != "COMMENT"]
    assert [step["instruction"] for step in steps][:2] == ["FROM", "WORKDIR"]
    assert {step["instruction"] for step in steps} <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "CMD"}
    copied = {name for step in steps if step["instruction"] == "COPY" for name in step["value"].split()[:-1]}
    for name in copied:
        assert (REPOSITORY / name).exists(), name
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"deployments"} <= copied
    assert {project["project"]["readme"], *project["project"]["license-files"], "constraints.txt"} <= copied
    installs = " ".join(step["value"] for step in steps if step["instruction"] == "RUN")
    extras = re.search(r"\.\[([a-z0-9,]+)\]", installs)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])
    users = [step["value"] for step in steps if step["instruction"] == "USER"]
    pod = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert users == [str(pod["securityContext"]["runAsUser"])]
    (folder,) = (step["value"] for step in steps if step["instruction"] == "WORKDIR")
    (pull,) = yaml.safe_load((REPOSITORY / FILES[1]).read_text())["pull"]
    assert pull["prefect.deployments.steps.set_working_directory"]["directory"] == folder


@pytest.mark.slow
def test_a_server_takes_the_pool_and_its_deployments(prefect):
    template = "deployments/kubernetes/base-job.json"
    prefect.must("work-pool", "create", "rosetta-kubernetes", "--type", "kubernetes", "--base-job-template", template)
    prefect.must("deploy", "--prefect-file", FILES[1], "--all")
    listed = prefect.must("deployment", "ls")
    assert "mine/faces-on-cluster" in listed
    assert "sweep/nightly-on-cluster" in listed


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
        of_study = deployment["entrypoint"].endswith("study")
        read = read_study(REPOSITORY / recipe).recipe if of_study else read_recipe(REPOSITORY / recipe)
        assert deployment["name"].startswith(read.name)
