"""What only the page needs to know of a run."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from storage.artifacts import after_mining
from storage.artifacts.artifact import Artifact
from storage.run.data import RunData

Index = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]


class AtlasRun(RunData):
    """A finished run, but for its page."""

    @property
    def k(self) -> int:
        """K of the mutual nearest neighbours."""
        return self.recipe.matching.neighbours

    @property
    def concepts(self) -> int:
        """How many there are."""
        return len(self.clusters)

    @cached_property
    def outdated(self) -> tuple[Artifact, ...]:
        """Tables about an earlier dictionary, which the page does not show."""
        return after_mining.outdated(self.root)

    @property
    def shown_tables(self) -> list[Artifact]:
        """All others that the run has one of."""
        return [table for table in self.tables if table not in self.outdated]

    def found(self, table: Artifact) -> pd.DataFrame | None:
        """A table that is shown; None where there is none."""
        return self.table(table) if table in self.shown_tables else None

    @cached_property
    def index(self) -> dict[str, int]:
        """By model: the number by which the page knows it; the anchor's is 0."""
        return {model: index for index, model in enumerate(self.models)}

    @cached_property
    def members(self) -> pd.DataFrame:
        """`rosetta`, concept by concept and neuron by neuron, best first, the anchor's row before the others."""
        frame = self.rosetta.assign(model_index=self.rosetta["model"].map(self.index))
        return frame.sort_values(["cluster", "rosetta", "model_index"], kind="stable").reset_index(drop=True)

    @cached_property
    def first(self) -> dict[str, Index]:
        """By model: (concept,) the unit of each concept's best neuron, −1 where the model has none in it."""
        frame = self.members
        best = frame[frame["rosetta"] == frame.groupby("cluster")["rosetta"].transform("min")]
        units = {model: np.full(self.concepts, -1, dtype=np.int32) for model in self.models}
        for model, rows in best.groupby("model"):
            units[str(model)][rows["cluster"]] = rows["unit"]
        return units

    @cached_property
    def units_of(self) -> dict[str, pd.DataFrame]:
        """By model: its rows in the table of units, in order."""
        return {str(model): rows.sort_values("unit") for model, rows in self.unit_table.groupby("model")}

    def scale(self, model: str, units: npt.NDArray[Any]) -> tuple[Float64, Float64]:
        """(unit,) where heat starts and where it is full: mean and maximum over the run."""
        rows = self.units_of[model]
        return rows["mean"].to_numpy(np.float64)[units], rows["maximum"].to_numpy(np.float64)[units]

    def grid(self, model: str, units: npt.NDArray[Any]) -> Index:
        """(unit, 2) native grids."""
        return self.units_of[model][["grid_y", "grid_x"]].to_numpy(np.int32)[units]
