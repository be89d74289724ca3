"""What each match counts in `L_act = Σ w_m r_m / Σ w_m`.

`w_m` is the strength of a match, divided by the sum of strengths of the group that it is in. Without a strength each
match has strength 1, and without groups all matches are one group.

=============  =====================================================================================================
`correlation`  strength `max(0, r)`, the correlation over the run
`trust`        strength `max(0, min(r_held_out, r_robust) − r_rotated)`: what the correlation on images that did not
               choose the match, and of clipped maps, has above units of the same layer rotated at random. A match that
               neither half of the images chooses has strength 0.
`layer`        groups are the layers of G: one with many matched units does not drown the others
`concept`      groups are the concepts of the dictionary; a unit of none has weight 0
=============  =====================================================================================================
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError
from rosetta.guidance.matches import Float64, Matches

Weighing = Literal["none", "correlation", "trust", "layer", "concept"]
STRENGTHS: tuple[Weighing, ...] = ("correlation", "trust")
GROUPS: tuple[Weighing, ...] = ("layer", "concept")
TESTED = ("pearson_held_out", "pearson_robust", "pearson_rotated")
"""Columns of `trust.parquet` that `trust` is made of."""


def require_together(names: Collection[Weighing]) -> None:
    """
    Raises
    ------
    ValueError
        Several strengths or several kinds of group are named, or `none` beside others.
    """
    for kind in (STRENGTHS, GROUPS):
        if set(kind) <= set(names):
            raise ValueError(f"weights {' and '.join(kind)} exclude each other; give one of them")
    if "none" in names and len(set(names)) > 1:
        raise ValueError("weights none stands alone; leave it out, or all others")


def weighed(matches: Matches, names: Collection[Weighing]) -> Matches:
    """The matches whose weight is above 0, with their weights, which add up to 1 in each group.

    Parameters
    ----------
    matches
        Those that guide, and no others: groups are taken among them.

    Raises
    ------
    UserError
        `trust` is asked for, and the run has no rotations, halves or clipped maps.
    """
    if not names or not len(matches):
        return matches
    strength = np.ones(len(matches))
    if "correlation" in names:
        strength = np.maximum(matches.pearson, 0.0)
    elif "trust" in names:
        strength = _trust(matches)
    group = np.zeros(len(matches), np.intp)
    if "layer" in names:
        group = matches.generator.units.layer_index()[matches.unit_g]
    elif "concept" in names:
        group = _concepts(matches)
        strength = np.where(group >= 0, strength, 0.0)
    keep = strength > 0
    found = matches.kept(keep)
    strength, group = strength[keep], group[keep]
    if not len(found):
        return found
    return replace(found, weight=strength / np.bincount(group, weights=strength)[group])


def _trust(matches: Matches) -> Float64:
    """(pair,)"""
    for model in dict.fromkeys(matches.model):
        for name in TESTED:
            values = matches.tested.get(name)
            if values is None or np.isnan(values[matches.model == model]).all():
                raise UserError(
                    f"--weights trust needs {name}, which this run has for no match with {model!r}; run rosetta trust "
                    "with rotation and maps not left out, or give --weights correlation"
                )
    held_out, robust, rotated = (matches.tested[name] for name in TESTED)
    return np.nan_to_num(np.maximum(np.minimum(held_out, robust) - rotated, 0.0), nan=0.0)


def _concepts(matches: Matches) -> npt.NDArray[np.intp]:
    """(pair,) the concept of the generator's unit, −1 where it has none."""
    of_unit = np.full(len(matches.generator.units), -1, np.intp)
    for concept, units in matches.clusters.items():
        of_unit[units] = concept
    return of_unit[matches.unit_g]
