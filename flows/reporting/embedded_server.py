"""The embedded Prefect server, for runs without a configured one."""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.reporting import server_database
from rosetta.errors import UserError
from tasks.stage.progress import log

_PR_SET_PDEATHSIG = 1
_PATIENCE = 120.0
"""Seconds in which a server must answer."""
_BREATH = 0.5
"""Seconds before a server is restarted."""
_LIVES = 5
"""Number of times a server may be started."""
_LOOPBACK = ("127.0.0.1", "localhost")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs past any proxy."""
_SERVE = """
import gc
gc.set_threshold(100_000, 50, 50)
from uvicorn.main import main
main()
"""
"""What the server's process runs. Collecting garbage while its imports fill the memory takes a quarter of its start."""
_APPLICATION = ("--factory", "prefect.server.api.server:create_app", "--lifespan", "on", "--log-level", "error")
UNUSED_SERVICES = (
    "SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR", "TRIGGERS",
)  # fmt: skip
"""Prefect's services for deployments, workers and automations. A server that lives for one run has none of these, and
the services would go through its database every few seconds."""


def _die_with_parent() -> Callable[[], None] | None:
    """What a child calls before it starts, so that even a killed run leaves no server behind. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before the fork, where little may be called
    return None if prctl is None else lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The `no_proxy` of an environment, in both spellings, with this machine added."""
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    # A star stands for every host, but only by itself.
    if hosts != ["*"]:
        hosts += [host for host in _LOOPBACK if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def fault_of_server(error: BaseException) -> str | None:
    """The message for an error that means that the user's own Prefect server is out of reach, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API at "):
        address, reason = str(error).removeprefix("Failed to reach API at ").rstrip("/"), error.__cause__
        return (
            f"Prefect's server at {address} does not answer{f' ({reason})' if reason else ''}; start it, correct"
            " PREFECT_API_URL, or unset PREFECT_API_URL to use an embedded server"
        )
    return None


class EmbeddedServer:
    """One server for a whole run: all of the run's processes find it through `PREFECT_API_URL`.

    Prefect would start one by itself, but late, and another in every process that has no URL. This one starts while
    the run still imports and loads its models. Its home and its database are in a temporary folder, so it needs
    nothing of the user's home and none of the user's settings. If it is killed, it restarts on the same port with the
    same database, since a run without its server would wait for hours.

    Raises
    ------
    UserError
        There is no folder for temporary files.
    """

    def __init__(self) -> None:
        try:
            # A server that is still ending may leave a file behind during cleanup.
            self._folder = tempfile.TemporaryDirectory(prefix="rosetta-prefect-", ignore_cleanup_errors=True)
        except OSError as error:
            raise UserError(
                f"no temporary folder can be made: {error.strerror or error}; set TMPDIR to a writable folder"
            ) from None
        self.home = Path(self._folder.name)
        server_database.seed(self.home)
        self._stopped = threading.Event()
        self._process = self._start()

    @classmethod
    def unless_configured(cls) -> "EmbeddedServer | None":
        """Start one on a free port of the loopback interface, unless the user has a Prefect API configured.

        Does not wait for it.

        Raises
        ------
        UserError
            There is no folder for temporary files.
        """
        from prefect.settings import get_current_settings

        if get_current_settings().api.url:
            return None
        server = cls()
        # Registered before any of Prefect's own handlers, so it runs after them: the last log lines still arrive.
        atexit.register(server.stop)
        return server

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self.port}/api"

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start the server on a port that is free now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        return self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        words = ("-c", _SERVE, *_APPLICATION, "--host", "127.0.0.1", "--port", str(self.port))
        with self._log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.home,  # where Prefect finds no settings of a project
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the run, which still has to report its end
                preexec_fn=_die_with_parent(),
            )

    @property
    def _log(self) -> Path:
        return self.home / "server.log"

    def _environment(self) -> dict[str, str]:
        """The environment of this process without the user's own Prefect settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **kept,
            **without_proxy(kept),
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
            # No run uses blocks, and registering their types takes seconds.
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            "PREFECT_UI_ENABLED": "false",
            # A recipe, which is a parameter of the flow, may hold any number of prompts.
            "PREFECT_SERVER_API_MAX_PARAMETER_SIZE": "0",
            **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in UNUSED_SERVICES},
            "NO_COLOR": "1",
        }

    def _keep(self) -> None:
        """Restart the server if it ends before :meth:`stop`."""
        for life in range(_LIVES):
            # The thread stays until the last server ends, as the system takes it for the parent.
            self._process.wait()
            if self._stopped.wait(_BREATH) or life == _LIVES - 1:
                return
            log.warning("Prefect's server ended and is restarted")
            self._process = self._spawn()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Report to the server, in this process and its children, once it answers.

        Raises
        ------
        UserError
            The server does not start, or the user's proxy settings allow no client.
        """
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            PREFECT_HOME,
            temporary_settings,
        )

        self._wait()
        server_database.keep(self.home)
        threading.Thread(target=self._keep, name="prefect server", daemon=True).start()
        os.environ |= {"PREFECT_API_URL": self.url, **without_proxy(os.environ)}
        _require_client()
        # Prefect read its settings when it was imported; the environment alone would come too late. Nobody waits for
        # heartbeats, and the end of a flow would wait for their thread, up to a second.
        settings = {PREFECT_API_URL: self.url, PREFECT_HOME: self.home, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with temporary_settings(settings):
            yield

    def _wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), _DIRECT.open(f"{self.url}/health", timeout=1):
                return
            if self._process.poll() is not None:
                if "already in use" not in self._last_line():
                    raise self._failure("ended as it started")
                self._process = self._start()  # another program took the port meanwhile
            time.sleep(0.05)
        raise self._failure(f"does not answer after {_PATIENCE:.0f} s")

    def _last_line(self) -> str:
        """The last line that the server wrote."""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def _failure(self, what: str) -> UserError:
        return UserError(
            f"Prefect's server {what}: {self._last_line()}; fix that, or set PREFECT_API_URL to a server that runs"
        )

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._stopped.set()
        if self._process.poll() is None:
            # Its database goes with the folder: nothing is worth waiting for. What it has started shares its session.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()


def _require_client() -> None:
    """
    Raises
    ------
    UserError
        The HTTP client that Prefect uses refuses the proxies of the environment, even those that it would not use.
    """
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        reason = str(error).partition(". ")[0]
        raise UserError(
            f"the proxy in http_proxy, https_proxy or all_proxy cannot be used: {reason}; correct or unset it"
        ) from None
