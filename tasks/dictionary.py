"""Stage `dictionary`: buddies into Rosetta neurons and their clusters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rosetta.mining.dictionary import Clusters, RosettaNeurons, cluster, rosetta_neurons
from rosetta.units import Units
from storage import tables
from storage.activations import ActivationStore
from storage.fingerprint import Fingerprint
from storage.location import Root
from tasks.match import buddies_of
from tasks.stage import Outcome, stage


@stage("dictionary")
def write_dictionary(root: Root, wanted: Fingerprint, anchor: str, models: Sequence[str]) -> Outcome:
    """`tables/rosetta.parquet` and `tables/clusters.parquet`.

    Parameters
    ----------
    models
        The models that are asked for a buddy: all but the anchor and the controls.
    """
    done = [tables.attributes(root, table).get("fingerprint") == wanted.digest for table in ("rosetta", "clusters")]
    if all(done):
        return "skipped"
    buddies = tables.read(root, "buddies")
    units = {model: ActivationStore.read(root, model).units for model in (anchor, *models)}
    neurons = rosetta_neurons({model: buddies_of(buddies, anchor, model) for model in models}, len(units[anchor]))
    clusters = cluster(neurons, buddies_of(buddies, anchor, anchor))
    tables.write(root, "rosetta", _rosetta_frame(anchor, neurons, clusters, units), wanted)
    tables.write(root, "clusters", _cluster_frame(neurons, clusters), wanted)
    return "done"


def _rosetta_frame(anchor: str, neurons: RosettaNeurons, clusters: Clusters, units: dict[str, Units]) -> pd.DataFrame:
    names = np.array([anchor, *neurons.models], dtype=object)
    count, models = len(neurons), len(names)
    unit = np.column_stack([neurons.anchor_unit, neurons.unit])
    pearson = np.column_stack([np.full(count, np.nan, dtype=np.float32), neurons.pearson])
    return pd.DataFrame(
        {
            "rosetta": np.repeat(np.arange(count, dtype=np.int32), models),
            "cluster": np.repeat(clusters.of_neuron, models),
            "anchor_unit": np.repeat(neurons.anchor_unit, models),
            "model": np.tile(names, count),
            "unit": unit.ravel(),
            "layer": np.column_stack(
                [units[name].layer_names()[unit[:, column]] for column, name in enumerate(names)]
            ).ravel(),
            "channel": np.column_stack(
                [units[name].channels()[unit[:, column]] for column, name in enumerate(names)]
            ).ravel(),
            "pearson": pearson.ravel(),
            "mean_pearson": np.repeat(neurons.mean_pearson, models),
        }
    ).astype({"model": "str", "layer": "str"})


def _cluster_frame(neurons: RosettaNeurons, clusters: Clusters) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cluster": np.arange(len(clusters), dtype=np.int32),
            "size": clusters.size,
            "anchor_unit": neurons.anchor_unit[clusters.best],
            "mean_pearson": clusters.mean_pearson,
            "min_pearson": clusters.min_pearson,
        }
    )
