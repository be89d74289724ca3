"""The four tests that a match must pass to be trusted, by the words that the pages use for them.

A value that is NaN was not judged: it passes nothing and fails nothing.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rosetta.view.contents import Trust
from rosetta.view.wording import correlation

TESTS = ("chance", "halves", "control", "pixels")
"""In the order in which the pages tell of them."""

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """A word beside a match that is not trusted."""

    word: str
    """One of :data:`TESTS`, or ``not judged``."""
    told: str
    """What it means here, with the number."""


class Judged(Protocol):
    """Columns with what the tests found, (match,) each."""

    @property
    def q_value(self) -> Numbers: ...
    @property
    def replicates(self) -> Flags: ...
    @property
    def lift(self) -> Numbers: ...
    @property
    def partial(self) -> Numbers: ...


def marks(trust: Trust | None, q: float, partial: float) -> tuple[Mark, ...]:
    """Why a match is not trusted.

    Parameters
    ----------
    trust
        Of the match; None where nothing was judged.
    q, partial
        A match beats chance with a q value of at most `q`, and pixels do not explain it when its partial correlation
        is above `partial`.

    Returns
    -------
    tuple of Mark
        One per test that it fails, in the order of :data:`TESTS`, then one for all that could not be judged. Empty
        for a trusted match and for None.
    """
    if trust is None or trust.trusted:
        return ()
    values = {"chance": trust.q_value, "control": trust.lift, "pixels": trust.pearson_partial}
    unjudged = [word for word, value in values.items() if math.isnan(value)]
    found = []
    if trust.q_value > q:
        found.append(Mark("chance", f"q {trust.q_value:.2g}: chance explains it"))
    # Halves hold no number of their own: where no test has one, they were not made either.
    if not trust.replicates and len(unjudged) < len(values):
        found.append(Mark("halves", "does not replicate: not a match in both halves of the images"))
    if trust.lift <= 0.0:
        found.append(Mark("control", f"a control does as well (lift {correlation(trust.lift)})"))
    if trust.pearson_partial <= partial:
        found.append(Mark("pixels", f"pixels explain it (partial {correlation(trust.pearson_partial)})"))
    if unjudged:
        found.append(Mark("not judged", f"not judged: {', '.join(unjudged)}"))
    return tuple(found)


def in_short(trust: Trust | None) -> str:
    """The numbers in a line: ``q 0.001, replicates, lift 0.12, partial 0.31``; empty for None."""
    if trust is None:
        return ""
    chance = "–" if math.isnan(trust.q_value) else f"{trust.q_value:.2g}"
    return (
        f"q {chance}, {'replicates' if trust.replicates else 'does not replicate'}, "
        f"lift {correlation(trust.lift)}, partial {correlation(trust.pearson_partial)}"
    )


def passing(matches: Judged, q: float, partial: float) -> dict[str, Flags]:
    """Test → (match,) whether each match passes it; `q` and `partial` as for :func:`marks`."""
    return {
        "chance": matches.q_value <= q,
        "halves": np.asarray(matches.replicates, dtype=np.bool_),
        "control": matches.lift > 0.0,
        "pixels": matches.partial > partial,
    }


def unjudged(matches: Judged) -> dict[str, Flags]:
    """Test → (match,) whether it could not be made; halves always can."""
    return {
        "chance": np.isnan(matches.q_value),
        "halves": np.zeros(len(matches.replicates), dtype=np.bool_),
        "control": np.isnan(matches.lift),
        "pixels": np.isnan(matches.partial),
    }
