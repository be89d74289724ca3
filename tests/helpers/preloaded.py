"""Processes of the command that are forked from one which has all imports behind it.

These take six seconds a process, and the tests start hundreds. Prefect reads its settings when it is imported, and here
again from the environment of each process. A test of what those settings do to an import needs a fresh process.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest import mock

PRELOADED = [
    "torch", "torchvision", "timm", "scipy.stats", "pandas", "pyarrow.parquet", "xarray", "zarr", "dask", "distributed",
    "matplotlib.figure", "PIL.Image", "skimage.metrics", "prefect", "flows.command.main", "flows.command.console",
    "flows.mine", "flows.invert", "flows.edit", "flows.trust", "flows.plan.forecast", "flows.reporting.embedded_server",
]  # fmt: skip


class Forked(subprocess.Popen[str]):
    """A process of the fork server, with what :class:`subprocess.Popen` has for one's own."""

    def __init__(self, arguments: list[str], environment: dict[str, str], plots: bool) -> None:
        context = _context()
        out, out_there = context.Pipe(duplex=False)
        err, err_there = context.Pipe(duplex=False)
        # A daemon ends with the tests, even where one of them has failed to wait for it.
        self._process = context.Process(
            target=_become, args=(arguments, environment, plots, str(Path.cwd()), out_there, err_there), daemon=True
        )
        self._process.start()
        for end in (out_there, err_there):
            end.close()
        assert self._process.pid is not None
        self.args, self.pid, self.returncode = arguments, self._process.pid, None  # type: ignore[assignment]
        self.stdin = None
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end in (out, err))
        self.text_mode, self.encoding, self.errors = True, "utf-8", "strict"
        self._input, self._communication_started = None, False
        self._sigint_wait_secs, self._child_created = 0.25, True
        self._waitpid_lock = threading.Lock()

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        self.returncode = self._process.exitcode  # type: ignore[assignment]
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        self._process.join(timeout)
        if self._internal_poll() is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode


@cache
def _context() -> ForkServerContext:
    """The fork server ends with this process. It knows nothing of the user's own Prefect."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, {**kept, "PREFECT_HOME": home}, clear=True):
        # The first process is there once all is imported.
        first = context.Process(target=_ready, daemon=True)
        first.start()
        first.join()
        assert first.exitcode == 0, "an import of the fork server failed, or left a thread"
    return context


def _ready() -> None:
    assert "flows.mine" in sys.modules
    assert threading.active_count() == 1


def _become(
    arguments: list[str], environment: dict[str, str], plots: bool, folder: str, out: Connection, err: Connection
) -> None:
    """Run the command as a process of its own would: streams, environment, folder, children and what an end does."""
    for end, descriptor in ((out, 1), (err, 2)):
        os.dup2(end.fileno(), descriptor)
        end.close()
    multiprocessing.current_process().daemon = False  # Dask starts workers from it
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    # As `python -m` has it.
    sys.path[:0] = [folder, *(entry for entry in environment.get("PYTHONPATH", "").split(":") if entry)]
    sys.argv = ["rosetta", *arguments]
    try:
        _read_prefect_settings()
        if not plots:
            _draw_nothing()
        from flows.command.main import main

        main(arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    finally:
        # multiprocessing leaves a process without these.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


def _draw_nothing() -> None:
    """Plots of pages are empty."""
    from rosetta.view.plots import svg

    empty = '<svg class="plot" role="img" viewBox="0 0 1 1"></svg>'
    svg.text = svg.drawn = lambda *_, **__: empty  # type: ignore[assignment]
    svg.files = lambda *_: {"svg": empty.encode(), "png": b""}


def _read_prefect_settings() -> None:
    """Of this environment, as if Prefect were imported now."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    from flows.command.running import quiet_prefect

    quiet_prefect()
    refresh_global_settings_context()
    setup_logging(incremental=False)
