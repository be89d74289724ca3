"""The server that runs along: past any proxy, with a home of its own, and a line where it does not come up."""

import os
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from command import Command, refused
from prefect.settings import Settings, get_current_settings
from tinyzoo import recipe_text

from flows.reporting.embedded_server import EmbeddedServer, fault_of_server, without_proxy
from rosetta.errors import UserError

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
FAKE = """
import http.server, os, pathlib, sys
home, port = pathlib.Path(os.environ["PREFECT_HOME"]), int(sys.argv[sys.argv.index("--port") + 1])
home.joinpath("environment").write_text(repr(dict(os.environ)) + os.getcwd())
{before}
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
main = http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever
"""


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of the loopback interface that nobody listens on and no one else can get."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Starts a server that is a few lines of Python, which may do something before."""
    for name in [*PROXIES, *map(str.upper, PROXIES), "no_proxy", "NO_PROXY", "PREFECT_API_URL"]:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    servers: list[EmbeddedServer] = []

    def start(before: str = "") -> EmbeddedServer:
        package = tmp_path / "path" / "uvicorn"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "main.py").write_text(FAKE.format(before=before))
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        servers.append(EmbeddedServer())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    "given", ["", "example.org", "example.org, 10.0.0.1", "localhost", "127.0.0.1,localhost", "*", ".internal"]
)
@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
def test_this_machine_is_reached_past_a_proxy_and_all_else_as_before(monkeypatch, given, spelling):
    asked = ["127.0.0.1:4200", "localhost", "example.org", "x.internal", "10.0.0.1", "s3.amazonaws.com"]
    before = urllib.request.proxy_bypass_environment
    old = {host: bool(before(host, {"no": given})) for host in asked}
    told = without_proxy({spelling: given})
    for proxies in told.values():
        new = {host: bool(before(host, {"no": proxies})) for host in asked}
        assert new == {**old, "127.0.0.1:4200": True, "localhost": True}
    # And as httpx reads it, with which Prefect speaks to its server.
    for name, value in {"http_proxy": "http://proxy:9", **told}.items():
        monkeypatch.setenv(name, value)
    with httpx.Client() as client:
        direct = client._transport_for_url(httpx.URL("http://127.0.0.1:4200/api"))
        assert direct is client._transport


@pytest.mark.parametrize("name", [*PROXIES, *map(str.upper, PROXIES)])
def test_no_proxy_stands_between_a_run_and_its_server(started, closed_port, monkeypatch, name):
    monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    server = started()
    with server.in_use():
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert os.environ["PREFECT_API_URL"] == server.url == get_current_settings().api.url


def test_a_proxy_that_prefects_client_cannot_use_is_named(started, monkeypatch):
    monkeypatch.setenv("all_proxy", "gopher://127.0.0.1:9")
    with pytest.raises(UserError, match=r"all_proxy cannot be used.*gopher"), started().in_use():
        pass


def test_it_has_a_home_of_its_own_and_nothing_of_the_users(started, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql://elsewhere")
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    (tmp_path / "file").write_text("not a folder")
    server = started()
    with server.in_use():
        assert get_current_settings().home == server.home
        told = (server.home / "environment").read_text()
    assert "elsewhere" not in told
    assert "PREFECT_PROFILE" not in told
    assert told.endswith(f"}}{server.home.resolve()}")
    server.stop()
    assert not server.home.exists()


def test_it_runs_no_service_that_only_deployments_need(started, monkeypatch):
    server = started()
    for name, value in server._environment().items():
        monkeypatch.setenv(name, value)
    services = Settings().server.services
    unused = (services.scheduler, services.late_runs, services.foreman, services.pause_expirations)
    unused += (services.cancellation_cleanup, services.repossessor, services.triggers)
    assert not any(service.enabled for service in unused)
    assert services.task_run_recorder.enabled  # makes task runs of events
    with server.in_use():
        assert get_current_settings().flows.heartbeat_frequency is None  # the end of a flow would wait for them
    server.stop()


def test_its_tables_are_made_by_the_first_alone(started):
    made = """
import sqlite3
first = not (home / "prefect.db").exists()
(home / "first").write_text(str(first))
if first:
    with sqlite3.connect(home / "prefect.db") as database:
        database.execute("CREATE TABLE alembic_version AS SELECT 1")
"""
    told = []
    for _ in range(2):
        server = started(made)
        with server.in_use():
            told.append((server.home / "first").read_text())
    assert told == ["True", "False"]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("sys.exit('no such table: flow_run')", "no such table: flow_run"),
        ("raise PermissionError(13, 'Permission denied', '/var/lib')", "PermissionError: .*Permission denied"),
        ("print('one\\n\\n  unable to open database file  \\n'); sys.exit(1)", "unable to open database file;"),
        ("os._exit(0)", "no output"),
    ],
)
def test_one_that_ends_as_it_starts_is_a_line_within_seconds(started, before, words):
    began = time.monotonic()
    server, wanted = started(before), f"Prefect's server ended as it started: .*{words}"
    with pytest.raises(UserError, match=wanted) as refusal, server.in_use():
        pytest.fail("there is no server")
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - began < 20


