"""The four tests that a match must pass to be trusted, by the words that the pages use for them.

A value that is NaN was not judged: it passes nothing and fails nothing.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

TESTS = ("chance", "halves", "control", "pixels")
"""In the order in which the pages tell of them."""

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


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


def passing(matches: Judged, q: float, partial: float) -> dict[str, Flags]:
    """Test → (match,) whether each match passes it; it beats chance with a q value of at most `q`, and
    pixels do not explain it when its partial correlation is above `partial`."""
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
