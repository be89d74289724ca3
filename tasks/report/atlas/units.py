"""The nearest units of every unit in other models, and of concepts the nearest concepts."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours, nearest_neighbours
from rosetta.view.atlas.near import NEAR, concept_neighbours, listed, mutual
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.layout import stored_attributes
from storage.artifacts.nearest import neighbours, pair_store
from storage.artifacts.neighbours import NeighbourStore
from tasks.report.atlas.run import AtlasRun


@dataclass(frozen=True)
class Near:
    """The nearest units of one model in another."""

    neighbours: Neighbours
    """(unit, k)"""
    mutual: npt.NDArray[np.bool_]
    """(unit, k) whether it is among theirs."""

    @property
    def best(self) -> npt.NDArray[np.float32]:
        """(unit,) the highest correlation of each."""
        return self.neighbours.pearson[:, 0]

    @property
    def first(self) -> npt.NDArray[np.int32]:
        """(unit,) the nearest unit of each, the first of all where there is none."""
        return np.maximum(self.neighbours.unit[:, 0], 0)

    def listed(self, units: slice) -> list[list[list[Any]]]:
        """Of some units, as the page has it."""
        return listed(self.neighbours, self.mutual, units)


Known = dict[str, dict[str, Near]]
"""By model and other model."""


def nearest(run: AtlasRun) -> Known:
    """The K nearest units of every unit, in every model that its own was correlated with; each pair is read once."""
    known: Known = defaultdict(dict)
    for a in run.models:
        for b in run.models:
            if (stored_attributes(run.root, CORRELATIONS.path(a, b)) or {}).get("complete"):
                of_a, of_b = neighbours(run.root, a, b, run.k)
                known[a][b] = Near(of_a, mutual(of_a, of_b))
                if a != b:
                    known[b][a] = Near(of_b, mutual(of_b, of_a))
    return known


def near_concepts(run: AtlasRun) -> list[list[list[Any]]]:
    """For each concept the concepts that are nearest to it, by the correlation of their best units."""
    best = run.first[run.anchor]
    store = pair_store(run.root, run.anchor, run.anchor)
    if isinstance(store, NeighbourStore):
        concepts = np.full(len(run.stores[run.anchor].units), -1, dtype=np.int32)
        concepts[best] = np.arange(len(best))
        of_all = store.neighbours(store.k)[0]
        return concept_neighbours(Neighbours(of_all.unit[best], of_all.pearson[best]), concepts)
    assert isinstance(store, CorrelationStore)
    pearson = np.full((len(best), len(best)), np.nan, dtype=np.float32)
    for rows, band in store.bands():
        inside = np.nonzero((best >= rows.start) & (best < rows.stop))[0]
        pearson[inside] = band[np.ix_(best[inside] - rows.start, best)]
    return concept_neighbours(nearest_neighbours(pearson, NEAR, same=True), np.arange(len(best)))
