"""The first table of the page about trust: what the tests leave, model by model."""

from dataclasses import dataclass

import numpy as np

from rosetta.mining.trust.tests import TESTS, TrustTest, asked, passing, unasked
from rosetta.recipe import Trust
from rosetta.view.numbers import count, counted
from rosetta.view.trust.contents import Flags, Matches


@dataclass(frozen=True)
class Cell:
    """How many of a model's matches pass."""

    count: int
    share: float


@dataclass(frozen=True)
class Summary:
    """A column per model, a row per test."""

    models: list[tuple[str, bool]]
    """Name and whether it is a control; controls last."""
    matches: list[int]
    """By model."""
    asked: list[tuple[TrustTest, list[Cell | None]]]
    """Tests that decide, with a cell per model; None where the test could not be made."""
    trusted: list[Cell]
    others: list[tuple[TrustTest, list[Cell | None]]]
    """Tests that are reported beside them."""
    note: str
    """Which test is the only one that matches fail, and how many could not be put to all."""


def summary(matches: Matches, settings: Trust) -> Summary:
    """Count what survives each test, and all that decide."""
    passes, blank = passing(matches, settings), unasked(matches)
    of = np.array([str(name) for name in matches["model_b"]], dtype=object)
    controls = set(of[matches["control"]])
    names = sorted(dict.fromkeys(of), key=lambda name: name in controls)
    masks = [of == name for name in names]
    decide = asked(settings)

    def row(test: TrustTest) -> list[Cell | None]:
        return [None if blank[test.name][here].all() else _cell(passes[test.name], here) for here in masks]

    return Summary(
        [(name, name in controls) for name in names],
        [int(here.sum()) for here in masks],
        [(test, row(test)) for test in decide],
        [_cell(matches["trusted"], here) for here in masks],
        [(test, row(test)) for test in TESTS if test not in decide],
        _alone(decide, passes, blank, ~matches["control"]) if len(of) else "",
    )


def _cell(kept: Flags, here: Flags) -> Cell:
    return Cell(int((kept & here).sum()), float(kept[here].mean()))


def _alone(decide: list[TrustTest], passes: dict[str, Flags], blank: dict[str, Flags], trained: Flags) -> str:
    """Which test is the only one that a match fails: what it sees that the others do not."""
    failed = {test.word: trained & ~passes[test.name] & ~blank[test.name] for test in decide}
    once = np.sum(list(failed.values()), axis=0) == 1
    counts = ", ".join(f"{word} {count(int((flags & once).sum()))}" for word, flags in failed.items())
    note = f"Matches with trained models that fail one of these tests alone: {counts}."
    missing = int((trained & np.any([blank[test.name] for test in decide], axis=0)).sum())
    if missing:
        note += f" {counted(missing, 'match', 'matches')} with trained models could not be put to every one of them."
    return note
