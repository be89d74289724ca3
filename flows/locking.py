"""Exclusive work under a root, and the errors that only the user can fix."""

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta.errors import UserError
from storage.artifacts.provenance import RECIPE
from storage.filesystem.lock import RUN, locked
from storage.filesystem.root import LASTING, Root
from storage.upkeep.check import Finding, is_damage
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.mend import mend


@contextmanager
def holding(root: Root, lock: str = RUN, *, upgrade: bool = False) -> Iterator[None]:
    """Lock a root, or a part of it, while something is written there.

    Parameters
    ----------
    upgrade
        Whether an upgrade may be under way there.

    Raises
    ------
    UserError
        Another process holds the lock, an upgrade was cut short, the disk is full or read-only, or an artifact is
        damaged.
    """
    try:
        with locked(root, lock):
            if not upgrade:
                require_no_upgrade(root)
            yield
    except (OSError, ValueError) as error:
        if is_damage(error):
            reason = (
                f"an artifact is damaged; rosetta check {root.shown} names it, rosetta mine RECIPE --mend rebuilds it"
            )
        elif isinstance(error, OSError) and error.errno in LASTING:
            reason = f"{LASTING[error.errno]}; fix that and run the same command again to resume"
        else:
            raise
        raise UserError(f"{root.shown}: {reason}") from error


def mend_root(root: str) -> list[Finding]:
    """Repair or remove whatever is damaged under a root. Does nothing where no run is.

    Raises
    ------
    UserError
        Another process holds the lock, or the root cannot be written.
    """
    place = Root(root)
    if not place.exists(RECIPE):
        return []
    place.require_writable()
    with holding(place, upgrade=True):
        return mend(place)
