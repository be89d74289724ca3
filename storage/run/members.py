"""Concepts and units of a finished run."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.errors import UserError
from rosetta.mining.buddies import nearest_neighbours
from storage.artifacts.neurons import neuron_rows
from storage.run.chosen import Images
from storage.run.layer_maps import read_maps
from storage.run.views import RunViews

SHOWN = 6
"""Images that stand for a unit or a concept where no number is given; as many as the page shows."""


@dataclass(frozen=True, repr=False, eq=False)
class Unit:
    """One channel of one layer of a model: where it is strong, and who is like it."""

    run: "RunMembers"
    model: str
    unit: int
    """Index in the model."""

    @cached_property
    def row(self) -> "pd.Series[Any]":
        """Its row in the table of units."""
        units = self.run.unit_table
        return units[(units["model"] == self.model) & (units["unit"] == self.unit)].iloc[0]

    @property
    def layer(self) -> str:
        """Module path of its layer."""
        return str(self.row["layer"])

    @property
    def channel(self) -> int:
        """Index in its layer."""
        return int(self.row["channel"])

    @property
    def label(self) -> str:
        """Layer and channel, for people."""
        return f"{self.layer} channel {self.channel}"

    @property
    def scale(self) -> tuple[float, float]:
        """Its mean and its maximum over the run: where heat begins and where it is full."""
        return float(self.row["mean"]), float(self.row["maximum"])

    @cached_property
    def peaks(self) -> npt.NDArray[np.float32]:
        """(stored image,) the maximum of its map of each image that is stored."""
        return self.run.stores[self.model].peaks(self.layer)[:, self.channel]

    def top(self, count: int) -> npt.NDArray[np.intp]:
        """(image,) indices of the images where it peaks highest, highest first; ties to the lower index."""
        return self.run.image_indices[np.argsort(-self.peaks, kind="stable")[:count]]

    @property
    def top_images(self) -> npt.NDArray[np.intp]:
        """(image,) the first few of them."""
        return self.top(SHOWN)

    def maps(self, images: Images | None = None) -> xr.DataArray:
        """(image, y, x) its activation maps on its native grid; of its top images where none are given.

        Raises
        ------
        UserError
            One of the images is not in the run.
        """
        positions = self.run.chosen(self.top_images if images is None else images)
        maps = read_maps(self.run.stores[self.model], self.layer, positions, np.array([self.channel]))[:, 0]
        attributes = {"model": self.model, "layer": self.layer, "channel": self.channel, "unit": self.unit}
        labels = {"image": self.run.image_indices[positions]}
        return xr.DataArray(maps, labels, ("image", "y", "x"), "activation", attributes)

    def neighbours(self, model: str | None = None, count: int | None = None) -> pd.DataFrame:
        """The units that correlate most with it, nearest first.

        Parameters
        ----------
        model
            Whose units; of every model that it was correlated with where none is given.
        count
            How many of each model; as many as the recipe takes for matching where none is given.

        Returns
        -------
        DataFrame
            model, rank, unit, layer, channel, pearson, and `mutual`: whether the two are buddies, each among as many
            of the other's nearest as the recipe takes.

        Raises
        ------
        UserError
            There is no such model, or it was not correlated with this one.
        """
        models = self.partners if model is None else [model]
        parts = [self._nearest(name, count or self.run.recipe.matching.neighbours) for name in models]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def partners(self) -> tuple[str, ...]:
        """The models that its model was correlated with, in the order of the run."""
        return tuple(name for name in self.run.models if self.run.correlated(self.model, name))

    @property
    def concept(self) -> "Concept | None":
        """The concept that it takes part in as a Rosetta neuron's unit; the strongest of several, or None."""
        rows = self.run.rosetta
        own = rows[(rows["model"] == self.model) & (rows["unit"] == self.unit)]
        if not len(own):
            return None
        return self.run.concept(int(own.sort_values("mean_pearson", ascending=False)["cluster"].iloc[0]))

    def _nearest(self, model: str, count: int) -> pd.DataFrame:
        pair = self.run.correlation(self.model, model)
        if "pearson" in pair:
            row = pair["pearson"].isel(unit_a=slice(self.unit, self.unit + 1)).to_numpy()
            near = nearest_neighbours(row, count, first_row=self.unit, same=model == self.model)
            unit, pearson = near.unit[0], near.pearson[0]
        else:
            kept = ("neighbours_ab", "pearson_ab")
            unit, pearson = (pair[name].isel(unit_a=self.unit).to_numpy()[:count] for name in kept)
        unit, pearson = unit[unit >= 0], pearson[unit >= 0]
        return pd.DataFrame(
            {
                "model": model,
                "rank": np.arange(1, len(unit) + 1),
                "unit": unit,
                "layer": pair["layer_b"].to_numpy()[unit].astype(object),
                "channel": pair["channel_b"].to_numpy()[unit],
                "pearson": pearson,
                "mutual": np.isin(unit, self._buddies(model)),
            }
        )

    def _buddies(self, model: str) -> list[int]:
        rows, units = self.run.buddies, []
        for own, other in (("a", "b"), ("b", "a")):
            mine = (rows[f"model_{own}"] == self.model) & (rows[f"unit_{own}"] == self.unit)
            units += rows.loc[mine & (rows[f"model_{other}"] == model), f"unit_{other}"].tolist()
        return units

    def __repr__(self) -> str:
        return f"<Unit {self.unit} of {self.model}: {self.label}>"


@dataclass(frozen=True, repr=False, eq=False)
class Concept:
    """Rosetta neurons that belong together; the strongest of them stands for the concept in pictures."""

    run: "RunMembers"
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
                f"{model} has no part in concept {self.cluster}, which {', '.join(self.models)} share: controls take "
                "no part in the dictionary"
            )
        return self.run.unit(model, int(self.strongest.set_index("model").loc[model, "unit"]))

    def pearson(self, model: str) -> float:
        """Correlation of a model's unit in the strongest neuron with the anchor's; NaN for the anchor itself."""
        return float(self.strongest.set_index("model").loc[self.unit(model).model, "pearson"])

    def top(self, count: int) -> npt.NDArray[np.intp]:
        """(image,) indices of the images where the anchor's unit peaks highest, highest first."""
        return self.unit(self.run.anchor).top(count)

    @property
    def images(self) -> npt.NDArray[np.intp]:
        """(image,) the first few of them."""
        return self.top(SHOWN)

    def maps(self, model: str, images: Images | None = None) -> xr.DataArray:
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


class RunMembers(RunViews):
    """A finished run by its concepts and units."""

    concept_type: ClassVar[type[Concept]] = Concept
    unit_type: ClassVar[type[Unit]] = Unit

    def concept(self, cluster: int) -> Concept:
        """One concept of the dictionary.

        Raises
        ------
        UserError
            There is no such concept.
        """
        self.require_concept(cluster)
        return self.concept_type(self, int(cluster))

    def unit(self, model: str, unit: int) -> Unit:
        """One unit of a model, matched or not, by its index in the model.

        Raises
        ------
        UserError
            There is no such model, or it has no such unit.
        """
        self.require_model(model)
        count = len(self.stores[model].units)
        if not 0 <= unit < count:
            raise UserError(f"{model} has no unit {unit}; its units are 0 to {count - 1}")
        return self.unit_type(self, model, int(unit))
