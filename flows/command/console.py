"""Progress of the command: bars on a terminal, plain lines elsewhere, nothing from other programs."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.stage.logs import AboutFilter, formatter, wants_json
from tasks.stage.progress import Advance, log, tracker


@contextmanager
def narrated() -> Iterator[None]:
    """Show progress on standard error for as long as this lasts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    handler.addFilter(AboutFilter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    console = Console(stderr=True)
    try:
        with _bars(console) if console.is_terminal and not wants_json() else nullcontext():
            yield
    finally:
        log.removeHandler(handler)


@contextmanager
def unheard() -> Iterator[None]:
    """Silence the log for as long as this lasts, for checks that run a second time with the log on."""
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # also silences its children, which disabling the logger would not
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _bars(console: Console) -> Iterator[None]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )

    @contextmanager
    def bar(title: str, total: int) -> Iterator[Advance]:
        task = progress.add_task(title, total=total, note="")

        def advance(more: int, note: str = "") -> None:
            progress.update(task, advance=more, note=note)

        yield advance

    token = tracker.set(bar)
    try:
        with progress:
            yield
    finally:
        tracker.reset(token)
