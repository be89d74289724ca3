"""What the page of a comparison shows, as plain values."""

from dataclasses import dataclass

from rosetta.view.join.contents import Side, Table


@dataclass(frozen=True)
class MatchedConcept:
    """A concept of the first run beside its partner in the second."""

    number: int
    """In the first run."""
    title: str
    facts: tuple[str, ...]
    sides: tuple[Side, ...]
    """One a run."""


@dataclass(frozen=True)
class Alone:
    """Concepts of one run that have no partner."""

    sides: tuple[Side, ...]
    left_out: int
    """How many are in the table alone."""


@dataclass(frozen=True)
class ComparePage:
    """A comparison."""

    title: str
    headline: str
    """How many neurons stay."""
    second: str
    """What else there is to say in a sentence or two."""
    anchor: str
    tables: tuple[Table, ...]
    scatter: str
    """The strengths of both runs as SVG, which goes below the table `strengths`; empty where there are none."""
    scatter_note: str
    concepts: tuple[MatchedConcept, ...]
    left_out: int
    """Matched concepts that are in the table alone."""
    left: Alone
    """Of the first run."""
    came: Alone
    """Of the second run."""
    settings: tuple[tuple[str, str], ...]
    fingerprint: str
    command: str
