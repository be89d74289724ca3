"""What the page about trust shows, as plain values and the run's own numbers."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MatchColumns:
    """All matches of the anchor with the other models, (match,) each; NaN where a number could not be had.

    Raises
    ------
    ValueError
        When the columns differ in length.
    """

    models: npt.NDArray[np.object_] | npt.NDArray[np.str_]
    """Short name of the other model."""
    control: Flags
    """Whether that model is a control."""
    pearson: Numbers
    """Correlation with the anchor's unit."""
    p_value: Numbers
    """Chance that other images reach it."""
    q_value: Numbers
    """False discovery rate among all pairs of units of the two models."""
    half_1: Numbers
    """Correlation on the first half of the images."""
    half_2: Numbers
    """Correlation on the second half."""
    replicates: Flags
    """Whether it is a match in both halves."""
    centred: Numbers
    """Correlation without each unit's mean map."""
    partial: Numbers
    """Correlation without the pixels' part."""
    control_best: Numbers
    """The best correlation of any unit of a control with the same unit of the anchor."""
    lift: Numbers
    """`pearson` − `control_best`."""
    trusted: Flags
    """Whether it passes all tests."""

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of matches differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.pearson)


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
    q: float
    """A match beats chance when its q value is at most this."""
    partial: float
    """The pixels do not explain a match whose partial correlation is above this."""
    judgement: str
    """Why nothing, or not everything, was judged, in a sentence; empty when there is nothing to say."""
    matches: MatchColumns
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
