"""Neighbours: of units in other models, and of concepts among themselves."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours
from rosetta.view.atlas.script import number

NEAR = 6
"""Neighbours of a concept, at most."""


def mutual(of_a: Neighbours, of_b: Neighbours) -> npt.NDArray[np.bool_]:
    """Whether a unit's neighbours have it among theirs.

    Parameters
    ----------
    of_a, of_b
        The k nearest in B of every unit of A, and the k nearest in A of every unit of B.

    Returns
    -------
    (unit_a, k) bool; False where there is no neighbour.
    """
    back = of_b.unit[np.maximum(of_a.unit, 0)]  # (unit_a, k, k)
    own = np.arange(len(of_a.unit), dtype=np.int32)[:, None, None]
    return np.asarray((back == own).any(axis=2) & (of_a.unit >= 0))


def listed(found: Neighbours, back: npt.NDArray[np.bool_], units: slice) -> list[list[list[Any]]]:
    """For each of some units: [unit, pearson, mutual as 0 or 1] of every neighbour, nearest first."""
    rows = zip(found.unit[units].tolist(), found.pearson[units].tolist(), back[units].tolist(), strict=True)
    return [
        [[unit, number(value), int(both)] for unit, value, both in zip(*row, strict=True) if unit >= 0] for row in rows
    ]


def concept_neighbours(found: Neighbours, concepts: npt.NDArray[Any], most: int = NEAR) -> list[list[list[Any]]]:
    """The concepts that are nearest to each.

    Parameters
    ----------
    found
        For the best unit of each concept: its neighbours among the anchor's units, any of them.
    concepts
        (unit,) the concept that a unit of the anchor is the best of; −1 where it is no one's.

    Returns
    -------
    list
        For each concept [concept, similarity], nearest first: the correlation of their best units. Fewer than `most`
        where `found` holds no more.
    """
    found_of = []
    for units, values in zip(found.unit.tolist(), found.pearson.tolist(), strict=True):
        near = [
            [int(concepts[unit]), number(value)]
            for unit, value in zip(units, values, strict=True)
            if unit >= 0 and concepts[unit] >= 0
        ]
        found_of.append(near[:most])
    return found_of
