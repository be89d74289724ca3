"""What the page of a join shows, as plain values."""

from dataclasses import dataclass

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table with a heading and a note."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: Rows
    words: int = 1
    """Columns that hold words, from the left; the others hold numbers."""
    note: str = ""


@dataclass(frozen=True)
class Side:
    """One generator's unit of a concept."""

    generator: str
    unit: str
    """Layer and channel."""
    picture: str
    """A strip of two rows: its top images, and these under its maps."""
    images: tuple[str, ...]
    """Captions of the columns."""
    home: str = ""
    """Address of the run's own page; empty where that cannot be named."""


@dataclass(frozen=True)
class JoinConcept:
    """One concept, by its strongest neuron."""

    number: int
    facts: tuple[str, ...]
    trusted: bool
    verdict: str
    """Why it is trusted, or is not."""
    sides: tuple[Side, ...]
    links: Rows
    """One a generator and pivot, as :data:`LINK_COLUMNS` says."""


LINK_COLUMNS = ("through", "unit", "r with the first", "r with the other", "strength", "by chance", "found alone", "p")
"""Of :attr:`JoinConcept.links`."""


@dataclass(frozen=True)
class JoinPage:
    """A join."""

    title: str
    lede: str
    concepts: tuple[JoinConcept, ...]
    left_out: int
    """Concepts that are in the tables alone."""
    tables: tuple[Table, ...]
    settings: tuple[tuple[str, str], ...]
    fingerprint: str
    command: str
