"""What workers say of their progress while a task is under way: to this process, wherever they are."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

TOPIC = "rosetta-report"
"""Of the events of a cluster's workers."""


@dataclass(frozen=True)
class Report:
    """Some images that a worker has seen through a model."""

    model: str
    images: int
    seconds: float
    """That they took."""
    device: str
    """Kind and name of the device that the model ran on."""
    worker: str = "this process"
    """Address of the worker."""


Take = Callable[[Report], None]
_listeners: list[Take] = []
_lock = threading.Lock()


def report(report: Report) -> None:
    """Say it: as an event of the cluster's worker that this is, else to the listeners of this process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):
            worker = get_worker()
            worker.log_event(TOPIC, {**asdict(report), "worker": worker.address})
            return
    _tell(report)


def _tell(report: Report) -> None:
    with _lock:
        listeners = list(_listeners)
    for take in listeners:
        take(report)


@contextmanager
def listening(take: Take, client: Any = None) -> Iterator[None]:
    """Have reports given to `take`, in whichever thread: of this process, or of the workers of a cluster's client."""
    if client is not None:
        client.subscribe_topic(TOPIC, lambda event: take(Report(**event[1])))
    else:
        with _lock:
            _listeners.append(take)
    try:
        yield
    finally:
        if client is not None:
            with suppress(ValueError, KeyError):
                client.unsubscribe_topic(TOPIC)
        else:
            with _lock:
                _listeners.remove(take)


@contextmanager
def relayed(client: Any) -> Iterator[None]:
    """Give what the workers of a cluster's client report to the listeners of this process, as what it does itself."""
    with listening(_tell, client):
        yield
