"""Runs that a command takes together, by their roots, and the root where its result goes."""

from collections import Counter
from collections.abc import Sequence

from rosetta.errors import UserError
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import COMPARISON_RECORD, JOIN_RECORD, RECIPE, STUDY_RECORD
from storage.filesystem.root import Root

RECORDS = {"run": RECIPE, "join": JOIN_RECORD, "comparison": COMPARISON_RECORD, "study": STUDY_RECORD}
"""By what a root can hold: the file that says so."""


def require_distinct(roots: Sequence[str], remedy: str) -> None:
    """
    Raises
    ------
    UserError
        A root stands twice; `remedy` ends the line.
    """
    absolute = [Root(root).absolute.url for root in roots]
    for root, where in zip(roots, absolute, strict=True):
        if absolute.count(where) > 1:
            raise UserError(f"{root} stands twice; {remedy}")


def root_of_its_own(url: str, record: Artifact) -> Root:
    """Where a result of several runs goes.

    Parameters
    ----------
    record
        The record of such a result.

    Raises
    ------
    UserError
        Something else lies there, such as a run.
    """
    place = Root(url)
    (mine,) = (kind for kind, row in RECORDS.items() if row is record)
    for kind, row in RECORDS.items():
        if kind != mine and place.exists(row.path()):
            raise UserError(f"root {place.shown} holds a {kind}; give the {mine} a root of its own")
    return place


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, numbered where several are one: `faces-1`, `faces-2`."""
    several = Counter(names)
    return tuple(f"{name}-{place}" if several[name] > 1 else name for place, name in enumerate(names, 1))
