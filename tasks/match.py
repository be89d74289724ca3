"""Stage `match`: activation statistics and correlations into the tables of units and of buddies."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from rosetta.mining.buddies import Buddies, best_buddies
from rosetta.units import Units
from storage import tables
from storage.activations import ActivationStore
from storage.fingerprint import Fingerprint
from storage.location import Root
from storage.profiles import ProfileStore
from tasks.neighbours import neighbours as nearest
from tasks.stage import Outcome, stage

Pair = tuple[str, str]


@stage("units")
def write_units(root: Root, wanted: Fingerprint, models: Iterable[str]) -> Outcome:
    """`tables/units.parquet`: every unit of every model, its statistics on the native grid, and how selective it is.

    `kurtosis` is that of all its values (3 for a normal distribution, NaN for a constant unit), `half_share` the
    smallest share of the images that carries half of its positive activation.
    """
    if tables.attributes(root, "units").get("fingerprint") == wanted.digest:
        return "skipped"
    frames = [_unit_frame(model, ActivationStore.read(root, model), ProfileStore.read(root, model)) for model in models]
    tables.write(root, "units", pd.concat(frames, ignore_index=True), wanted)
    return "done"


def _unit_frame(model: str, store: ActivationStore, profile: ProfileStore) -> pd.DataFrame:
    units = store.units
    grids = np.array([layer.grid for layer in units.layers], dtype=np.int32)[units.layer_index()]
    return pd.DataFrame(
        {
            "model": model,
            "layer": units.layer_names(),
            "channel": units.channels(),
            "unit": np.arange(len(units), dtype=np.int32),
            "grid_y": grids[:, 0],
            "grid_x": grids[:, 1],
            "mean": store.mean(),
            "std": store.std(),
            "maximum": store.maximum(),
            "kurtosis": profile.of_units("kurtosis"),
            "half_share": profile.of_units("half_share"),
        }
    )


@stage("match")
def write_buddies(root: Root, wanted: Fingerprint, pairs: Sequence[Pair], neighbours: int) -> Outcome:
    """`tables/buddies.parquet`: the best buddies of every pair of models."""
    if tables.attributes(root, "buddies").get("fingerprint") == wanted.digest:
        return "skipped"
    units = {model: ActivationStore.read(root, model).units for pair in pairs for model in pair}
    frames = []
    for a, b in pairs:
        frames.append(buddy_frame(a, b, units, best_buddies(*nearest(root, a, b, neighbours))))
    tables.write(root, "buddies", pd.concat(frames, ignore_index=True), wanted)
    return "done"


def buddy_frame(a: str, b: str, units: Mapping[str, Units], buddies: Buddies) -> pd.DataFrame:
    """The rows of one pair of models."""
    return pd.DataFrame(
        {
            "model_a": pd.Series([a] * len(buddies), dtype="str"),
            "unit_a": buddies.unit_a,
            "layer_a": units[a].layer_names()[buddies.unit_a],
            "channel_a": units[a].channels()[buddies.unit_a],
            "model_b": pd.Series([b] * len(buddies), dtype="str"),
            "unit_b": buddies.unit_b,
            "layer_b": units[b].layer_names()[buddies.unit_b],
            "channel_b": units[b].channels()[buddies.unit_b],
            "pearson": buddies.pearson,
            "rank_ab": buddies.rank_ab,
            "rank_ba": buddies.rank_ba,
        }
    ).astype({"layer_a": "str", "layer_b": "str"})


def buddies_of(frame: pd.DataFrame, a: str, b: str) -> Buddies:
    """One pair's rows of the buddies table, as arrays."""
    rows = frame[(frame["model_a"] == a) & (frame["model_b"] == b)]
    return Buddies(
        rows["unit_a"].to_numpy(np.int32),
        rows["unit_b"].to_numpy(np.int32),
        rows["pearson"].to_numpy(np.float32),
        rows["rank_ab"].to_numpy(np.int32),
        rows["rank_ba"].to_numpy(np.int32),
    )
