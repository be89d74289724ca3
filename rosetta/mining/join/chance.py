"""What chance makes of a join: a pivot's units exchanged, and how likely a link is then.

Chance says that which units of the pivot a generator's unit correlates with has nothing to do with the other generator:
the pivot's units are exchanged at random within each of its layers, on the side of the second generator alone. How
strongly each unit correlates with each layer stays as it is.

For one pair of units this has a closed form. In a layer of n units, let x of them correlate with j by at least s, and y
with j′. The exchange makes them miss each other with probability ``C(n − x, y) / C(n, y)`` (hypergeometric), and layers
are exchanged independently, so

    p(s) = 1 − ∏ over layers of C(n − x, y) / C(n, y).

Pivots are exchanged independently, too. Fisher (1932) joins their p-values: ``−2 Σ ln p`` follows χ² with 2m degrees
of freedom; as p is discrete here, what comes out is never too small.

How many buddies chance makes has no closed form. It is counted with units exchanged for real.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rosetta.units import Units

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_LEAST = 1e-300
"""Smaller p-values are not told apart."""
_HALVINGS = 12
"""Of the range from −1 to 1."""


def exchanged(units: Units, seed: Sequence[int]) -> npt.NDArray[np.intp]:
    """(unit,) the unit that stands in the place of each: all units of a layer, drawn without replacement."""
    random = np.random.default_rng(list(seed))
    return np.concatenate([span.start + random.permutation(layer.channels) for layer, span in units.spans()])


def link_p_values(a: Float32, b: Float32, strength: Float32, units: Units) -> Float64:
    """(pair,) the probability that a link through a pivot is at least as strong, with its units exchanged.

    Parameters
    ----------
    a, b
        (pair, pivot unit) correlations of either unit of each pair; NaN and −inf are no correlation.
    strength
        (pair,) of the link. A pair without one has p = 1.
    units
        Of the pivot.
    """
    return np.where(np.isnan(strength), 1.0, np.clip(-np.expm1(_log_missed(a, b, strength, units)), _LEAST, 1.0))


def chance_strengths(a: Float32, b: Float32, units: Units) -> Float64:
    """(pair,) the strength that a link through a pivot has half of the time, with its units exchanged.

    It is high for units that correlate with much of the pivot, so that strength over it says how particular a link is.
    Found by halving the range from −1 to 1, to 1/2048.

    Parameters
    ----------
    a, b, units
        As :func:`link_p_values` takes them.
    """
    low, high = np.full(len(a), -1.0), np.full(len(a), 1.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = _log_missed(a, b, middle.astype(np.float32), units) <= np.log(0.5)
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low


def _log_missed(a: Float32, b: Float32, strength: Float32, units: Units) -> Float64:
    """(pair,) the logarithm of the probability that no link is so strong."""
    from scipy.special import gammaln  # slow to import

    missed = np.zeros(len(strength))
    for layer, span in units.spans():
        n = layer.channels
        x, y = (np.count_nonzero(side[:, span] >= strength[:, None], axis=1) for side in (a, b))
        free = n - x - y
        log = gammaln(n - x + 1) + gammaln(n - y + 1) - gammaln(n + 1) - gammaln(np.maximum(free, 0) + 1)
        missed += np.where(free < 0, -np.inf, log)
    return np.minimum(missed, 0.0)


def joint_p_values(p: Float64) -> Float64:
    """(pair,) Fisher's joint p-values of (pivot, pair).

    The tail of χ² with 2m degrees of freedom at 2h is ``exp(−h) Σ h^i / i!``, i from 0 to m − 1.
    """
    h = -np.log(p).sum(axis=0)
    term = np.ones_like(h)
    total = np.ones_like(h)
    for i in range(1, len(p)):
        term = term * h / i
        total = total + term
    return np.minimum(np.exp(-h) * total, 1.0)


def false_discovery_rates(excess: Float64, by_chance: Sequence[Float64]) -> Float64:
    """(pair,) the least false discovery rate at which each pair counts.

    Buddies are chosen among all pairs of units, so some exceed chance even by chance. Of the pairs that do so by at
    least some excess as many are false as exchanging makes on average; one more is counted over all exchanges, so that
    no rate is 0 because these were few (as Phipson and Smyth, 2010, do with p-values).

    Parameters
    ----------
    excess
        (pair,) strength over chance of the buddies that there are.
    by_chance
        For each exchange, the same of the buddies that it makes.
    """
    falling, null = np.sort(-excess), np.sort(-np.concatenate(by_chance))
    order = np.argsort(-excess, kind="stable")
    # Of equal ones all count.
    found = np.searchsorted(falling, falling, side="right")
    false = np.searchsorted(null, falling, side="right")
    rate = np.minimum((false + 1) / (len(by_chance) * found), 1.0)
    rates = np.empty(len(excess))
    rates[order] = np.minimum.accumulate(rate[::-1])[::-1]
    return rates
