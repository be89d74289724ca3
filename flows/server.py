"""The Prefect server that runs along where none is configured."""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from tasks.progress import log

_PR_SET_PDEATHSIG = 1
_PATIENCE = 60.0
"""Seconds that a server may take to answer."""
_BREATH = 0.5
"""Seconds before it is started again."""


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it starts so that even a killed run leaves no server behind; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, where little may be called
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_LIVES = 5
"""Times that it may be started."""


class EmbeddedServer:
    """One server for a whole run: all of the run's processes find it through `PREFECT_API_URL`.

    Prefect would start one by itself, but late, and one more in every process that knows of no other. This one starts
    while the run still imports and looks at its models. Where it is killed, it is started again on the same port and
    with the same database: a run whose server is gone would wait for it for hours.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api"
        self._stopped = threading.Event()
        self._process = self._spawn()
        threading.Thread(target=self._keep, name="prefect server", daemon=True).start()

    @classmethod
    def unless_configured(cls) -> "EmbeddedServer | None":
        """Start one, unless the user has a Prefect API configured."""
        return None if get_current_settings().api.url else cls.start()

    @classmethod
    def start(cls) -> "EmbeddedServer":
        """Start a server on a free port of the loopback interface; does not wait for it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = cls(probe.getsockname()[1])
        # Registered before any of Prefect's own handlers, so it runs after them: the last log lines still arrive.
        atexit.register(server.stop)
        return server

    def _spawn(self) -> "subprocess.Popen[bytes]":
        words = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui")
        return subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which still has to report its end
            preexec_fn=_die_with_parent(),
        )

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

        Where it does not come up, Prefect starts one of its own as it always would.
        """
        if not self._answers():
            yield
            return
        os.environ["PREFECT_API_URL"] = self.url
        # Prefect read its settings when it was imported; the environment alone would come too late.
        with temporary_settings({PREFECT_API_URL: self.url}):
            yield

    def _answers(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=1):
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        if self._process.poll() is None:
            # The command that starts the server has children; they share its session.
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
