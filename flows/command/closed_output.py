"""Output that nobody reads any more: `rosetta … | head` ends as other Unix commands do."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def ends_quietly() -> Iterator[None]:
    """Exit without a word, with a shell's code for SIGPIPE, once the reader of the output has closed it.

    The signal itself stays ignored, as Python has it: it would also come of sockets to stores and workers, and would
    leave the embedded server running.
    """
    try:
        try:
            yield
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # at the end of the process an error here could no longer be caught
    except BrokenPipeError as error:
        if not is_of_output(error):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(_is_closed, (sys.stdout, sys.stderr)):
            os.dup2(nowhere, stream.fileno())
        sys.exit(128 + signal.SIGPIPE)


def is_of_output(error: BaseException) -> bool:
    """Whether an error says that output went to a closed pipe, rather than to a socket, say."""
    return isinstance(error, BrokenPipeError) and any(map(_is_closed, (sys.stdout, sys.stderr)))


def _is_closed(stream: TextIO) -> bool:
    """Whether the other end of a pipe is closed. A system without `poll` has no such errors either."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no such call, no file, already closed
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
