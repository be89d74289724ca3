"""When hooks look away.

A module may run its parts several times for one image, of which only one run is to be looked at: a diffusion model
denoises in many steps, and its maps are those of the last. It says so itself, around what is not to be looked at:

    with unseen():
        for step in early: …
    last step

Nothing is kept on the module, so that threads do not see each other's state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_UNSEEN: ContextVar[bool] = ContextVar("unseen", default=False)
_REHEARSAL: ContextVar[bool] = ContextVar("rehearsal", default=False)


def is_seen() -> bool:
    """Whether hooks are to note what runs now."""
    return not _UNSEEN.get()


def is_rehearsal() -> bool:
    """Whether a module may leave out what is unseen: the shapes of what it gives count, the values do not."""
    return _REHEARSAL.get()


@contextmanager
def unseen() -> Iterator[None]:
    """Hooks note nothing of what runs inside, in this thread."""
    token = _UNSEEN.set(True)
    try:
        yield
    finally:
        _UNSEEN.reset(token)


@contextmanager
def rehearsal() -> Iterator[None]:
    """What is unseen may be left out inside, in this thread."""
    token = _REHEARSAL.set(True)
    try:
        yield
    finally:
        _REHEARSAL.reset(token)
