"""The Prefect server that runs along where none is configured."""

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
"""Seconds that a server may take to answer."""
_BREATH = 0.5
"""Seconds before it is started again."""
_LIVES = 5
"""Times that it may be started."""
_LOOPBACK = ("127.0.0.1", "localhost")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs past any proxy."""


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it starts so that even a killed run leaves no server behind; Linux only."""
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
    """What to say of an error that means that the user's own Prefect server is out of reach, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API at "):
        address, reason = str(error).removeprefix("Failed to reach API at ").rstrip("/"), error.__cause__
        return (
            f"Prefect's server at {address} does not answer{f' ({reason})' if reason else ''}; start it, or correct"
            " PREFECT_API_URL, or unset it and a server runs along"
        )
    return None


class EmbeddedServer:
    """One server for a whole run: all of the run's processes find it through `PREFECT_API_URL`.

    Prefect would start one by itself, but late, and one more in every process that knows of no other. This one starts
    while the run still imports and looks at its models. Its home and its database are in a temporary folder, so it
    needs nothing of the user's home and none of the user's settings. Where it is killed, it is started again on the
    same port and with the same database: a run whose server is gone would wait for it for hours.

    Raises
    ------
    UserError
        There is no folder for temporary files.
    """

    def __init__(self) -> None:
        try:
            # Cleaning up may meet a file of a server that is still ending.
            self._folder = tempfile.TemporaryDirectory(prefix="rosetta-prefect-", ignore_cleanup_errors=True)
        except OSError as error:
            raise UserError(
                f"no temporary folder can be made: {error.strerror or error}; set TMPDIR to a folder that can be"
                " written to"
            ) from None
        self.home = Path(self._folder.name)
        server_database.seed(self.home)
        self._stopped = threading.Event()
        self._process = self._start()

    @classmethod
    def unless_configured(cls) -> "EmbeddedServer | None":
        """Start one, unless the user has a Prefect API configured.

        Raises
        ------
        UserError
            There is no folder for temporary files.
        """
        from prefect.settings import get_current_settings

        return None if get_current_settings().api.url else cls.start()

    @classmethod
    def start(cls) -> "EmbeddedServer":
        """Start a server on a free port of the loopback interface; does not wait for it."""
        server = cls()
        # Registered before any of Prefect's own handlers, so it runs after them: the last log lines still arrive.
        atexit.register(server.stop)
        return server

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self.port}/api"

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start it on a port that is free now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        return self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        words = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui")
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
        """That of this process, with nothing of the user's own Prefect."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **kept,
            **without_proxy(kept),
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
            # No run uses blocks, and to register all kinds takes seconds.
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            "NO_COLOR": "1",
        }

    def _keep(self) -> None:
        """Start it again where it ends before it is told to."""
        for life in range(_LIVES):
            # Not left before the last one ends: to the system this thread is its parent.
            self._process.wait()
            if self._stopped.wait(_BREATH) or life == _LIVES - 1:
                return
            log.warning("Prefect's server ended; it is started again")
            self._process = self._spawn()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Report to it, in this process and in its children, once it answers.

        Raises
        ------
        UserError
            It does not come up, or the user's proxies are such that no client can be made.
        """
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

        self._wait()
        server_database.keep(self.home)
        threading.Thread(target=self._keep, name="prefect server", daemon=True).start()
        os.environ |= {"PREFECT_API_URL": self.url, **without_proxy(os.environ)}
        _require_client()
        # Prefect read its settings when it was imported; the environment alone would come too late.
        with temporary_settings({PREFECT_API_URL: self.url, PREFECT_HOME: self.home}):
            yield

    def _wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), _DIRECT.open(f"{self.url}/health", timeout=1):
                return
            if self._process.poll() is not None:
                if "already in use" not in self._said():
                    raise self._failure("ended as it started")
                self._process = self._start()  # another program took the port meanwhile
            time.sleep(0.05)
        raise self._failure(f"does not answer after {_PATIENCE:.0f} s")

    def _said(self) -> str:
        """The last line that it wrote."""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")

    def _failure(self, what: str) -> UserError:
        return UserError(
            f"Prefect's server {what}: {self._said()}; fix that, or set PREFECT_API_URL to a server that runs"
        )

    def stop(self) -> None:
        """End it and remove its folder."""
        self._stopped.set()
        if self._process.poll() is None:
            # The command that starts the server has children; they share its session.
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
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
