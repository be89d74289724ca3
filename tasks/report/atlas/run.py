"""What the atlas is made from: a run's tables and stores, with models and units known by their places."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.recipe import ModelSpec, Recipe
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import IMAGES, TRUST, tables_of_run
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete
from storage.artifacts.neurons import neuron_rows, trusted_neurons
from storage.filesystem.root import Root
from tasks.stage.progress import Advance

_AT_ONCE = 64
"""Files that are written side by side and held at once."""

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class AtlasRun:
    """A finished run, but for its page."""

    root: Root
    recipe: Recipe
    anchor: int
    """Place of the anchor among the models."""
    models: tuple[ModelSpec, ...]
    stores: tuple[ActivationStore, ...]
    """By model."""
    units: tuple[Units, ...]
    """By model."""
    pictures: ImageStore
    tables: dict[str, pd.DataFrame]
    """`units`, `buddies`, `rosetta`, `clusters` and `trust`, as they lie in the run."""
    notes: tuple[str, ...]
    """What a reader must know of how matches were judged."""

    @classmethod
    def read(cls, root: Root, recipe: Recipe, anchor: str, models: Sequence[ModelSpec]) -> "AtlasRun":
        """Open a run.

        Raises
        ------
        FileNotFoundError
            Something is not there or not finished.
        """
        stores = tuple(ActivationStore.read(root, spec.name) for spec in models)
        return cls(
            root,
            recipe,
            [spec.name for spec in models].index(anchor),
            tuple(models),
            stores,
            tuple(store.units for store in stores),
            ImageStore(open_complete(root, IMAGES.path())),
            {table.name: tables.read(root, table.path()) for table in tables_of_run()},
            tuple(tables.attributes(root, TRUST.path()).get("notes", ())),
        )

    @property
    def k(self) -> int:
        """K of the mutual nearest neighbours."""
        return self.recipe.matching.neighbours

    @property
    def judged(self) -> bool:
        """Whether any match was put to the tests of trust."""
        return bool(self.tables["trust"]["p_value"].notna().any())

    @cached_property
    def controls(self) -> frozenset[str]:
        """Names of the models that are controls."""
        return frozenset(spec.name for spec in self.models if spec.control)

    @property
    def concepts(self) -> int:
        """How many there are."""
        return len(self.tables["clusters"])

    @cached_property
    def places(self) -> dict[str, int]:
        """By a model's name: its place."""
        return {spec.name: place for place, spec in enumerate(self.models)}

    @cached_property
    def rosetta(self) -> pd.DataFrame:
        """`rosetta`, concept by concept and neuron by neuron, best first, the anchor's row before the others."""
        frame = self.tables["rosetta"].assign(place=self.tables["rosetta"]["model"].map(self.places))
        frame = frame.assign(other=frame["place"] != self.anchor)
        return frame.sort_values(["cluster", "rosetta", "other", "place"], kind="stable").reset_index(drop=True)

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """One row a Rosetta neuron, concept by concept, best first; `trusted` as :mod:`storage.artifacts.neurons` has
        it."""
        return neuron_rows(self.rosetta, self.models[self.anchor].name)

    @cached_property
    def trusted(self) -> Index:
        """(concept,) how many of its neurons are trusted, in the order of `clusters`."""
        return trusted_neurons(self.neurons, self.tables["clusters"]["cluster"])

    @cached_property
    def first(self) -> Index:
        """(concept, model) the units of each concept's best neuron, −1 for models that are not asked for one."""
        frame = self.rosetta
        best = frame.groupby("cluster")["rosetta"].transform("min")
        rows = frame[frame["rosetta"] == best]
        units = np.full((self.concepts, len(self.models)), -1, dtype=np.int32)
        units[rows["cluster"], rows["place"]] = rows["unit"]
        return units

    @cached_property
    def _scales(self) -> tuple[npt.NDArray[np.float64], ...]:
        """By model: (unit, 2) mean and maximum over the run."""
        frame = self.tables["units"]
        rows = (frame[frame["model"] == spec.name].sort_values("unit") for spec in self.models)
        return tuple(found[["mean", "maximum"]].to_numpy(np.float64) for found in rows)

    def scale(self, model: int, units: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(unit,) where heat starts and where it is full: mean and maximum over the run."""
        found = self._scales[model][units]
        return found[..., 0], found[..., 1]

    @cached_property
    def _grids(self) -> tuple[Index, ...]:
        return tuple(
            np.array([layer.grid for layer in units.layers], dtype=np.int32)[units.layer_index()]
            for units in self.units
        )

    def grid(self, model: int, units: npt.NDArray[Any]) -> Index:
        """(unit, 2) native grids."""
        return self._grids[model][units]

    def pairs(self, frame: pd.DataFrame, model: str) -> pd.DataFrame:
        """The rows of a table of pairs between the anchor and a model."""
        anchor = self.models[self.anchor].name
        return frame[(frame["model_a"] == anchor) & (frame["model_b"] == model)]


def write_files(out: Root, files: Iterable[tuple[str, bytes]], advance: Advance) -> None:
    """Write files as they come, some side by side: each waits for its disk or its object store."""
    waiting = iter(files)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(waiting, _AT_ONCE)):
            list(pool.map(lambda file: out.write_bytes(*file), batch))
            advance(len(batch))
