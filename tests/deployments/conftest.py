"""A Prefect server with the deployments of the clone, and a worker that runs them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect_server import REPOSITORY, prefect_server
from tinyzoo import recipe_text

ENDED = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")


@dataclass(frozen=True)
class Prefect:
    """The command `prefect` at a clone's root, as a user has it there."""

    environment: dict[str, str]

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *map(str, words)]
        return subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )

    def must(self, *words: object) -> str:
        """What it prints; it has to succeed."""
        done = self(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *path_and_filter: Any) -> Any:
        """What the API answers to a POST."""
        import urllib.request

        path, asked = path_and_filter
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, deployment: str | None = None, flow: str | None = None) -> list[dict]:
        """The runs of a deployment or of a flow that have begun, or could have."""
        asked: dict[str, Any] = {"sort": "START_TIME_ASC"}
        if deployment is not None:
            asked["deployments"] = {"name": {"any_": [deployment]}}
        if flow is not None:
            asked["flows"] = {"name": {"any_": [flow]}}
        return self.ask("flow_runs/filter", asked)

    def ended(self, deployment: str, flow: str, seen: int = 0, within: float = 150.0) -> dict:
        """The next run of a deployment, beyond those seen, once it has ended."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            runs = [run for run in self.runs(deployment, flow) if run["state_name"] in ENDED]
            if len(runs) > seen:
                return runs[-1]
            time.sleep(0.5)
        states = [run["state_name"] for run in self.runs(deployment, flow)]
        raise AssertionError(f"no run of {flow}/{deployment} ended: {states}")

    def artifacts(self, run: dict) -> dict[str, dict]:
        """What a run left on its page, by key."""
        return {artifact["key"]: artifact for artifact in self.artifacts_of(run) if artifact["key"]}

    def artifacts_of(self, run: dict) -> list[dict]:
        """The same, those without a key among them."""
        return self.ask("artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})


@pytest.fixture(scope="session")
def prefect(tmp_path_factory) -> Iterator[Prefect]:
    """With a server of its own that looks at schedules every second."""
    with prefect_server(
        tmp_path_factory.mktemp("prefect"),
        PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="1",
        PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS="1",
        PREFECT_WORKER_QUERY_SECONDS="1",
        # The tiny models of the tests are found by the runs.
        PYTHONPATH=f"{REPOSITORY}:{REPOSITORY / 'tests' / 'helpers'}",
        # A nanny of Dask's leaves its own choice in the environment of the process that it ran in.
        OMP_NUM_THREADS="2",
        MKL_NUM_THREADS="2",
    ) as environment:
        yield Prefect(environment)


@pytest.fixture(scope="session")
def deployed(prefect) -> Prefect:
    """The pool and all deployments, by the documented commands."""
    prefect.must("work-pool", "create", "rosetta", "--type", "process")
    prefect.must("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    return prefect


@pytest.fixture(scope="session")
def worked(deployed) -> Iterator[Prefect]:
    """The same with a worker."""
    with started(deployed, "worker", "start", "--pool", "rosetta"):
        yield deployed


@contextmanager
def started(prefect: Prefect, *words: str) -> Iterator[None]:
    """A command of Prefect's that stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *words],
        env=prefect.environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # a worker that waits for a server's answer may take a minute to stop
            process.kill()
            process.wait()


@pytest.fixture
def recipe(tmp_path) -> Path:
    """A recipe that takes seconds; its root is beside it."""
    path = tmp_path / "tiny.toml"
    path.write_text(recipe_text(tmp_path / "root"))
    return path
