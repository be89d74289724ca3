"""Working under a root: alone, and with a word for what only the user can mend."""

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
    """Hold a root, or a part of it, while something is written there.

    Raises
    ------
    UserError
        Another process holds it; or the disk is full, say, or lets nothing more be written; or what was written there
        is damaged.
    """
    try:
        with locked(root, lock):
            yield
    except (OSError, ValueError) as error:
        if is_damage(error):
            told = (
                f"what was written is damaged; rosetta check {root.shown} names it, and rosetta mine with --mend"
                " makes just that again"
            )
        elif isinstance(error, OSError) and error.errno in LASTING:
            told = f"{LASTING[error.errno]}; mend that, and the same command goes on where it stopped"
        else:
            raise
        raise UserError(f"{root.shown}: {told}") from error


def mend_root(root: str) -> list[Finding]:
    """Put right or take away whatever is damaged under a root; nothing where there is no run yet.

    Raises
    ------
    UserError
        Another process holds the root, or it cannot be written.
    """
    place = Root(root)
    if not place.exists(RECIPE):
        return []
    place.require_writable()
    with holding(place):
        return mend(place)
