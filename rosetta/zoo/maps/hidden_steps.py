"""When hooks look away.

A module may run its parts several times for one image, of which only one run is to be looked at: a diffusion model
denoises in many steps, and its maps are those of the last. It says so itself, around what is not to be looked at:

    with unseen():
        for step in early: …
    last step

Nothing is kept on the module, so that threads do not see each other's state.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

_UNSEEN: ContextVar[bool] = ContextVar("unseen", default=False)
_REHEARSAL: ContextVar[bool] = ContextVar("rehearsal", default=False)


@contextmanager
def hooked(modules: Mapping[str, nn.Module], note: Callable[[str, Any], None]) -> Iterator[None]:
    """Note what modules put out, by path, while they run inside; not what is unseen."""

    def hook_of(path: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, output: note(path, output) if is_seen() else None

    handles = [module.register_forward_hook(hook_of(path)) for path, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_seen() -> bool:
    """Whether hooks are to note what runs now."""
    return not _UNSEEN.get()


def is_rehearsal() -> bool:
    """Whether a module may leave out what is unseen: the shapes of what it gives count, the values do not."""
    return _REHEARSAL.get()


@contextmanager
def _set(variable: ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)


def unseen() -> AbstractContextManager[None]:
    """Hooks note nothing of what runs inside, in this thread."""
    return _set(_UNSEEN)


def rehearsal() -> AbstractContextManager[None]:
    """What is unseen may be left out inside, in this thread."""
    return _set(_REHEARSAL)
