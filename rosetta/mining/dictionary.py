"""Rosetta neurons and their clusters: the dictionary of a run.

Dravid et al., ICCV 2023: ``R(G, D₁…Dₘ) = {(j, k₁…kₘ) | ∀i: (j, kᵢ) ∈ BB(G, Dᵢ)}``; two Rosetta neurons belong together
when their units of G are buddies of each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Buddies

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class RosettaNeurons:
    """Rosetta neurons of a run, by falling mean correlation; `R` of them over `M` models."""

    models: tuple[str, ...]
    """(M,) the models that are asked for a buddy, in the recipe's order."""
    anchor_unit: Index
    """(R,)"""
    unit: Index
    """(R, M) the strongest buddy in each model."""
    pearson: npt.NDArray[np.float32]
    """(R, M) its correlation with the anchor unit."""
    mean_pearson: npt.NDArray[np.float64]
    """(R,) the mean over the models."""

    def __len__(self) -> int:
        return len(self.anchor_unit)


@dataclass(frozen=True)
class Clusters:
    """Connected components of Rosetta neurons, by falling mean correlation of their best member; `C` of them."""

    of_neuron: Index
    """(R,) the cluster of each Rosetta neuron."""
    size: Index
    """(C,) Rosetta neurons in it."""
    best: Index
    """(C,) the Rosetta neuron with the highest mean correlation."""
    mean_pearson: npt.NDArray[np.float64]
    """(C,) mean of its neurons' mean correlations."""
    min_pearson: npt.NDArray[np.float64]
    """(C,) the weakest correlation that any of its neurons has in any model."""

    def __len__(self) -> int:
        return len(self.size)


def rosetta_neurons(buddies: Mapping[str, Buddies], anchor_units: int) -> RosettaNeurons:
    """Anchor units with a buddy in every model.

    Parameters
    ----------
    buddies
        By model name, controls left out: its buddies with the anchor, the anchor being side A.
    anchor_units
        How many units the anchor has.
    """
    models = tuple(buddies)
    unit = np.full((anchor_units, len(models)), -1, dtype=np.int32)
    pearson = np.full((anchor_units, len(models)), np.nan, dtype=np.float32)
    for column, pairs in enumerate(buddies.values()):
        # Strongest first, ties to the lower unit: the first of each anchor unit stands for the model.
        order = np.lexsort((pairs.unit_b, -pairs.pearson, pairs.unit_a))
        anchors, first = np.unique(pairs.unit_a[order], return_index=True)
        unit[anchors, column] = pairs.unit_b[order][first]
        pearson[anchors, column] = pairs.pearson[order][first]
    anchor = np.flatnonzero((unit >= 0).all(axis=1))
    mean = pearson[anchor].astype(np.float64).mean(axis=1)
    ranking = np.lexsort((anchor, -mean))
    anchor, mean = anchor[ranking], mean[ranking]
    return RosettaNeurons(models, anchor.astype(np.int32), unit[anchor], pearson[anchor], mean)


def cluster(neurons: RosettaNeurons, anchor_buddies: Buddies) -> Clusters:
    """Join Rosetta neurons whose anchor units are buddies of each other.

    Parameters
    ----------
    anchor_buddies
        Buddies of the anchor with itself.
    """
    count = len(neurons)
    place = np.full(max(neurons.anchor_unit.max(initial=-1), anchor_buddies.unit_a.max(initial=-1)) + 1, -1)
    place[neurons.anchor_unit] = np.arange(count)
    ends = place[anchor_buddies.unit_a], place[anchor_buddies.unit_b]
    inside = (ends[0] >= 0) & (ends[1] >= 0)
    # The rest of a run needs nothing of scipy, which is slow to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(inside.sum()), (ends[0][inside], ends[1][inside])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1] if count else np.zeros(0, dtype=np.intp)
    # Neurons come by falling mean correlation, so the order of first appearance is that of the best members.
    _, best, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranking = np.argsort(best, kind="stable")
    number = np.empty_like(ranking)
    number[ranking] = np.arange(len(ranking))
    of_neuron = number[inverse]
    size = np.bincount(of_neuron, minlength=len(ranking))
    minimum = np.full(len(ranking), np.inf)
    np.minimum.at(minimum, of_neuron, neurons.pearson.min(axis=1).astype(np.float64))
    mean = np.bincount(of_neuron, weights=neurons.mean_pearson, minlength=len(ranking)) / size
    return Clusters(of_neuron.astype(np.int32), size.astype(np.int32), best[ranking].astype(np.int32), mean, minimum)
