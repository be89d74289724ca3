"""Working under a root: alone, and with a word for what only the user can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta.errors import UserError
from storage.location import LASTING, Root
from storage.lock import RUN, locked


@contextmanager
def holding(root: Root, lock: str = RUN) -> Iterator[None]:
    """Hold a root, or a part of it, while something is written there.

    Raises
    ------
    UserError
        Another process holds it; or the disk is full, say, or lets nothing more be written.
    """
    try:
        with locked(root, lock):
            yield
    except OSError as error:
        if error.errno not in LASTING:
            raise
        raise UserError(
            f"{root.shown}: {LASTING[error.errno]}; mend that, and the same command goes on where it stopped"
        ) from error
