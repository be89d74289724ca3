"""The dictionary of a join: units of the first generator with a buddy in every other one and in every pivot."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rosetta.mining.buddies import Buddies, best_buddies
from rosetta.mining.dictionary import Clusters, RosettaNeurons, cluster, rosetta_neurons
from storage.artifacts.nearest import neighbours
from tasks.join.inputs import JoinPlan


def dictionary(plan: JoinPlan, pairs: Sequence[Buddies]) -> tuple[RosettaNeurons, Clusters]:
    """Rosetta neurons and their concepts, by strength with the other generators and correlation with the pivots.

    Parameters
    ----------
    pairs
        Buddies of the first generator with each other one.
    """
    first, k = plan.runs[0], plan.neighbours
    buddies = {plan.names[other]: found for other, found in zip(plan.others, pairs, strict=True)}
    for pivot in plan.trained:
        of = plan.pivots[pivot]
        buddies[of.name] = best_buddies(*neighbours(first.root, first.anchor, of.names[0], k))
    neurons = rosetta_neurons(buddies, len(plan.units(0)))
    return neurons, cluster(neurons, best_buddies(*neighbours(first.root, first.anchor, first.anchor, k)))


def neuron_frame(plan: JoinPlan, neurons: RosettaNeurons, clusters: Clusters, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row per Rosetta neuron and model: the anchor, the other generators, the pivots."""
    units = [plan.units(run) for run in (0, *plan.others)] + [plan.pivots[pivot].units for pivot in plan.trained]
    names = [plan.names[0], *neurons.models]
    kinds = ["anchor", *("generator" for _ in plan.others), *("pivot" for _ in plan.trained)]
    unit = np.column_stack([neurons.anchor_unit, neurons.unit])
    strength = np.column_stack([np.full(len(neurons), np.nan, np.float32), neurons.pearson])
    trusted = {(row.model_b, row.unit_a, row.unit_b) for row in pairs[pairs["trusted"]].itertuples()}
    judged = [
        all((name, anchor, of) in trusted for name, of in zip(plan.names[1:], others, strict=False))
        for anchor, others in zip(neurons.anchor_unit, neurons.unit, strict=True)
    ]
    frames = [
        pd.DataFrame(
            {
                "rosetta": np.arange(len(neurons)),
                "cluster": clusters.of_neuron,
                "anchor_unit": neurons.anchor_unit,
                "model": name,
                "unit": unit[:, column],
                "layer": units[column].layer_names()[unit[:, column]],
                "channel": units[column].channels()[unit[:, column]],
                "kind": kinds[column],
                "strength": strength[:, column],
                "mean_strength": neurons.mean_pearson,
                "trusted": judged,
            }
        )
        for column, name in enumerate(names)
    ]
    return pd.concat(frames).sort_values("rosetta", kind="stable", ignore_index=True)


def concept_frame(neurons: RosettaNeurons, clusters: Clusters, frame: pd.DataFrame) -> pd.DataFrame:
    """A row per concept."""
    own = frame[frame["kind"] == "anchor"]
    numbers = np.arange(len(clusters))
    return pd.DataFrame(
        {
            "cluster": numbers,
            "size": clusters.size,
            "anchor_unit": neurons.anchor_unit[clusters.best],
            "mean_strength": clusters.mean_pearson,
            "min_strength": clusters.min_pearson,
            "trusted_neurons": own.groupby("cluster")["trusted"].sum().reindex(numbers, fill_value=0).to_numpy(),
        }
    )
