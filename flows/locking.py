"""Locks a root while something is written there, and turns faults that only the user can fix into one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta.errors import UserError
from storage.artifacts.provenance import RECIPE
from storage.filesystem.lock import RUN, locked
from storage.filesystem.root import LASTING, Root
from storage.upkeep.check import Finding, is_damage
from storage.upkeep.mend import mend


@contextmanager
def holding(root: Root, lock: str = RUN) -> Iterator[None]:
    """Lock a root, or a part of it, while something is written there.

    Raises
    ------
    UserError
        Another process has the lock, the disk is full or became read-only, or an artifact is damaged.
    """
    try:
        with locked(root, lock):
            yield
    except (OSError, ValueError) as error:
        if is_damage(error):
            reason = (
                f"an artifact is damaged; rosetta check {root.shown} names it, and rosetta mine with --mend rebuilds"
                " only that"
            )
        elif isinstance(error, OSError) and error.errno in LASTING:
            reason = f"{LASTING[error.errno]}; fix that, and the same command resumes"
        else:
            raise
        raise UserError(f"{root.shown}: {reason}") from error


def mend_root(root: str) -> list[Finding]:
    """Repair or remove whatever is damaged under a root; nothing where there is no run yet.

    Raises
    ------
    UserError
        Another process has the lock, or the root cannot be written.
    """
    place = Root(root)
    if not place.exists(RECIPE):
        return []
    place.require_writable()
    with holding(place):
        return mend(place)
