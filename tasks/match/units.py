"""Stage `units`: activation statistics into the table of units."""

import numpy as np
import pandas as pd

from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, FEATURES, UNITS
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.profiles import ProfileStore
from tasks.plan import Plan, Stage


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of units."""
    activations = plan.digests(ACTIVATIONS)
    return fingerprint("units", activations=activations, features=plan.digest(FEATURES))


def write_units(plan: Plan) -> None:
    """`tables/units.parquet`: every unit of every model, its statistics on the native grid, and how selective it is."""
    root = plan.root
    stores = {name: ActivationStore.read(root, name) for name in plan.names}
    frames = [_unit_frame(name, store, ProfileStore.read(root, name)) for name, store in stores.items()]
    categories = tables.categories_of({name: store.units for name, store in stores.items()})
    tables.write(root, UNITS.path(), pd.concat(frames, ignore_index=True), plan.fingerprint(UNITS), categories)


WRITE_UNITS = Stage("units", (UNITS,), fingerprint_of, write_units)


def _unit_frame(model: str, store: ActivationStore, profile: ProfileStore) -> pd.DataFrame:
    units = store.units
    grids = np.array([layer.grid for layer in units.layers], dtype=np.int32)[units.layer_index()]
    if profile.has_statistics:  # over images whose maps are not stored, too
        statistics = {name: profile.of_units(name) for name in ("mean", "std", "maximum")}
    else:
        statistics = {"mean": store.mean(), "std": store.std(), "maximum": store.maximum()}
    return pd.DataFrame(
        {
            "model": model,
            "layer": units.layer_names(),
            "channel": units.channels(),
            "unit": np.arange(len(units), dtype=np.int32),
            "grid_y": grids[:, 0],
            "grid_x": grids[:, 1],
            **statistics,
            "kurtosis": profile.of_units("kurtosis"),
            "half_share": profile.of_units("half_share"),
        }
    )
