"""Stage `tables`: what two runs have in common, as tables."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from storage.artifacts import tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import (
    COMPARISON_CONCEPTS,
    COMPARISON_NEURONS,
    COMPARISON_OVERLAPS,
    COMPARISON_STRENGTHS,
)
from storage.filesystem.root import Root
from tasks.compare.concepts import concept_frame
from tasks.compare.dictionary import Dictionary, dictionary
from tasks.compare.inputs import ComparePlan
from tasks.compare.names import concept_names
from tasks.compare.overlaps import overlap_frame
from tasks.compare.strengths import strength_frame

TABLES = (COMPARISON_OVERLAPS, COMPARISON_NEURONS, COMPARISON_CONCEPTS, COMPARISON_STRENGTHS)


@dataclass(frozen=True)
class Comparison:
    """The tables of a comparison."""

    overlaps: pd.DataFrame
    neurons: pd.DataFrame
    concepts: pd.DataFrame
    strengths: pd.DataFrame

    def by_artifact(self) -> dict[Artifact, pd.DataFrame]:
        """In the order of :data:`TABLES`."""
        return dict(zip(TABLES, (self.overlaps, self.neurons, self.concepts, self.strengths), strict=True))


def compare(plan: ComparePlan) -> Comparison:
    """All that is counted. The order of rows in the runs' tables does not matter."""
    first, second = (dictionary(run, plan.units) for run in plan.runs)
    frames = (
        overlap_frame(plan, first, second),
        neuron_frame(plan, first, second),
        concept_frame(plan, first, second, [concept_names(run) for run in plan.runs]),
        strength_frame(plan, first, second),
    )
    return Comparison(*(tables.typed(frame, table.columns) for frame, table in zip(frames, TABLES, strict=True)))


def neuron_frame(plan: ComparePlan, first: Dictionary, second: Dictionary) -> pd.DataFrame:
    """A row per unit of the anchor that is a neuron in either run."""
    units = plan.units[plan.anchor]
    either = np.union1d(first.anchor_unit, second.anchor_unit)
    sides = [pd.DataFrame({"trusted": one.trusted, "cluster": one.cluster, "strength": one.strength}, one.anchor_unit)
             for one in (first, second)]  # fmt: skip
    a, b = (side.reindex(either) for side in sides)
    chosen = [pd.DataFrame(one.unit[:, 1:], one.anchor_unit).reindex(either, fill_value=-1) for one in (first, second)]
    here = [np.isin(either, one.anchor_unit) for one in (first, second)]
    return pd.DataFrame(
        {
            "layer": units.layer_names()[either],
            "channel": units.channels()[either],
            "first": here[0],
            "second": here[1],
            "trusted_first": a["trusted"].eq(True),
            "trusted_second": b["trusted"].eq(True),
            "cluster_first": a["cluster"].fillna(-1),
            "cluster_second": b["cluster"].fillna(-1),
            "strength_first": a["strength"],
            "strength_second": b["strength"],
            "same": ((chosen[0] == chosen[1]) & (chosen[0] >= 0)).sum(axis=1),
        }
    ).reset_index(drop=True)


def read_tables(root: Root) -> Comparison:
    """What :func:`write_tables` wrote."""
    return Comparison(*(tables.read(root, table.path()) for table in TABLES))


def write_tables(plan: ComparePlan, root: Root) -> None:
    """All tables of a comparison; that of the overlaps last."""
    frames = compare(plan).by_artifact()
    categories = tables.categories_of(plan.units)
    for table in reversed(TABLES):
        tables.write(root, table.path(), frames[table], plan.fingerprint, categories)
