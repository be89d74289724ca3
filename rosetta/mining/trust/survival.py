"""How many matches, neurons or concepts pass each test of trust."""

from typing import Any

import pandas as pd

from rosetta.mining.trust.tests import passing, unasked
from rosetta.recipe import Trust

Counts = dict[str, int | None]
"""Test → how many pass it, and last `trusted`: how many pass them all; None for a test that none could be put to."""


def surviving(frame: pd.DataFrame, settings: Trust, groups: "pd.Series[Any]") -> pd.DataFrame:
    """(group, test) how many rows of each group pass each test, and last `trusted`; missing where none was put to it.

    Parameters
    ----------
    frame
        Rows with the columns of the tests. Where it says `trusted`, that decides: the run may be older than a test.
    groups
        (row,) what each row belongs to.
    """
    passes = passing(frame, settings)
    if "trusted" in frame:
        passes["trusted"] = frame["trusted"].to_numpy(bool)
    counts = pd.DataFrame(passes, frame.index).groupby(groups).sum().astype("Int64")
    blank = pd.DataFrame(unasked(frame), frame.index).groupby(groups).all()
    return counts.mask(blank.assign(trusted=False))


def in_all(frame: pd.DataFrame, settings: Trust) -> Counts:
    """How many of all rows pass each test."""
    return totals(surviving(frame, settings, pd.Series(0, index=frame.index)))


def totals(counts: pd.DataFrame) -> Counts:
    """Over all groups, what :func:`surviving` counts in each."""
    return {
        str(test): None if len(counts) and column.isna().all() else int(column.sum()) for test, column in counts.items()
    }
