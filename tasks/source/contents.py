"""What is found in a file that holds many images."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tasks.source.file_list import Files

LINK, OUTSIDE, REPLACED, BESIDE = (
    "links inside a tar, which are not followed",
    "members whose names lead out of their tar",
    "members that a later one of the same name replaces",
    "images beside the one that has its sample's name alone",
)
"""Why members are left out."""

_HIDDEN = frozenset({"thumbs.db", "desktop.ini"})
"""Files that a system writes beside pictures, in lower case; others begin with a dot."""


class BadDatasetError(Exception):
    """A file of many images that is damaged as a whole, or that cannot be read here."""

    def __init__(self, source: str, reason: str, remedy: str = "copy it again, or name only the others") -> None:
        super().__init__(f"{source} {reason}; {remedy}")


@dataclass
class Contents:
    """The images of a file, and what was not taken."""

    files: Files = field(default_factory=lambda: Files.of(()))
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Names, by why they were left out."""
    hidden: list[str] = field(default_factory=list)
    """Names of members that no one means, see :func:`is_hidden`."""
    others: Counter[str] = field(default_factory=Counter)
    """By suffix: files that are neither images nor labels."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is one that systems leave beside those that a person means."""
    return name.startswith(".") or name.lower() in _HIDDEN
