"""The progress of long stages on the page of a Prefect run.

Prefect is imported where it is called: workers of a cluster import this module, and nothing there is a Prefect run.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import cast
from uuid import UUID

EVERY = 3.0
"""Seconds between two updates. What takes less than this leaves no artifact at all."""
_PATIENCE = 5.0
"""Seconds that the end of a stage waits for its last update."""


@contextmanager
def shown(title: str, total: int, more: Callable[[], str] = str) -> Iterator[Callable[[int], None]]:
    """Show how far a piece of work is, where it is part of a Prefect run; yields what takes how many more are done.

    `more` gives what there is to say beside that while the work is under way, as Markdown.

    A thread of its own talks to the API. So the work never waits for it, a fault there is none of the work, and it may
    be told of progress on any thread, those with an event loop among them.
    """
    from prefect.context import FlowRunContext, TaskRunContext

    if total <= 0 or (TaskRunContext.get() is None and FlowRunContext.get() is None):
        yield lambda more: None
        return
    progress = _Progress(title, total, more)
    thread = threading.Thread(
        target=copy_context().run, args=(progress.report,), name=f"progress: {title}", daemon=True
    )
    thread.start()
    try:
        yield progress.advance
    finally:
        progress.ended.set()
        thread.join(_PATIENCE)


class _Progress:
    """How far one piece of work is, and the artifact that says so."""

    def __init__(self, title: str, total: int, more: Callable[[], str]) -> None:
        self.title, self.total, self.done, self.more = title, total, 0, more
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._artifact: UUID | None = None
        self._told: tuple[float, str] | None = None

    def advance(self, more: int) -> None:
        """Take that so many more are done."""
        with self._lock:
            self.done += more

    def report(self) -> None:
        """Tell the API now and then until the work has ended, and once more then if it has been told of it at all."""
        while not self.ended.wait(EVERY):
            self._tell()
        if self._artifact is not None:
            self._tell()

    def _tell(self) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact
        from prefect.logging import get_logger

        percent = round(min(100.0, 100.0 * self.done / self.total), 1)
        more = "" if self.ended.is_set() else self.more()
        description = f"{self.title}: {more}" if more else self.title
        if (percent, description) == self._told:
            return
        try:
            if self._artifact is None:
                # Without a key: it belongs to the page of its run, not to the list of what runs have left.
                # A thread without an event loop gets the artifact, not something to await.
                self._artifact = cast(UUID, create_progress_artifact(percent, description=description))
            else:
                update_progress_artifact(self._artifact, percent, description=description)
            self._told = percent, description
        except Exception as error:
            get_logger("rosetta").debug("the progress of %s could not be shown: %s", self.title, error)
