"""What the page shows, as plain values: nothing but what a reader will see."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Trust:
    """What the tests say of a match, or the weakest of what they say of several; NaN where one could not be made."""

    q_value: float
    """False discovery rate at which it beats chance."""
    replicates: bool
    """Whether it is a match in both halves of the images."""
    lift: float
    """How far it is above the best correlation of any unit of a control; negative below it."""
    pearson_partial: float
    """Its correlation once the pixels' part is taken away."""
    trusted: bool
    """Whether it passes all tests."""


@dataclass(frozen=True)
class Survival:
    """How many of a model's buddies pass each test, and how many pass all; None where one could not be made."""

    chance: int | None
    """Beat chance."""
    replicates: int | None
    """Are buddies in both halves of the images."""
    lift: int | None
    """Are above what any unit of a control reaches."""
    partial: int | None
    """Are left once the pixels' part is taken away."""
    all: int | None
    """Pass all four: trusted."""


@dataclass(frozen=True)
class Member:
    """One unit's place in a Rosetta neuron."""

    model: str
    """Short name of the model."""
    layer: str
    """Module path."""
    channel: int
    """Index in the layer."""
    unit: int
    """Index in the model."""
    pearson: float | None
    """Correlation with the anchor's unit; None for the anchor itself."""
    trust: Trust | None = None
    """Of its match with the anchor's unit; None for the anchor itself and where nothing was judged."""


@dataclass(frozen=True)
class Neuron:
    """One Rosetta neuron: a unit of the anchor and its strongest buddy in every other model."""

    rosetta: int
    """Its id."""
    mean_pearson: float
    """Mean correlation of its buddies."""
    members: tuple[Member, ...]
    """The anchor first."""
    trust: Trust | None = None
    """The weakest of its members'; None where nothing was judged."""


@dataclass(frozen=True)
class Concept:
    """One cluster of Rosetta neurons, with its picture."""

    cluster: int
    """Its id."""
    size: int
    """How many Rosetta neurons it has."""
    mean_pearson: float
    """Mean over its neurons."""
    min_pearson: float
    """The weakest correlation of any of its neurons in any model."""
    neurons: tuple[Neuron, ...]
    """Best first; the picture shows the best."""
    picture: str
    """Relative address of the sprite; empty when there is none."""
    columns: tuple[str, ...]
    """What the sprite's columns show: the image, then models by name."""
    rows: int
    """How many images it shows."""
    images: tuple[int, ...]
    """(rows,) index of the image in each row."""
    trust: Trust | None = None
    """The weakest of its neurons'; None where nothing was judged."""
    trusted_neurons: int = 0
    """How many of its neurons are trusted."""


@dataclass(frozen=True)
class ModelSummary:
    """One model of the run."""

    name: str
    """Short name."""
    model: str
    """Family and name in the zoo."""
    kind: str
    """``generator`` or ``discriminative``."""
    control: bool
    """An untrained network say, compared but never asked for a buddy."""
    units: int
    """Units captured."""
    layers: int
    """Layers captured."""
    matched: int
    """Units with a buddy."""
    buddies: int
    """Pairs of buddies."""
    rosetta: int
    """Units that take part in Rosetta neurons."""
    median_pearson: float
    """Of its buddies; NaN when it has none."""
    survives: Survival | None = None
    """What the tests leave of its buddies with the anchor; None for the anchor and where nothing was judged."""


@dataclass(frozen=True)
class Dictionary:
    """The whole page."""

    name: str
    """Of the run."""
    anchor: str
    """The model that names the concepts."""
    images: int
    """Images in the run."""
    neighbours: int
    """K of the mutual nearest neighbours."""
    models: tuple[ModelSummary, ...]
    """The anchor first, as in the recipe."""
    concepts: tuple[Concept, ...]
    """In any order; the page shows them by number."""
    rosetta: int
    """How many Rosetta neurons there are."""
    histogram: str
    """SVG text of :func:`rosetta.view.plots.correlation_histogram`; empty when there is none."""
    layer_plots: tuple[tuple[str, str], ...]
    """Caption and SVG text of :func:`rosetta.view.plots.layer_matches`, a pair per model."""
    fingerprint: str
    """Of what the page was made from."""
    command: str
    """How it was made."""
    judged: bool = False
    """Whether matches were put to the tests; if not, the page says nothing of trust."""
    trusted: int = 0
    """How many Rosetta neurons are trusted."""
    judgement: str = ""
    """Why nothing, or not everything, was judged, in a sentence; empty when there is nothing to say."""
    q: float = math.nan
    """A match beats chance when its q value is at most this; a number when judged."""
    partial: float = math.nan
    """The pixels do not explain a match whose partial correlation is above this; a number when judged."""
    trust_page: str = ""
    """Relative address of the page that explains the tests; empty when there is none."""
    selectivity: str = ""
    """SVG text of :func:`rosetta.view.selectivity.selectivity_plot`; empty when there is none."""
