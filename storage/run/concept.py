"""One concept of a finished run: its Rosetta neurons, and the images where it is strong."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.errors import UserError
from storage.artifacts.neurons import neuron_rows
from storage.run.unit import Unit

if TYPE_CHECKING:
    from storage.run.run import Images, Run


@dataclass(frozen=True, repr=False, eq=False)
class Concept:
    """One cluster of Rosetta neurons; its strongest neuron stands for it in pictures."""

    run: "Run"
    cluster: int
    """Its number in the dictionary."""

    @cached_property
    def row(self) -> "pd.Series[Any]":
        """Its row in the table of clusters."""
        clusters = self.run.clusters
        return clusters[clusters["cluster"] == self.cluster].iloc[0]

    @property
    def size(self) -> int:
        """How many Rosetta neurons it has."""
        return int(self.row["size"])

    @property
    def trusted(self) -> int:
        """How many of them are trusted, see :mod:`storage.artifacts.neurons`."""
        return int(neuron_rows(self.members, self.run.anchor)["trusted"].sum())

    @property
    def mean_pearson(self) -> float:
        """Mean correlation over its neurons."""
        return float(self.row["mean_pearson"])

    @cached_property
    def members(self) -> pd.DataFrame:
        """Its rows in the table of Rosetta neurons: one for each neuron and model, the strongest neuron first."""
        rows = self.run.rosetta
        return rows[rows["cluster"] == self.cluster].reset_index(drop=True)

    @cached_property
    def strongest(self) -> pd.DataFrame:
        """The rows of its strongest neuron, one a model, the anchor's first."""
        return self.members[self.members["rosetta"] == self.members["rosetta"].min()].reset_index(drop=True)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that share it, the anchor first."""
        return tuple(self.strongest["model"])

    def unit(self, model: str) -> Unit:
        """A model's unit in the strongest neuron.

        Raises
        ------
        UserError
            The model has no part in it.
        """
        self.run.require_model(model)
        if model not in self.models:
            raise UserError(
                f"{model} has no part in concept {self.cluster}, which {', '.join(self.models)} share: the dictionary "
                "asks no control for a unit"
            )
        return self.run.unit(model, int(self.strongest.set_index("model").loc[model, "unit"]))

    def pearson(self, model: str) -> float:
        """Correlation of a model's unit in the strongest neuron with the anchor's; NaN for the anchor itself."""
        return float(self.strongest.set_index("model").loc[self.unit(model).model, "pearson"])

    def top(self, count: int) -> npt.NDArray[np.intp]:
        """(image,) the images where the anchor's unit peaks highest, highest first."""
        return self.unit(self.run.anchor).top(count)

    @property
    def images(self) -> npt.NDArray[np.intp]:
        """(image,) the first few of them."""
        return self.unit(self.run.anchor).top_images

    def maps(self, model: str, images: "Images | None" = None) -> xr.DataArray:
        """(image, y, x) the activation maps of a model's unit in the strongest neuron; of :attr:`images` by default.

        Raises
        ------
        UserError
            The model has no part in it, or one of the images is not in the run.
        """
        return self.unit(model).maps(self.images if images is None else images)

    def __repr__(self) -> str:
        neurons = f"{self.size} Rosetta neuron{'' if self.size == 1 else 's'}"
        return f"<Concept {self.cluster} of {self.run.name!r}: {neurons}, mean correlation {self.mean_pearson:.2f}>"

    def _repr_html_(self) -> str:
        from storage.run.notebook import concept_cell

        return concept_cell(self)
