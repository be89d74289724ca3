"""A real Prefect server on loopback, and one small real run that many tests look at."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from filelock import FileLock
from packaged import recipe_text
from prefect_server import shared_prefect_server

from flows.command.main import main


@pytest.fixture(scope="session")
def environment(shared_folder) -> Iterator[dict[str, str]]:
    """Nothing of the user's own Prefect, and a server that all runs of the session share, whichever worker has them."""
    with shared_prefect_server(shared_folder / "prefect") as environment:
        yield environment


@pytest.fixture(scope="session")
def rosetta(environment) -> Command:
    """The command, reporting to the session's Prefect server."""
    return Command(environment)


@pytest.fixture(scope="session")
def tiny(environment) -> Command:
    """The same, which finds the tiny models."""
    tests = Path(__file__).parents[1] / "helpers"
    return Command({**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tests}"})


@pytest.fixture(scope="session")
def run(environment, shared_folder) -> tuple[Path, dict]:
    """Root of a small real run, and what the command printed of it. To be read, not changed."""
    folder = shared_folder / "run"
    printed = folder / "printed.json"
    with FileLock(shared_folder / "run.lock"):
        if not printed.exists():
            folder.mkdir(exist_ok=True)
            recipe = folder / "small.toml"
            recipe.write_text(recipe_text(folder / "root"))
            printed.write_text(json.dumps(Command(environment, fresh=True).json("mine", recipe)))
    return folder / "root", json.loads(printed.read_text())


@pytest.fixture
def here(monkeypatch, capfd):
    """The command in this process, with no server: none is needed to say what is wrong."""
    monkeypatch.setattr("flows.reporting.embedded_server.EmbeddedServer.unless_configured", lambda: None)

    def call(*arguments) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, out, err)

    return call
