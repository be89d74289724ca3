"""What a shelf shows, as plain values."""

from collections import Counter
from dataclasses import dataclass

from rosetta.view.numbers import counted

KINDS = {"run": "runs", "join": "joins", "comparison": "comparisons", "study": "studies"}
"""What is listed: one of a kind, and several."""


@dataclass(frozen=True)
class ShelfConcept:
    """A concept of a run, as the search knows it."""

    number: int
    name: str
    """What people call it; empty where they call it nothing."""
    labels: tuple[str, ...]
    note: str
    neurons: int
    trusted: int


@dataclass(frozen=True)
class ShelfModel:
    """A model of a run, join, comparison or study, as the search knows it."""

    name: str
    zoo: str
    """What it is, in the words of the recipe."""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strip:
    """A picture on a card."""

    address: str
    alt: str
    tiles: int = 0
    """How many tiles of a sheet's first row are shown; 0 shows the whole picture."""


@dataclass(frozen=True)
class ShelfEntry:
    """A run, join, comparison or study."""

    kind: str
    """One of :data:`KINDS`."""
    name: str
    path: str
    """Where it lies, below the folder that was walked."""
    facts: tuple[str, ...] = ()
    date: str = ""
    """Day when it was finished, empty where nothing says so."""
    page: str = ""
    """Address of its page, empty where it has none."""
    problem: str = ""
    """Why it is not finished, or its page is not current."""
    command: str = ""
    """What mends that."""
    strip: Strip | None = None
    models: tuple[ShelfModel, ...] = ()
    concepts: tuple[ShelfConcept, ...] = ()


@dataclass(frozen=True)
class ShelfPage:
    """A shelf."""

    title: str
    entries: tuple[ShelfEntry, ...]

    @property
    def counts(self) -> tuple[str, ...]:
        """How many of each kind there are, in words."""
        found = Counter(entry.kind for entry in self.entries)
        return tuple(counted(found[kind], kind, several) for kind, several in KINDS.items() if found[kind])
