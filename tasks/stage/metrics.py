"""What a stage took: images, bytes, and where its time went. Counted beside the work, which knows nothing of it."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

from storage.filesystem.traffic import Channel, Traffic, counted


@dataclass(frozen=True)
class Metrics:
    """What a stage took. Shares are of its seconds; they overlap where threads work side by side.

    Work of a cluster's workers is theirs: here it shows as waiting.
    """

    images: int | None
    """Images that went through, or None where a stage is not about images."""
    images_per_second: float | None
    """Over the whole stage, loading its model included."""
    bytes_read: int
    """From stores, compressed."""
    bytes_written: int
    """To stores, compressed."""
    computing: float
    """Share in which a core was busy: processor seconds of this process, at most one a second."""
    forward: float
    """Share in which a model was at work."""
    reading: float
    """Share in which at least one read was under way."""
    writing: float
    """Share in which at least one write was under way."""
    waiting: float
    """Share in which no core was busy: for disk, network, a GPU, or a cluster's workers."""


@dataclass
class Meter:
    """Counts for one stage."""

    traffic: Traffic = field(default_factory=Traffic)
    """With stores."""
    forward: Channel = field(default_factory=Channel)
    """A model at work."""
    images: int | None = None
    """See :attr:`Metrics.images`."""
    _began: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=time.process_time)

    def metrics(self) -> Metrics:
        """What it has taken so far."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        computing = min(1.0, (time.process_time() - self._cpu) / seconds)

        def share(part: float) -> float:
            return round(min(1.0, part / seconds), 3)

        return Metrics(
            self.images,
            None if self.images is None else round(self.images / seconds, 3),
            self.traffic.read.bytes,
            self.traffic.written.bytes,
            round(computing, 3),
            share(self.forward.seconds),
            share(self.traffic.read.seconds),
            share(self.traffic.written.seconds),
            round(1.0 - computing, 3),
        )


_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count everything in this context, and in threads of :class:`ContextThreads`, on a new meter."""
    meter = Meter()
    here, stores = _current.set(meter), counted.set(meter.traffic)
    try:
        yield meter
    finally:
        counted.reset(stores)
        _current.reset(here)


def saw_images(count: int) -> None:
    """So many images more went through the stage."""
    if (meter := _current.get()) is not None:
        meter.images = (meter.images or 0) + count


@contextmanager
def forward() -> Iterator[None]:
    """A model at work."""
    meter = _current.get()
    with meter.forward.transfer() if meter else nullcontext():
        yield


class ContextThreads(ThreadPoolExecutor):
    """Threads that work in the context of whoever gives them work, so that its counts and its log lines are theirs."""

    def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`."""
        return super().submit(copy_context().run, work, *args, **kwargs)
