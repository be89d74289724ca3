"""Stage `dictionary`: buddies into Rosetta neurons and their clusters, each with how far it can be trusted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.dictionary import Clusters, RosettaNeurons, cluster, rosetta_neurons
from rosetta.mining.trust.tests import TESTS
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CLUSTERS, ROSETTA, TRUST
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import buddies_of
from storage.artifacts.neurons import neuron_rows, trusted_neurons
from tasks.plan import Plan, Stage


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the tables of Rosetta neurons and concepts."""
    return fingerprint(
        "dictionary",
        buddies=plan.digest(BUDDIES),
        trust=plan.digest(TRUST),
        anchor=plan.anchor,
        models=list(plan.targets),
    )


def write_dictionary(plan: Plan) -> None:
    """`tables/rosetta.parquet` and `tables/clusters.parquet`."""
    root, anchor, targets, dictionary = plan.root, plan.anchor, plan.targets, plan.fingerprint(ROSETTA)
    buddies, trust = tables.read(root, BUDDIES.path()), tables.read(root, TRUST.path())
    units = {model: ActivationStore.read(root, model).units for model in plan.names}
    neurons = rosetta_neurons({model: buddies_of(buddies, anchor, model) for model in targets}, len(units[anchor]))
    clusters = cluster(neurons, buddies_of(buddies, anchor, anchor))
    frame = with_trust(_rosetta_frame(anchor, neurons, clusters, units), trust, anchor)
    tables.write(root, ROSETTA.path(), frame, dictionary, tables.categories_of(units))
    tables.write(root, CLUSTERS.path(), _cluster_frame(neurons, clusters, frame, anchor), dictionary)


WRITE_DICTIONARY = Stage("dictionary", (ROSETTA, CLUSTERS), fingerprint_of, write_dictionary)


def _rosetta_frame(anchor: str, neurons: RosettaNeurons, clusters: Clusters, units: dict[str, Units]) -> pd.DataFrame:
    names = np.array([anchor, *neurons.models], dtype=object)
    count, models = len(neurons), len(names)
    unit = np.column_stack([neurons.anchor_unit, neurons.unit])
    pearson = np.column_stack([np.full(count, np.nan, dtype=np.float32), neurons.pearson])

    def labels(of: Callable[[Units], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.column_stack([of(units[name])[unit[:, column]] for column, name in enumerate(names)]).ravel()

    return pd.DataFrame(
        {
            "rosetta": np.repeat(np.arange(count, dtype=np.int32), models),
            "cluster": np.repeat(clusters.of_neuron, models),
            "anchor_unit": np.repeat(neurons.anchor_unit, models),
            "model": np.tile(names, count),
            "unit": unit.ravel(),
            "layer": labels(Units.layer_names),
            "channel": labels(Units.channels),
            "pearson": pearson.ravel(),
            "mean_pearson": np.repeat(neurons.mean_pearson, models),
        }
    ).astype({"model": "str", "layer": "str"})


def _cluster_frame(neurons: RosettaNeurons, clusters: Clusters, frame: pd.DataFrame, anchor: str) -> pd.DataFrame:
    numbers = np.arange(len(clusters), dtype=np.int32)
    return pd.DataFrame(
        {
            "cluster": numbers,
            "size": clusters.size,
            "anchor_unit": neurons.anchor_unit[clusters.best],
            "mean_pearson": clusters.mean_pearson,
            "min_pearson": clusters.min_pearson,
            "trusted_neurons": trusted_neurons(neuron_rows(frame, anchor), numbers),
        }
    )


def with_trust(frame: pd.DataFrame, trust: pd.DataFrame, anchor: str) -> pd.DataFrame:
    """The rows of Rosetta neurons with the values that the tests decide by; on the anchor's own row, the weakest of its
    neuron.

    `trusted` is about the neuron on all of its rows: every match that it is made of is trusted.

    Parameters
    ----------
    frame
        A row per neuron and model, as in `tables/rosetta.parquet`.
    trust
        `tables/trust.parquet`.
    """
    carried = {"trusted": "min"} | {test.column: test.weakest for test in TESTS}
    matches = trust[trust["model_a"] == anchor].rename(
        columns={"unit_a": "anchor_unit", "model_b": "model", "unit_b": "unit"}
    )
    key = ["anchor_unit", "model", "unit"]
    own = frame["model"] == anchor
    # A match of the anchor with itself, of all, is no member's.
    members = frame[~own].reset_index().merge(matches[[*key, *carried]], on=key, how="left").set_index("index")
    grouped = members.groupby("rosetta")
    # NaN, which is not judged, is weaker than any.
    weakest = pd.DataFrame({name: grouped[name].agg(how, skipna=False) for name, how in carried.items()})
    rows = weakest.loc[frame.loc[own, "rosetta"]].set_index(frame.index[own])
    values = pd.concat([members[list(carried)], rows]).astype(trust.dtypes[list(carried)].to_dict())
    return frame.join(values).assign(trusted=weakest["trusted"].loc[frame["rosetta"]].to_numpy(bool))
