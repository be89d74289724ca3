"""A real Prefect server on loopback, and one small real run that many tests look at."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from command import Command
from packaged import recipe_text

from flows.command import main


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Nothing of the user's own Prefect, and a server that all runs of the session share."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{url}/health", server)
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the Prefect server does not answer")


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
