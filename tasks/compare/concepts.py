"""Concepts of two runs, matched one to one, beside what chance matches."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.compare import Matched, match_concepts, matched_by_chance
from tasks.compare.dictionary import Dictionary
from tasks.compare.inputs import ComparePlan

Float64 = npt.NDArray[np.float64]
Names = Mapping[int, str]


@dataclass(frozen=True)
class ConceptCounts:
    """What the table of concepts says in all."""

    first: int
    second: int
    matched: int
    matched_chance: float
    """Mean number of partners when units are exchanged."""
    same: int
    """Concepts of exactly the same anchor units."""
    overlap: float
    """Mean over the first run's concepts, 0 without a partner; NaN where it has none."""
    overlap_chance: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def concept_frame(plan: ComparePlan, first: Dictionary, second: Dictionary, names: Sequence[Names]) -> pd.DataFrame:
    """A row per concept of the first run, then one per concept of the second without a partner.

    Parameters
    ----------
    names
        Of each run: by concept what it is called.
    """
    units = plan.units[plan.anchor]
    of_first, of_second = (one.concepts(len(units)) for one in (first, second))
    found = match_concepts(of_first, of_second)
    layer, settings = units.layer_index(), plan.settings
    drawn = matched_by_chance(of_first, of_second, layer, settings.exchanges, settings.seed)
    sizes = [np.bincount(of[of >= 0], minlength=1) for of in (of_first, of_second)]
    partner, overlaps = np.full(len(sizes[0]), -1), np.zeros(len(sizes[0]))
    partner[found.first], overlaps[found.first] = found.second, found.overlap
    mine, theirs = np.flatnonzero(sizes[0]), np.setdiff1d(np.flatnonzero(sizes[1]), found.second)
    none, no_overlap = np.full(len(theirs), -1), np.zeros(len(theirs))
    cluster_first, cluster_second = np.r_[mine, none], np.r_[partner[mine], theirs]
    overlap = np.r_[overlaps[mine], no_overlap]
    size_first, size_second = (
        np.where(cluster >= 0, size[cluster], 0)
        for cluster, size in zip((cluster_first, cluster_second), sizes, strict=True)
    )
    chance_first, chance_second = (_drawn(drawn, side, len(size)) for side, size in enumerate(sizes))
    chance = np.r_[chance_first[mine], chance_second[theirs]]  # (concept, exchange)
    p_value = (1 + (chance >= overlap[:, None]).sum(axis=1)) / (1 + len(drawn))
    return pd.DataFrame(
        {
            "cluster_first": cluster_first,
            "name_first": [names[0].get(int(concept), "") for concept in cluster_first],
            "size_first": size_first,
            "cluster_second": cluster_second,
            "name_second": [names[1].get(int(concept), "") for concept in cluster_second],
            "size_second": size_second,
            # overlap = shared / (both sizes − shared)
            "shared": np.rint(overlap * (size_first + size_second) / (1 + overlap)),
            "overlap": overlap,
            "overlap_chance": chance.mean(axis=1),
            "partner_chance": (chance > 0).mean(axis=1),
            "p_value": p_value,
        }
    )


def _drawn(drawn: Sequence[Matched], side: int, concepts: int) -> Float64:
    """(concept, exchange) overlaps of one run's concepts with their partners; 0 without one."""
    overlaps = np.zeros((concepts, len(drawn)))
    for number, one in enumerate(drawn):
        overlaps[(one.first, one.second)[side], number] = one.overlap
    return overlaps


def concept_counts(frame: pd.DataFrame) -> ConceptCounts:
    """Counts over `tables/comparison_concepts.parquet`."""
    mine, theirs = frame["cluster_first"] >= 0, frame["cluster_second"] >= 0
    of_first = frame[mine]
    return ConceptCounts(
        int(mine.sum()),
        int(theirs.sum()),
        int((mine & theirs).sum()),
        float(of_first["partner_chance"].sum()),
        int((frame["overlap"] == 1).sum()),
        float(of_first["overlap"].mean()),
        float(of_first["overlap_chance"].mean()),
    )
