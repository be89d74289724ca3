"""Whether an intervention on a unit of G moves its buddy more than the same on random units does.

The random units of a layer are no Rosetta neurons and have about the mean and the spread of those that are: what is
taken away from them is as large. One set serves all neurons of a layer. Were the neuron one of them, each of the
`n + 1` would move its buddy most with the same probability, so ``p = (1 + those that move it at least as much) / (1 +
n)``, and no p is below ``1 / (1 + n)``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.guidance.ablation import Scale

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Ablated:
    """The units of G that are intervened on, neurons first; `N` of them."""

    units: Index
    """(N,)"""
    layer: Index
    """(N,) position of each unit's layer."""
    neurons: int
    """How many are units of Rosetta neurons."""
    like: Index
    """(N,) of a random unit the neuron that it is most like, of a neuron itself, as positions among these."""

    def random(self, row: int) -> Index:
        """Positions of the random units of a unit's layer, without that unit."""
        rows = np.arange(self.neurons, len(self.units))
        return rows[(self.layer[rows] == self.layer[row]) & (rows != row)]


def with_random(scale: Scale, neurons: Index, taken: Index, size: int, seed: int) -> Ablated:
    """Units of neurons, and random units to compare them with.

    Parameters
    ----------
    neurons
        Units of G, none twice.
    taken
        Units of all Rosetta neurons, which cannot be random ones.
    size
        How many random units a layer has; all that there are where these are fewer.
    seed
        Of the order in which neurons choose: each in turn the unit that is nearest to it in (log std, mean / std), in
        standard deviations over the layer, until there are enough.
    """
    layer_of = scale.units.layer_index()
    free = np.setdiff1d(np.flatnonzero(scale.std > 0), taken)
    chosen, like = [neurons], [np.arange(len(neurons))]
    for layer in np.unique(layer_of[neurons]):
        own, others = np.flatnonzero(layer_of[neurons] == layer), free[layer_of[free] == layer]
        if not len(others):
            continue
        far = _distances(scale, neurons[own], others)
        order = np.random.default_rng([seed, int(layer)]).permutation(len(own))
        nearest_first = np.argsort(far, axis=1, kind="stable")[order]
        drawn = np.sort(np.array(list(dict.fromkeys(nearest_first.T.ravel().tolist()))[:size], np.intp))
        chosen.append(others[drawn])
        like.append(own[far[:, drawn].argmin(axis=0)])
    units = np.concatenate(chosen).astype(np.intp)
    return Ablated(units, layer_of[units], len(neurons), np.concatenate(like).astype(np.intp))


def _distances(scale: Scale, units: Index, others: Index) -> Float64:
    """(unit, other) of (log std, mean / std)."""
    both = np.concatenate([units, others])
    with np.errstate(divide="ignore", invalid="ignore"):
        kind = np.stack([np.log(scale.std[both]), scale.mean[both] / scale.std[both]], axis=1)
    spread = kind.std(axis=0)
    kind /= np.where(spread > 0, spread, 1.0)
    return np.linalg.norm(kind[: len(units), None] - kind[None, len(units) :], axis=2)


@dataclass(frozen=True)
class Compared:
    """Interventions on some units, each with the buddy that is looked at; NaN where nothing can be compared."""

    random: Float64
    """(row,) mean effect of the random units on the buddy."""
    count: Index
    """(row,) how many random units there are."""
    p: Float64
    q: Float64
    """(row,) Benjamini and Hochberg's, over all rows."""


def compared(ablated: Ablated, rows: Index, effect: Float64, of_random: Float64) -> Compared:
    """Compare interventions with those on random units.

    Parameters
    ----------
    rows
        Positions among the ablated units.
    effect
        (row,) of each on its buddy; NaN where that is constant.
    of_random
        (random unit, row) of all random units, in their order, on that buddy.
    """
    random, p = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    count = np.zeros(len(rows), np.intp)
    for index, row in enumerate(rows):
        others = of_random[ablated.random(row) - ablated.neurons, index]
        count[index] = len(others)
        if len(others) and not np.isnan(effect[index]):
            random[index] = others.mean()
            p[index] = permutation_p(effect[index], others)
    return Compared(random, count, p, q_values(p))


def ranks(effects: Float64, buddies: Index, layers: Index) -> Float64:
    """(row,) the share of the other units of the buddy's layer that follow at least as much; NaN without others.

    Parameters
    ----------
    effects
        (row, unit) on all units of a model, NaN on constant ones.
    buddies
        (row,)
    layers
        (unit,) position of the layer of each unit.
    """
    found = np.full(len(buddies), np.nan)
    for row, buddy in enumerate(buddies):
        others = layers == layers[buddy]
        others[buddy] = False
        values = effects[row, others]
        values = values[~np.isnan(values)]
        if len(values) and not np.isnan(effects[row, buddy]):
            found[row] = (values >= effects[row, buddy]).mean()
    return found


def permutation_p(own: float, random: Float64) -> float:
    """The share of all, the own one among them, that are at least as large as the own one."""
    return (1 + int((random >= own).sum())) / (1 + len(random))


def q_values(p: Float64) -> Float64:
    """Benjamini and Hochberg's (1995) false discovery rates; NaN for NaN, which is no test."""
    from scipy.stats import false_discovery_control  # slow to import

    q = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def share_followed(p: Float64) -> float:
    """About which share of some units is followed at all, however few random units there are to show it of each.

    Storey's (2002) estimate with λ = 1/2: of units that are not followed, half have a p above one half.
    """
    known = p[~np.isnan(p)]
    return max(0.0, 1.0 - 2.0 * float((known > 0.5).mean())) if len(known) else float("nan")
