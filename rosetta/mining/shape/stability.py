"""The dictionary with other numbers of neighbours: how much of it is a choice of K.

Buddies with K neighbours are those among the buddies with more whose ranks are both at most K. So one search for the
nearest of all answers every smaller K.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Buddies
from rosetta.mining.dictionary import RosettaNeurons, cluster, rosetta_neurons

Pairs = npt.NDArray[np.int64]
"""(pair, 2) a unit of either model."""

MOST = 20
"""The largest K that is looked at, unless the recipe's is larger."""
SHARE = 0.2
"""Of the neurons: a concept that holds more has swallowed others."""
FEW = 5
"""So many neurons or fewer in one concept say nothing."""


@dataclass(frozen=True)
class DictionaryWith:
    """What a dictionary counts with one K."""

    neighbours: int
    """K."""
    neurons: int
    trusted: int
    """Neurons whose strongest match with every model is trusted."""
    concepts: int
    largest: int
    """Neurons in the largest concept."""
    jaccard: float
    """Overlap of its anchor units with those of the recipe's K; NaN where neither has any."""

    @property
    def percolates(self) -> bool:
        """Whether one concept holds more than a fifth of the neurons, so that concepts are no longer apart."""
        return self.largest > max(FEW, SHARE * self.neurons)


def numbers_of_neighbours(chosen: int) -> list[int]:
    """Each K that is looked at, given the recipe's."""
    return sorted({*range(1, MOST + 1), chosen})


def stability(
    buddies: Mapping[str, Buddies],
    own: Buddies,
    anchor_units: int,
    chosen: int,
    trusted: Mapping[str, Pairs],
) -> list[DictionaryWith]:
    """The dictionary with each K.

    Parameters
    ----------
    buddies
        By model, controls left out: its buddies with the anchor, which is side A, with the largest K of all.
    own
        The same of the anchor with itself.
    chosen
        The recipe's K.
    trusted
        By model: its matches with the anchor that are trusted.
    """
    base = set(_neurons(buddies, anchor_units, chosen).anchor_unit.tolist())
    keys = {model: _keys(pairs[:, 0], pairs[:, 1]) for model, pairs in trusted.items()}
    found = []
    for k in numbers_of_neighbours(chosen):
        neurons = _neurons(buddies, anchor_units, k)
        sizes = cluster(neurons, within(own, k)).size
        anchors = set(neurons.anchor_unit.tolist())
        found.append(
            DictionaryWith(
                neighbours=k,
                neurons=len(neurons),
                trusted=int(np.all(list(_trusted(neurons, keys)), axis=0).sum()),
                concepts=len(sizes),
                largest=int(sizes.max(initial=0)),
                jaccard=len(anchors & base) / len(anchors | base) if anchors | base else float("nan"),
            )
        )
    return found


def within(buddies: Buddies, k: int) -> Buddies:
    """Those of some buddies that are buddies with K neighbours, too."""
    kept = np.maximum(buddies.rank_ab, buddies.rank_ba) <= k
    return Buddies(
        buddies.unit_a[kept],
        buddies.unit_b[kept],
        buddies.pearson[kept],
        buddies.rank_ab[kept],
        buddies.rank_ba[kept],
    )


def _neurons(buddies: Mapping[str, Buddies], anchor_units: int, k: int) -> RosettaNeurons:
    return rosetta_neurons({model: within(pairs, k) for model, pairs in buddies.items()}, anchor_units)


def _trusted(neurons: RosettaNeurons, keys: Mapping[str, Pairs]) -> Iterable[npt.NDArray[np.bool_]]:
    """By model: (neuron,) whether its match with that model is trusted."""
    for column, model in enumerate(neurons.models):
        yield np.isin(_keys(neurons.anchor_unit, neurons.unit[:, column]), keys[model])


def _keys(unit_a: npt.NDArray[np.integer], unit_b: npt.NDArray[np.integer]) -> Pairs:
    """(pair,) one number for the two units of a match."""
    return (unit_a.astype(np.int64) << 32) | unit_b.astype(np.int64)
