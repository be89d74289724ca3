"""Hubs: units that are among the nearest of very many others.

Radovanović, Nanopoulos and Ivanović, *Hubs in Space* (JMLR 2010): the k-occurrence of a point is how many others have
it among their k nearest, and the skewness of its distribution says how far hubs rule the neighbourhoods.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours


@dataclass(frozen=True)
class Hubs:
    """How often the units of one model are among the K nearest of the units of another."""

    skewness: float
    """Of how often each occurs; 0 where all occur equally often, NaN where no unit varies."""
    unit: int
    """The one that occurs most often, ties to the lower; −1 where none does."""
    occurrences: int
    """How many units of the other model have it among their K nearest."""


def hubs(near: Neighbours, alive: npt.NDArray[np.bool_], k: int) -> Hubs:
    """The hubs among the units of a model.

    Parameters
    ----------
    near
        Of every unit of the other model: its nearest neighbours in this one, at least K of them.
    alive
        (unit,) which units of this model can be a neighbour at all: those that vary.
    k
        K.
    """
    first = near.unit[:, :k]
    occurrences = np.bincount(first[first >= 0], minlength=len(alive))[alive]
    if not occurrences.any():
        return Hubs(0.0 if len(occurrences) else float("nan"), -1, 0)
    centred = occurrences - occurrences.mean()
    variance = (centred**2).mean()
    skewness = float((centred**3).mean() / variance**1.5) if variance > 0 else 0.0
    return Hubs(skewness, int(np.flatnonzero(alive)[occurrences.argmax()]), int(occurrences.max()))
