"""What a user can mend, told in one line."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something outside the program is wrong and its user can put it right.

    The message is one line: it names the thing, then the remedy. The command prints it and exits with 2;
    nothing has been changed on disk by then that a corrected call could not use.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    # Prefect persists and re-raises exceptions across processes.
    def __reduce__(self) -> tuple[type["UserError"], tuple[str]]:
        return type(self), (str(self),)


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """A hint like ``; did you mean 'layer1'?``, or nothing where no known word comes near."""
    matches = get_close_matches(word, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
