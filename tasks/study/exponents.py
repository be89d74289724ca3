"""How fast the counts of a family grow with the size of its models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.shape.power_law import Float64, of_draws, over_family, over_models, resampled
from rosetta.mining.shape.seeded import seeded
from tasks.study.counts import PARTS, Counts

WHOLE = "all"
"""In place of a third of the depth."""
SHARES = {"share": "matched", "share_trusted": "matched_trusted"}
"""Counts over all units, and what is counted."""


def exponents(
    anchor: str, family: str, sizes: Mapping[str, float], members: Sequence[Counts], rarefied_units: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of one family in `tables/exponents.parquet`.

    Parameters
    ----------
    sizes
        By model.
    members
        What each model of the family counts, in any order.
    rarefied_units
        How many units were drawn of all; 0 where none were.
    seed
        The recipe's.
    """
    size = [sizes[one.model] for one in members]
    rows = []
    for (count, part), (values, resamples) in _grown(anchor, members, rarefied_units, seed):
        law, across = over_family(size, values, resamples), None
        if law is not None:
            across = over_models(size, values)
        rows.append(
            {
                "anchor": anchor,
                "family": family,
                "count": count,
                "part": part,
                "models": len(members),
                "exponent": np.nan if law is None else law.exponent,
                "low": np.nan if law is None else law.low,
                "high": np.nan if law is None else law.high,
                "low_models": np.nan if across is None else across.low,
                "high_models": np.nan if across is None else across.high,
                "prefactor": np.nan if law is None else law.prefactor,
            }
        )
    return rows


def _grown(
    anchor: str, members: Sequence[Counts], rarefied_units: int, seed: int
) -> Iterator[tuple[tuple[str, str], tuple[Float64, Float64]]]:
    """By count and part: (model,) what the models count, and (resample, model) what resampled units do.

    A model's own units are drawn for each model by itself. The anchor's are drawn once for all models, which look for
    the same ones.
    """
    keys = [(count, part) for part in (WHOLE, *PARTS) for count in members[0].of_units]
    values = [np.stack([_of_part(one, *key) for key in keys]) for one in members]
    drawn = [
        resampled(each, seeded(seed, "study", anchor, one.model)) for each, one in zip(values, members, strict=True)
    ]
    counts, resamples = np.stack([each.sum(axis=1) for each in values]), np.stack(drawn, axis=1)
    units = {part: np.array([_within(one, part).sum() for one in members]) for part in (WHOLE, *PARTS)}
    for place, key in enumerate(keys):
        yield key, (counts[:, place], resamples[:, :, place])
    for share, count in SHARES.items():
        for part, of_part in units.items():
            place = keys.index((count, part))
            with np.errstate(invalid="ignore", divide="ignore"):
                yield (share, part), (counts[:, place] / of_part, resamples[:, :, place] / of_part)
    for count in members[0].of_anchor:
        of_anchor = np.stack([one.of_anchor[count] for one in members])
        yield (count, WHOLE), (of_anchor.sum(axis=1), resampled(of_anchor, seeded(seed, "study", anchor)))
    if rarefied_units:
        draws = [one.draws[rarefied_units] for one in members]
        mean = np.array([some.mean() for some in draws])
        yield ("rarefied", WHOLE), (mean, of_draws(draws, seeded(seed, "study", anchor, "rarefied")))


def _of_part(of: Counts, count: str, part: str) -> Float64:
    """(unit,) what units of a part of the depth add to a count; 0 of all others."""
    return of.of_units[count] * _within(of, part)


def _within(of: Counts, part: str) -> npt.NDArray[np.bool_]:
    """(unit,) whether each lies in a part of the depth."""
    return np.full(len(of.part), True) if part == WHOLE else of.part == PARTS.index(part)
