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
    run: str = ""
    """URL of the run's root: only who listens to that run hears it."""


Take = Callable[[Report], None]
_listeners: list[tuple[str | None, Take]] = []
"""Each with the run that it listens to; None for all."""
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
        listeners = [take for run, take in _listeners if run in (None, report.run)]
    for take in listeners:
        take(report)


@contextmanager
def listening(take: Take, client: Any = None, run: str | None = None) -> Iterator[None]:
    """Have reports given to `take`, in whichever thread: of this process, or of the workers of a cluster's client.

    Parameters
    ----------
    run
        URL of the root of the only run to listen to; of all runs where none is given.
    """
    listener = run, take
    if client is not None:

        def hear(event: tuple[float, dict[str, Any]]) -> None:
            report = Report(**event[1])
            if run in (None, report.run):
                take(report)

        client.subscribe_topic(TOPIC, hear)
    else:
        with _lock:
            _listeners.append(listener)
    try:
        yield
    finally:
        if client is not None:
            with suppress(ValueError, KeyError):
                client.unsubscribe_topic(TOPIC)
        else:
            with _lock:
                _listeners.remove(listener)


@contextmanager
def relayed(client: Any, run: str | None = None) -> Iterator[None]:
    """Give what the workers of a cluster's client report to the listeners of this process, as what it does itself.

    Parameters
    ----------
    run
        As of :func:`listening`: another run of this process relays its own.
    """
    with listening(_tell, client, run):
        yield
