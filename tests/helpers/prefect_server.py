"""A real Prefect server on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

from flows.reporting.embedded_server import UNUSED_SERVICES

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def prefect_server(home: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Yields an environment whose processes report to it, with nothing of the user's own Prefect.

    Parameters
    ----------
    home
        Where the server keeps its database.
    settings
        Variables for the server and for all.
    """
    environment = environment_for(home, **settings)
    server, url = start(environment)
    try:
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def shared_prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """The same for all workers of pytest: the first one starts the server, the last one stops it.

    It has what the server of a run has, and no services for deployments.
    """
    users, started = folder / "users", folder / "server.json"
    users.mkdir(parents=True, exist_ok=True)
    without = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in UNUSED_SERVICES}
    user, environment = users / str(os.getpid()), environment_for(folder / "home", **without)
    with FileLock(folder / "lock"):
        user.touch()
        if not started.exists():
            server, url = start(environment)
            started.write_text(json.dumps({"pid": server.pid, "url": url}))
    server = json.loads(started.read_text())
    try:
        yield {**environment, "PREFECT_API_URL": server["url"]}
    finally:
        with FileLock(folder / "lock"):
            user.unlink()
            if not any(psutil.pid_exists(int(other.name)) for other in users.iterdir()):
                os.kill(server["pid"], signal.SIGTERM)
                started.unlink()


def environment_for(home: Path, **settings: str) -> dict[str, str]:
    """Nothing of the user's own Prefect."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return own | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(REPOSITORY),
        **settings,
    }


def start(environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and the URL of its API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{url}/health", server)
    except BaseException:
        server.terminate()
        raise
    return server, url


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the Prefect server does not answer")
