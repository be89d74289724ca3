"""`lock.json`: who works on a root. Two runs that write to one would tear each other's artifacts."""

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
from storage.location import Root

PATH = "lock.json"
_BEAT = 30.0
"""Seconds between two signs of life."""
_DEAD = 600.0
"""Seconds without one after which a holder on another host counts as dead."""
_SETTLE = 0.2
"""Seconds after which two that took over at once see which of them came last."""


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


def holder(root: Root) -> Holder | None:
    """Who holds a root; None where no one does, or where what is written there says nothing."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**json.loads(root.read_bytes(PATH)))
    return None


@contextmanager
def locked(root: Root) -> Iterator[None]:
    """Hold a root for as long as this lasts; a lock whose holder is dead is taken over.

    Raises
    ------
    UserError
        Another process holds it; says which.
    """
    mine = Holder.here()
    _take(root, mine)
    over = threading.Event()
    pulse = threading.Thread(target=_beat, args=(root, mine, over), name="lock", daemon=True)
    pulse.start()
    try:
        yield
    finally:
        over.set()
        pulse.join()
        # A root that cannot be written any more is told of by whoever wrote to it.
        with suppress(OSError):
            if (found := holder(root)) is not None and found.token == mine.token:
                root.remove(PATH)


def _take(root: Root, mine: Holder) -> None:
    while not root.create(PATH, mine.encode()):
        found = holder(root)
        if found is not None and found.alive:
            raise UserError(
                f"{root.shown} is in use by process {found.pid} on {found.host} since {found.since}; wait until it is "
                f"done, or remove {PATH} if it is not running any more"
            )
        root.remove(PATH)
        if root.create(PATH, mine.encode()):
            time.sleep(_SETTLE)
            if (found := holder(root)) is not None and found.token == mine.token:
                return


def _beat(root: Root, mine: Holder, over: threading.Event) -> None:
    while not over.wait(_BEAT):
        with suppress(OSError):
            root.write_bytes(PATH, Holder(**{**asdict(mine), "beat": time.time()}).encode())
