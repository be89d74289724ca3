"""`workers.json`: what each worker of the stage under way does. It is written anew every few seconds and removed in the
end; what is finished does not depend on it.
"""

from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, Field

from rosetta.strict import Strict
from storage.artifacts.catalogue import WORKERS
from storage.filesystem.lock import Holder, holder
from storage.filesystem.root import Root


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds signs that cannot be printed")
    return text


_Text = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Worker(Strict):
    """One worker of a stage."""

    worker: _Text
    """Its address, or `this process`."""
    device: _Text
    """Kind and name of the device that its model runs on."""
    model: _Text
    """That it runs."""
    images: _Count
    """That it has seen in this stage, once for each model."""
    images_per_second: _Number
    """Over the last minute or so."""


class Process(Strict):
    """The process that runs the stage."""

    host: _Text
    pid: _Count
    started: _Number
    """Seconds since 1970, by its system: process ids are used again."""

    @classmethod
    def here(cls) -> "Process":
        """This one."""
        this = Holder.here()
        return cls(host=this.host, pid=this.pid, started=this.started)

    def is_that_of(self, lock: Holder) -> bool:
        """Whether it holds a lock."""
        return (self.host, self.pid) == (lock.host, lock.pid) and abs(self.started - lock.started) < 1


class Work(Strict):
    """What is under way."""

    stage: _Text
    """Its title, `dump ada`."""
    done: _Count
    """Images, once for each model."""
    total: _Count
    """Of how many."""
    seconds_left: _Number | None
    """At the rate of all workers; None where nothing was seen lately."""
    workers: tuple[Worker, ...]
    process: Process

    @property
    def images_per_second(self) -> float:
        """Of all workers."""
        return sum(worker.images_per_second for worker in self.workers)


def write(root: Root, work: Work) -> None:
    """Say it; a disk that takes it not is for those to tell of who write what lasts."""
    with suppress(OSError):
        root.write_bytes(WORKERS, work.model_dump_json().encode())


def remove(root: Root) -> None:
    """Of a stage that has ended."""
    with suppress(OSError):
        root.remove(WORKERS)


def under_way(root: Root) -> Work | None:
    """What the process does that holds a root; None where there is none, or it has not said so."""
    lock = holder(root)
    if lock is None or not lock.alive:
        return None
    with suppress(OSError, ValueError, RecursionError):
        work = Work.model_validate_json(root.read_bytes(WORKERS))
        return work if work.process.is_that_of(lock) else None
    return None
