"""Processes of the command that are forked from one which has the large libraries in memory.

To import them takes four seconds a process, and the tests start hundreds. Prefect and this project are imported by each
process itself, as they look at its environment.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

LIBRARIES = [
    "torch", "torchvision", "timm", "scipy.stats", "pandas", "pyarrow.parquet", "xarray", "zarr", "dask", "distributed",
    "matplotlib.figure", "PIL.Image", "cyclopts", "pydantic", "fsspec", "skimage.metrics",
]  # fmt: skip


class Forked(subprocess.Popen[str]):
    """A process of the fork server, with what :class:`subprocess.Popen` has for one's own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        context = _context()
        out, out_there = context.Pipe(duplex=False)
        err, err_there = context.Pipe(duplex=False)
        # A daemon ends with the tests, even where one of them has failed to wait for it.
        self._process = context.Process(
            target=_become, args=(arguments, environment, str(Path.cwd()), out_there, err_there), daemon=True
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
    """The fork server ends with this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def _become(arguments: list[str], environment: dict[str, str], folder: str, out: Connection, err: Connection) -> None:
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
        from flows.command.main import main

        main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    finally:
        # multiprocessing leaves a process without these.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
