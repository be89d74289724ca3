"""When hooks look away.

A module may run its parts several times for one image, of which only one run is to be looked at: a diffusion model
denoises in many steps, and its maps are those of the last. It says so itself, around what is not to be looked at:

    with unseen():
        for step in early: …
    last step

One that is looked at in several steps says at which timestep each is, and runs are counted for each by itself:

    for timestep in timesteps:
        with at(timestep):
            step

Nothing is kept on the module, so that threads do not see each other's state.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from rosetta.zoo.maps.attention import Attentions

_T = TypeVar("_T")
_UNSEEN: ContextVar[bool] = ContextVar("unseen", default=False)
_REHEARSAL: ContextVar[bool] = ContextVar("rehearsal", default=False)
_TIMESTEP: ContextVar[int | None] = ContextVar("timestep", default=None)


Reached = tuple[str, int | None]
"""A module's path, and the timestep at which it runs where there are several."""


class Watch(Protocol):
    """What is told of modules while they run, by path; the runs of each at a timestep are counted from 1."""

    def before(self, path: str, run: int, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """A module is about to run on these arguments; gives those that it is to run on instead, or None."""

    def after(self, path: str, run: int, output: Any) -> Any:
        """It has put this out; gives what is to stand in its place, or None."""

    def attends(self, path: str, run: int, part: str, find: Callable[[], Tensor]) -> None:
        """It computes attention, of which this is the pattern or the heads: see
        :class:`rosetta.zoo.maps.attention.Attentions`."""


@contextmanager
def hooked(modules: Mapping[str, nn.Module], watch: Watch, attention: bool = False) -> Iterator[Counter[Reached]]:
    """Watch modules while they run inside, but for what is unseen; yields how often each has run.

    Parameters
    ----------
    attention
        Whether to watch attention, too: it is that of the innermost of the modules.
    """
    runs: Counter[Reached] = Counter()
    inside: list[str] = []

    def before(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
            if not is_seen():
                return None
            reached = path, timestep()
            runs[reached] += 1
            inside.append(path)
            return watch.before(path, runs[reached], arguments, named)

        return hook

    def after(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            if not is_seen():
                return None
            inside.pop()
            return watch.after(path, runs[path, timestep()], output)

        return hook

    def attends(part: str, find: Callable[[], Tensor]) -> None:
        if inside and is_seen():
            watch.attends(inside[-1], runs[inside[-1], timestep()], part, find)

    handles = []
    for path, module in modules.items():
        handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
        handles.append(module.register_forward_hook(after(path)))
    try:
        with Attentions(attends) if attention else nullcontext():
            yield runs
    finally:
        for handle in handles:
            handle.remove()


def is_seen() -> bool:
    """Whether hooks are to note what runs now."""
    return not _UNSEEN.get()


def timestep() -> int | None:
    """Of what runs now, where a model is looked at in several steps."""
    return _TIMESTEP.get()


def is_rehearsal() -> bool:
    """Whether a module may leave out what is unseen: the shapes of what it gives count, the values do not."""
    return _REHEARSAL.get()


@contextmanager
def _set(variable: ContextVar[_T], value: _T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def unseen() -> AbstractContextManager[None]:
    """Hooks note nothing of what runs inside, in this thread."""
    return _set(_UNSEEN, True)


def rehearsal() -> AbstractContextManager[None]:
    """What is unseen may be left out inside, in this thread."""
    return _set(_REHEARSAL, True)


def at(timestep: int | None) -> AbstractContextManager[None]:
    """What runs inside, in this thread, is one of several steps that hooks tell apart; None: the only one."""
    return _set(_TIMESTEP, timestep)
