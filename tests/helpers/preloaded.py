"""Processes of the command that are forked from one which has the large libraries in memory.

To import them takes four seconds a process, and the tests start hundreds. Prefect and this project are imported by each
process itself, as they look at its environment.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torchvision", "timm", "scipy.stats", "pandas", "pyarrow.parquet", "xarray", "zarr", "dask", "distributed",
    "matplotlib.figure", "PIL.Image", "cyclopts", "pydantic", "fsspec", "skimage.metrics",
)  # fmt: skip
_HEADER = 8


class Forked(subprocess.Popen[str]):
    """A process that another one forked, with what :class:`subprocess.Popen` has for one's own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        out, out_there = os.pipe()
        err, err_there = os.pipe()
        self._ended, ended_there = socket.socketpair()
        asked = json.dumps({"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}).encode()
        with _lock:
            loader = _loader()
            socket.send_fds(loader, [len(asked).to_bytes(_HEADER, "big")], [out_there, err_there, ended_there.fileno()])
            loader.sendall(asked)
            pid = int.from_bytes(_exactly(loader, _HEADER), "big")
        for descriptor in (out_there, err_there):
            os.close(descriptor)
        ended_there.close()
        self.args = arguments
        self.pid, self.returncode = pid, None  # type: ignore[assignment]
        self.stdin = None
        self.stdout, self.stderr = (os.fdopen(descriptor, encoding="utf-8") for descriptor in (out, err))
        self.text_mode, self.encoding, self.errors = True, "utf-8", "strict"
        self._input, self._communication_started = None, False
        self._sigint_wait_secs, self._child_created = 0.25, True
        self._waitpid_lock = threading.Lock()

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self._look(0)

    def _wait(self, timeout: float | None) -> int:
        if self._look(timeout) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._ended.settimeout(timeout)
            try:
                told = self._ended.recv(_HEADER)
            except (TimeoutError, BlockingIOError):
                return None
            assert told, "the process that forks has ended"
            self.returncode = int.from_bytes(told, "big", signed=True)
            self._ended.close()
        return self.returncode


_lock = threading.Lock()


@cache
def _loader() -> socket.socket:
    """The process that forks; it ends with this one."""
    here, there = socket.socketpair()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    subprocess.Popen([sys.executable, __file__, str(there.fileno())], pass_fds=[there.fileno()], env=environment)
    there.close()
    return here


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = connection.recv(count - len(content))
        assert more, "the process that forks has ended"
        content += more
    return content


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork whenever asked. Gives what a process that was forked is to run; None where no one asks any more."""
    ended: dict[int, socket.socket] = {}
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    watched = selectors.DefaultSelector()
    for source in (connection, wake):
        watched.register(source, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is wake:
                wake.recv(4096)
                for pid in list(ended):
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        code = os.waitstatus_to_exitcode(status)
                        ended.pop(pid).sendall(code.to_bytes(_HEADER, "big", signed=True))
                continue
            header, descriptors, *_ = socket.recv_fds(connection, _HEADER, 3)
            if not header:
                return None
            asked = json.loads(_exactly(connection, int.from_bytes(header, "big")))
            assert threading.active_count() == 1, "a process with threads is not to be forked"
            out, err, tell = descriptors
            if pid := os.fork():
                ended[pid] = socket.socket(fileno=tell)
                os.close(out)
                os.close(err)
                connection.sendall(pid.to_bytes(_HEADER, "big"))
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(err, 2)
            for descriptor in (out, err, tell):
                os.close(descriptor)
            for source in (connection, wake, woken, watched, *ended.values()):
                source.close()
            return dict(asked)


def _become(asked: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["folder"])
    # As `python -m` has it.
    sys.path[0] = asked["folder"]
    sys.path[1:1] = [folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]
    sys.argv = ["rosetta", *asked["arguments"]]
    from flows.command.main import main

    main()


if __name__ == "__main__":
    import gc
    import importlib

    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # else every process copies what it collects
    if (wanted := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(wanted)
