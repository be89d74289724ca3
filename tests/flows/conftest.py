"""A real Prefect server on loopback, and one small real run that many tests look at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaged import recipe_text
from prefect_server import prefect_server

from flows.command import main


class Command:
    """The command `rosetta` in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(self, *args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.command", *map(str, args)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*args)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def json(self, *args: object) -> dict:
        """What it prints with --json; fails the test where it fails."""
        done = self(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Nothing of the user's own Prefect, and a server that all runs of the session share."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment


@pytest.fixture(scope="session")
def rosetta(environment) -> Command:
    """The command, reporting to the session's Prefect server."""
    return Command(environment)


@pytest.fixture(scope="session")
def run(rosetta, tmp_path_factory) -> tuple[Path, dict]:
    """Root of a small real run, and what the command printed of it. To be read, not changed."""
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "small.toml"
    recipe.write_text(recipe_text(folder / "root"))
    return folder / "root", rosetta.json("mine", recipe)


@pytest.fixture
def here(monkeypatch, capfd):
    """The command in this process, with no server: none is needed to say what is wrong."""
    monkeypatch.setattr("flows.server.EmbeddedServer.unless_configured", lambda: None)

    def call(*arguments) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, out, err)

    return call
