"""What the page about trust shows, as plain values and the run's own numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.recipe import Trust

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Matches = Mapping[str, npt.NDArray[Any]]
"""All matches of the anchor with the other models: the columns of `tables/trust.parquet`, (match,) each, and `control`,
whether the other model is a control. NaN where a number could not be had."""


@dataclass(frozen=True)
class NullExample:
    """One match beside what chance makes of its units."""

    label: str
    """Which match."""
    null: Numbers
    """(sample,) correlations of its units with the images exchanged."""
    observed: float
    """Its correlation."""
    p_value: float
    """Its chance."""
    tail_from: float
    """Where the fitted tail starts, in correlation; NaN when none was fitted."""


@dataclass(frozen=True)
class TrustStory:
    """The whole page."""

    name: str
    """Of the run."""
    anchor: str
    """The model that names the concepts."""
    images: int
    """Images in the run."""
    settings: Trust
    """What a match must show."""
    judgement: str
    """Why nothing, or not everything, was judged, in a sentence; empty when there is nothing to say."""
    matches: Matches
    """What the tests found."""
    neurons: int
    """Rosetta neurons."""
    trusted_neurons: int
    """Those whose matches are all trusted."""
    null: NullExample | None
    """An example for the picture of chance; None where there is none."""
    fingerprint: str
    """Of what the page was made from."""
    command: str
    """How it was made."""
    home: str = "index.html"
    """Relative address of the dictionary."""
