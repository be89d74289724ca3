"""What the workers of a stage do: collected from their reports, for `rosetta status` and the page of a Prefect run."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from rosetta.view.numbers import count, duration
from storage.artifacts import workers
from storage.artifacts.catalogue import WORKERS
from storage.artifacts.workers import Process, Work, Worker
from storage.filesystem.root import Root

EVERY = 3.0
"""Seconds between two writings of the file. What takes less than this leaves none at all."""
_LATELY = 60.0
"""Seconds that a rate is over."""


class Report(Protocol):
    """What a worker says: see :class:`tasks.cluster.reports.Report`."""

    @property
    def model(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def device(self) -> str: ...
    @property
    def worker(self) -> str: ...


@dataclass
class _Seen:
    """What one worker has said."""

    last: Report
    images: int = 0
    lately: deque[tuple[float, Report]] = field(default_factory=deque)
    """With the time at which each was said."""

    def take(self, report: Report, now: float) -> None:
        self.last = report
        self.images += report.images
        self.lately.append((now, report))

    def rate(self, now: float) -> float:
        """Images per second; one from whom nothing comes for twice as long as before gets slower and slower."""
        while len(self.lately) > 1 and now - self.lately[0][0] > _LATELY:
            self.lately.popleft()
        seconds = sum(report.seconds for _, report in self.lately)
        silent = now - self.lately[-1][0]
        seconds += silent if silent > 2 * self.last.seconds else 0
        return sum(report.images for _, report in self.lately) / max(seconds, 1e-9)


class Collector:
    """Takes the reports of a run's workers, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin("", 0)

    def _begin(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._workers: dict[str, _Seen] = {}

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Collect for a piece of work, `total` images long; yields what takes how many more are done.

        A piece of another is a part of that.
        """
        with self._lock:
            is_part = bool(self._title)
            if not is_part:
                self._begin(title, total)
        if is_part:
            yield lambda more: None
            return
        try:
            yield self._advance
        finally:
            with self._lock:
                self._begin("", 0)

    def _advance(self, more: int) -> None:
        with self._lock:
            self._done += more

    def take(self, report: Report) -> None:
        """What a worker says; of none that is part of a stage it is nothing."""
        now = time.monotonic()
        with self._lock:
            if self._title:
                self._workers.setdefault(report.worker, _Seen(report)).take(report, now)

    def work(self) -> Work | None:
        """What is under way; None where no worker has said anything yet."""
        now = time.monotonic()
        with self._lock:
            seen = [
                Worker(
                    worker=worker,
                    device=one.last.device,
                    model=one.last.model,
                    images=one.images,
                    images_per_second=round(one.rate(now), 2),
                )
                for worker, one in sorted(self._workers.items())
            ]
            if not seen:
                return None
            rate, left = sum(one.images_per_second for one in seen), max(0, self._total - self._done)
            return Work(
                stage=self._title,
                done=min(self._done, self._total),
                total=self._total,
                seconds_left=round(left / rate, 1) if rate else None,
                workers=tuple(seen),
                process=Process.here(),
            )


_current: ContextVar[Collector | None] = ContextVar("workers", default=None)


def current() -> Collector | None:
    """That of the run which this is a part of."""
    return _current.get()


@contextmanager
def collecting(root: Root) -> Iterator[Collector]:
    """Collect what workers do for a run and write it under its root while a stage is under way.

    Whoever hears the workers gives what they say to :meth:`Collector.take`. A thread of its own writes, so that no one
    waits for a disk.
    """
    collector, ended = Collector(), threading.Event()
    if root.exists(WORKERS):  # of a process that was killed
        workers.remove(root)

    def write() -> None:
        written = False
        while not ended.wait(EVERY):
            if (work := collector.work()) is not None:
                workers.write(root, work)
                written = True
            elif written:
                workers.remove(root)
                written = False
        if written:
            workers.remove(root)

    thread = threading.Thread(target=write, name="workers", daemon=True)
    thread.start()
    token = _current.set(collector)
    try:
        yield collector
    finally:
        _current.reset(token)
        ended.set()
        thread.join()


def summary(work: Work) -> str:
    """How far it is, in words."""
    left = "" if work.seconds_left is None else f", about {duration(work.seconds_left)} left"
    return f"{count(work.done)} of {count(work.total)} images, {work.images_per_second:.1f} a second{left}"


def rows(work: Work) -> list[tuple[str, str, str, int, str]]:
    """Worker, device, model, images, images per second."""
    return [(one.worker, one.device, one.model, one.images, f"{one.images_per_second:.1f}") for one in work.workers]


COLUMNS = ("worker", "device", "model", "images", "images/s")


def on_page(collector: Collector | None) -> Callable[[], str]:
    """What gives all that a page shows of the workers, as Markdown; nothing where none has said anything."""
    return lambda: markdown(work) if collector is not None and (work := collector.work()) is not None else ""


def markdown(work: Work) -> str:
    """What workers do, for a page."""
    cells = [COLUMNS, ("---", "---", "---", "---:", "---:"), *rows(work)]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([summary(work), "", *lines])
