"""One unit of a finished run: where it is strong, and who is like it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.mining.buddies import nearest_neighbours
from storage.artifacts.blocks import block_slice

if TYPE_CHECKING:
    from storage.run.concept import Concept
    from storage.run.run import Images, Run

SHOWN = 6
"""Images that stand for a unit or a concept where no number is given; as many as the page shows."""


@dataclass(frozen=True, repr=False, eq=False)
class Unit:
    """One channel of one layer of a model."""

    run: "Run"
    model: str
    unit: int
    """Index in the model."""

    @cached_property
    def row(self) -> "pd.Series[Any]":
        """Its row in the table of units."""
        units = self.run.units
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
    def scale(self) -> tuple[float, float]:
        """Its mean and its maximum over the run: where heat begins and where it is full."""
        return float(self.row["mean"]), float(self.row["maximum"])

    @cached_property
    def peaks(self) -> npt.NDArray[np.float32]:
        """(image,) the maximum of its map of each image."""
        return self.run.stores[self.model].peaks(self.layer)[:, self.channel]

    def top(self, count: int) -> npt.NDArray[np.intp]:
        """(image,) the images where it peaks highest, highest first; ties to the lower index."""
        return np.argsort(-self.peaks, kind="stable")[:count]

    @property
    def top_images(self) -> npt.NDArray[np.intp]:
        """(image,) the first few of them."""
        return self.top(SHOWN)

    def maps(self, images: "Images | None" = None) -> xr.DataArray:
        """(image, y, x) its activation maps on its native grid; of its top images where none are given.

        Raises
        ------
        UserError
            One of the images is not in the run.
        """
        wanted = self.top_images if images is None else self.run.chosen(images)
        store = self.run.stores[self.model]
        found = np.empty((len(wanted), int(self.row["grid_y"]), int(self.row["grid_x"])), dtype=np.float32)
        channel = slice(self.channel, self.channel + 1)
        for block in np.unique(wanted // store.block):
            span = block_slice(int(block), store.block, store.images)
            inside = (wanted >= span.start) & (wanted < span.stop)
            found[inside] = store.maps(self.layer, span, channel)[wanted[inside] - span.start, 0]
        told = {"model": self.model, "layer": self.layer, "channel": self.channel, "unit": self.unit}
        return xr.DataArray(found, dims=("image", "y", "x"), coords={"image": wanted}, name="activation", attrs=told)

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
        wanted = [model] if model is not None else self.partners
        parts = [self._nearest(name, count or self.run.recipe.matching.neighbours) for name in wanted]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def partners(self) -> tuple[str, ...]:
        """The models that its model was correlated with, in the order of the run."""
        exists, own = self.run.root.exists, self.model
        return tuple(
            name
            for name in self.run.models
            if any(exists(f"correlations/{pair}.zarr/zarr.json") for pair in (f"{own}~{name}", f"{name}~{own}"))
        )

    @property
    def concept(self) -> "Concept | None":
        """The concept that it takes part in as a Rosetta neuron's unit; the strongest of several, or None."""
        rows = self.run.rosetta
        mine = rows[(rows["model"] == self.model) & (rows["unit"] == self.unit)]
        if not len(mine):
            return None
        return self.run.concept(int(mine.sort_values("mean_pearson", ascending=False)["cluster"].iloc[0]))

    def _nearest(self, model: str, count: int) -> pd.DataFrame:
        pair = self.run.correlation(self.model, model)
        if "pearson" in pair:
            row = pair["pearson"].isel(unit_a=slice(self.unit, self.unit + 1)).to_numpy()
            found = nearest_neighbours(row, count, first_row=self.unit, same=model == self.model)
            unit, pearson = found.unit[0], found.pearson[0]
        else:
            unit, pearson = (pair[name].isel(unit_a=self.unit).to_numpy()[:count] for name in _KEPT)
        there = unit >= 0
        unit, pearson = unit[there], pearson[there]
        mutual = self._buddies(model)
        return pd.DataFrame(
            {
                "model": model,
                "rank": np.arange(1, len(unit) + 1),
                "unit": unit,
                "layer": pair["layer_b"].to_numpy()[unit].astype(object),
                "channel": pair["channel_b"].to_numpy()[unit],
                "pearson": pearson,
                "mutual": [int(other) in mutual for other in unit],
            }
        )

    def _buddies(self, model: str) -> set[int]:
        rows, found = self.run.buddies, set()
        for own, other in (("a", "b"), ("b", "a")):
            mine = (rows[f"model_{own}"] == self.model) & (rows[f"unit_{own}"] == self.unit)
            found |= set(map(int, rows.loc[mine & (rows[f"model_{other}"] == model), f"unit_{other}"]))
        return found

    def __repr__(self) -> str:
        return f"<Unit {self.unit} of {self.model}: {self.layer} channel {self.channel}>"

    def _repr_html_(self) -> str:
        from storage.run.notebook import unit_cell

        return unit_cell(self)


_KEPT = ("neighbours_ab", "pearson_ab")
