"""`run.lock`: who works on a root. Two runs that write to one would tear each other's artifacts."""

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
"""Of a whole run; an inversion or an edit has one of its own, beside its folder."""
_BEAT = 30.0
"""Seconds between two signs of life."""
_DEAD = 600.0
"""Seconds without one after which a holder on another host counts as dead."""
_AGAIN = 2.0
"""Seconds after which one who waits looks again."""
_SETTLE = 0.2
"""Seconds after which those that came at once see which of them came last."""


@dataclass(frozen=True)
class Holder:
    """A process that holds a root."""

    host: str
    pid: int
    started: float
    """When the process started, as its system says it: a number of a process may come again."""
    since: str
    """When it took the root, UTC."""
    token: str
    """Tells two lockings of one process apart."""
    beat: float
    """Its last sign of life, seconds since 1970."""

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        started = psutil.Process().create_time()
        return cls(socket.gethostname(), os.getpid(), started, since, secrets.token_hex(8), time.time())

    @property
    def alive(self) -> bool:
        """Whether it may still be at work."""
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
    """Who holds a lock; None where no one does, or where what is written there says nothing."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**json.loads(root.read_bytes(path)))
    return None


@contextmanager
def locked(root: Root, path: str = RUN, wait: bool = False) -> Iterator[None]:
    """Hold a lock for as long as this lasts; one whose holder is dead is taken over.

    Parameters
    ----------
    wait
        Whether to wait for another holder, however long that takes.

    Raises
    ------
    UserError
        Another process holds it, and this is not to wait; says which.
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
        # A root that cannot be written any more is told of by whoever wrote to it.
        with suppress(OSError):
            if (found := holder(root, path)) is not None and found.token == mine.token:
                root.remove(path)


def _take(root: Root, path: str, mine: Holder, wait: bool) -> None:
    while True:
        if root.create(path, mine.encode()):
            # Another may have found a dead holder here a moment ago, and now take away what is no longer his.
            time.sleep(_SETTLE)
            if (found := holder(root, path)) is not None and found.token == mine.token:
                return
            continue
        found = holder(root, path)
        if found is not None and found.alive and wait:
            time.sleep(_AGAIN)
            continue
        if found is not None and found.alive:
            raise UserError(
                f"{root.shown} is in use by process {found.pid} on {found.host} since {found.since}; wait until it is "
                f"done, or remove {path} there if it is not running any more"
            )
        root.remove(path)


def _beat(root: Root, path: str, mine: Holder, over: threading.Event) -> None:
    while not over.wait(_BEAT):
        with suppress(OSError):
            if (found := holder(root, path)) is None or found.token != mine.token:
                return  # taken over, while this process was not given any time
            root.write_bytes(path, Holder(**{**asdict(mine), "beat": time.time()}).encode())
