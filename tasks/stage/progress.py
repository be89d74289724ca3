"""Progress reporting, independent of the display."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from tasks.stage import workers
from tasks.stage.prefect_page import shown


class Advance(Protocol):
    """Takes how many more are done, and what there is to say of it."""

    def __call__(self, more: int, note: str = "") -> None:
        """Go on by `more`."""
        ...


Tracker = Callable[[str, int], AbstractContextManager[Advance]]
"""Takes what is being done and how many there are of it."""

log = logging.getLogger("rosetta")
log.setLevel(logging.INFO)  # Who listens sets handlers; Prefect's are set by a variable that cannot say a level.

_EVERY = 10.0
"""Seconds between two lines of a stage that is under way."""


@contextmanager
def plain_lines(title: str, total: int) -> Iterator[Advance]:
    """A line in the log at the start, every ten seconds, and at the end."""
    done, began = 0, time.monotonic()
    told = began

    def advance(more: int, note: str = "") -> None:
        nonlocal done, told
        done += more
        if time.monotonic() - told >= _EVERY and done < total:
            told = time.monotonic()
            log.info("%s: %d of %d %s", title, done, total, note)

    yield advance
    log.info("%s: %d done in %.1f s", title, total, time.monotonic() - began)


tracker: ContextVar[Tracker] = ContextVar("tracker", default=plain_lines)
"""Who listens; the command puts a progress bar here."""


@contextmanager
def track(title: str, total: int) -> Iterator[Advance]:
    """Report on `total` pieces of work under a title: to who listens, and on the page of the Prefect run, if any.

    The advance that it yields may be called from any thread.
    """
    collector = workers.current()
    with (
        tracker.get()(title, total) as tell,
        collector.stage(title, total) if collector else nullcontext() as count,
        shown(title, total, workers.on_page(collector)) as show,
    ):

        def advance(more: int, note: str = "") -> None:
            tell(more, note) if note else tell(more)
            show(more)
            if count is not None:
                count(more)

        yield advance
