"""What the page about trust shows, as plain values and the run's own numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.trust.null_dictionary import NullCount
from rosetta.recipe import Measurement, Trust

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
class ModelSize:
    """A model beside the anchor, for counts over sizes."""

    units: int
    buddies: int
    """With the anchor."""
    control: bool


@dataclass(frozen=True)
class WholeRun:
    """What was measured of the run as a whole: each a table of the run, None where there is none."""

    null: pd.DataFrame | None = None
    stability: pd.DataFrame | None = None
    layers: pd.DataFrame | None = None
    distances: pd.DataFrame | None = None
    rarefaction: pd.DataFrame | None = None
    null_counts: Sequence[NullCount] = ()
    """What the table of the null says of each count."""
    sizes: Mapping[str, ModelSize] = field(default_factory=dict)
    """By model, all but the anchor, in the order of the run."""
    layer_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By model, in forward order."""


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
    neighbours: int = 5
    """K of the mutual nearest neighbours."""
    whole: WholeRun = field(default_factory=WholeRun)
    """What was measured of the run as a whole."""
    guided: bool = False
    """Whether the dictionary's page lists inversions or edits."""

    def why_not(self, measurement: Measurement | None) -> str:
        """Why there is nothing of a measurement, in a sentence."""
        if measurement in self.settings.leave_out:
            return f"The recipe leaves this out: trust.leave_out names {measurement}."
        return "This run has no such numbers."
