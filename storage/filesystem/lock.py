"""`run.lock`: which process works on a root. Two runs that write to one root would damage each other's artifacts."""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import psutil

from rosetta.errors import UserError
from storage.filesystem.root import Root

RUN = "run.lock"
"""Of a whole run."""
_BEAT = 30.0
"""Seconds between two heartbeats."""
_DEAD = 600.0
"""Seconds without a heartbeat after which a holder on another host counts as dead."""
_AGAIN = 2.0
"""Seconds between two looks at a lock that another process holds."""
_SETTLE = 0.2
"""Seconds to wait before deciding which of several simultaneous attempts won."""


def lock_of(path: str) -> str:
    """The lock of one artifact: of an inversion or edit, or of a shared store. It lies beside it."""
    return f"{path}.lock"


@dataclass(frozen=True)
class Holder:
    """A process that holds a root."""

    host: str
    pid: int
    started: float
    """When the process started, by its system: process ids are used again."""
    since: str
    """When it took the lock, UTC."""
    token: str
    """Distinguishes two locks of one process."""
    beat: float
    """Its last heartbeat, seconds since 1970."""

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        started = psutil.Process().create_time()
        return cls(socket.gethostname(), os.getpid(), started, since, secrets.token_hex(8), time.time())

    @property
    def alive(self) -> bool:
        """Whether it may still be running."""
        if self.host != socket.gethostname():
            return time.time() - self.beat < _DEAD
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1.0
        except psutil.NoSuchProcess:
            return False

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def holder(root: Root, path: str = RUN) -> Holder | None:
    """Who holds a lock; None where no one does, or where the file is not readable."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**json.loads(root.read_bytes(path)))
    return None


@contextmanager
def locked(root: Root, path: str = RUN, wait: bool = False) -> Iterator[None]:
    """Hold a lock while the context lasts; a lock whose holder is dead is taken over.

    Parameters
    ----------
    wait
        Whether to wait for another holder, without a limit.

    Raises
    ------
    UserError
        Another process holds it, and `wait` is not set; names the process.
    """
    mine = Holder.here()
    _take(root, path, mine, wait)
    over = threading.Event()
    pulse = threading.Thread(target=_beat, args=(root, path, mine, over), name="lock", daemon=True)
    pulse.start()
    try:
        yield
    finally:
        over.set()
        pulse.join()
        # If the root can no longer be written, whoever wrote to it reports that.
        with suppress(OSError):
            if (found := holder(root, path)) is not None and found.token == mine.token:
                root.remove(path)


def _take(root: Root, path: str, mine: Holder, wait: bool) -> None:
    while True:
        if root.create(path, mine.encode()):
            # Another process may have found a dead holder here a moment ago, and remove this lock in its place.
            time.sleep(_SETTLE)
            if (found := holder(root, path)) is not None and found.token == mine.token:
                return
            continue
        found = holder(root, path)
        if found is None or not found.alive:
            root.remove(path)
        elif wait:
            time.sleep(_AGAIN)
        else:
            raise UserError(
                f"{root.shown} is in use by process {found.pid} on {found.host} since {found.since}; wait until it is "
                f"done, or remove {path} there if it is no longer running"
            )


def _beat(root: Root, path: str, mine: Holder, over: threading.Event) -> None:
    while not over.wait(_BEAT):
        with suppress(OSError):
            if (found := holder(root, path)) is None or found.token != mine.token:
                return  # taken over, while this process was suspended
            root.write_bytes(path, Holder(**{**asdict(mine), "beat": time.time()}).encode())