def test_one_that_does_not_answer_is_a_line(started, monkeypatch):
    server = started("print('waiting', flush=True); import time; time.sleep(60)")
    while not (server.home / "server.log").read_text():
        time.sleep(0.01)
    monkeypatch.setattr("flows.reporting.embedded_server._PATIENCE", 0.1)
    with pytest.raises(UserError, match=r"does not answer after 0 s: waiting"), server.in_use():
        pytest.fail("there is no server")


def test_a_port_that_was_taken_meanwhile_is_given_up(started):
    server = started(
        "taken = home / 'taken'\n"
        "if not taken.exists():\n    taken.write_text(str(port)); sys.exit(f'Port {port} is already in use.')"
    )
    first = server.port
    with server.in_use():
        assert (server.home / "taken").read_text() == str(first)
        assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200


def test_one_that_is_killed_comes_back_at_the_same_address(started, monkeypatch):
    monkeypatch.setattr("flows.reporting.embedded_server._BREATH", 0.01)
    server = started()
    with server.in_use():
        url, first = server.url, server._process.pid
        psutil.Process(first).kill()
        deadline = time.monotonic() + 20
        while server._process.pid == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server._wait()
        assert server.url == url


def test_no_place_for_temporary_files_is_a_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(UserError, match="no temporary folder can be made: Not a directory; set TMPDIR"):
        EmbeddedServer()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "file")])
    with pytest.raises(UserError, match="no temporary folder can be made: No usable temporary directory"):
        EmbeddedServer()


def test_other_faults_are_not_taken_for_the_servers():
    assert fault_of_server(RuntimeError("Failed to reach a conclusion")) is None
    assert fault_of_server(ValueError("Failed to reach API at http://127.0.0.1:4200/api/")) is None


@pytest.fixture
def alone(tmp_path) -> dict[str, str]:
    """An environment with no server, and a home that is not the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    tests = Path(__file__).parents[2]
    return {**kept, "PYTHONPATH": f"{tests.parent}:{tests / 'helpers'}", "PREFECT_HOME": str(tmp_path / "home")}


@pytest.fixture
def recipe(tmp_path) -> Path:
    """Of tiny models."""
    path = tmp_path / "tiny.toml"
    path.write_text(recipe_text(tmp_path / "root"))
    return path


@pytest.mark.parametrize("profile", ["active = [", 'active = "x"\n[profiles.x]\nPREFECT_API_URL = ["a"]\n'])
def test_settings_that_prefect_cannot_read_are_a_line(alone, tmp_path, recipe, profile):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").write_text(profile)
    refused(Command(alone, fresh=True)("mine", recipe), "Prefect's settings cannot be read", "profiles.toml")
    assert not (tmp_path / "root").exists()


@pytest.mark.slow
def test_a_server_of_the_users_own_that_is_away_is_a_line(alone, recipe, closed_port, tmp_path):
    (tmp_path / "home").mkdir()
    profile = f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "http://127.0.0.1:{closed_port}/api"\n'
    (tmp_path / "home" / "profiles.toml").write_text(profile)
    done = Command(alone, fresh=True)("mine", recipe)
    refused(done, f"server at http://127.0.0.1:{closed_port}/api does not answer", "PREFECT_API_URL")


@pytest.mark.slow
def test_a_run_behind_a_proxy_with_a_home_that_cannot_be_written_to(alone, recipe, closed_port, tmp_path):
    (tmp_path / "file").touch()
    behind = dict.fromkeys([*PROXIES, *map(str.upper, PROXIES)], f"http://127.0.0.1:{closed_port}")
    unwritable = {"PREFECT_HOME": str(tmp_path / "file" / "home"), "HOME": str(tmp_path / "file")}
    (tmp_path / "tmp").mkdir()
    command = Command({**alone, **behind, **unwritable, "TMPDIR": str(tmp_path / "tmp")}, fresh=True)
    done = command("mine", recipe, "--set", "compute.cluster=local")
    assert done.returncode == 0, done.stderr
    assert "Rosetta neurons" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("rosetta")] == []
