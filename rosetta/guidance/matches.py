"""Matched pairs of units, and what mining knows of each unit's values."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from rosetta.units import Layer, Units

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Statistics:
    """A model's units with the mean and spread that they have over a run."""

    units: Units
    mean: Float64
    """(unit,) over all images and positions of the native grid."""
    std: Float64
    """(unit,) population standard deviation; 0 for a unit that holds one single value."""
    peak: Float64
    """(unit,) the mean over images of each map's maximum: what a unit reaches where its concept is."""

    @property
    def low(self) -> Float64:
        """(unit,) what a unit puts out where its concept is absent."""
        return self.mean - self.std

    @property
    def scale(self) -> Float64:
        """(unit,) the standard deviation, 1 where it is 0."""
        return np.where(self.std > 0, self.std, 1.0)

    def by_layer(self, units: Index) -> Iterator[tuple[Layer, Index, Index]]:
        """Each layer that some of the units lie in, with their channels there and the units themselves."""
        for layer, span in self.units.spans():
            mine = units[(units >= span.start) & (units < span.stop)]
            if len(mine):
                yield layer, mine - span.start, mine


@dataclass(frozen=True)
class Matches:
    """Pairs of a generator's unit with a unit of another model."""

    generator: Statistics
    others: Mapping[str, Statistics]
    """By model name."""
    unit_g: Index
    """(pair,) the generator's unit."""
    model: npt.NDArray[np.object_]
    """(pair,) name of the other model."""
    unit: Index
    """(pair,) the other model's unit."""
    pearson: npt.NDArray[np.float64]
    """(pair,) their correlation over the run."""
    clusters: Mapping[int, npt.NDArray[np.intp]]
    """The generator's units of each cluster of the dictionary."""
    tested: Mapping[str, Float64] = field(default_factory=dict)
    """(pair,) what the tests of trust measured, by column of `trust.parquet`; NaN where they did not."""
    weight: Float64 | None = None
    """(pair,) what each counts in `L_act`, see :mod:`rosetta.guidance.weights`; None: all the same."""

    def __len__(self) -> int:
        return len(self.unit_g)

    def only(
        self,
        *,
        models: Collection[str] | None = None,
        clusters: Collection[int] | None = None,
        above: float | None = None,
    ) -> "Matches":
        """The pairs with some models, of some clusters, correlated at least so much; None asks for all."""
        keep = np.ones(len(self), bool)
        if models is not None:
            keep &= np.isin(self.model.astype(str), list(models))
        if clusters is not None:
            keep &= np.isin(self.unit_g, self.units_of(clusters))
        if above is not None:
            keep &= self.pearson >= above
        return self.kept(keep)

    def kept(self, keep: npt.NDArray[np.bool_]) -> "Matches":
        """The pairs (pair,) that are True."""
        return replace(
            self,
            unit_g=self.unit_g[keep],
            model=self.model[keep],
            unit=self.unit[keep],
            pearson=self.pearson[keep],
            tested={name: values[keep] for name, values in self.tested.items()},
            weight=None if self.weight is None else self.weight[keep],
        )

    @property
    def weights(self) -> Float64:
        """(pair,) what each counts in `L_act`, 1 where nothing else was said."""
        return np.ones(len(self)) if self.weight is None else self.weight

    def units_of(self, clusters: Collection[int]) -> Index:
        """The generator's units of some clusters, ascending."""
        found = [self.clusters[cluster] for cluster in clusters]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)
