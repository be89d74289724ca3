"""What the page shows, as plain values: nothing but what a reader will see."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Neuron:
    """One Rosetta neuron: a unit of the anchor and its strongest buddy in every other model."""

    rosetta: int
    """Its id."""
    mean_pearson: float
    """Mean correlation of its buddies."""
    members: tuple[Member, ...]
    """The anchor first."""


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
    """An untrained network, compared but never asked for a buddy."""
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
