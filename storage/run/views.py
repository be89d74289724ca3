"""Views over all layers of a model, as labelled arrays that are read when they are computed."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.errors import UserError
from rosetta.units import Layer
from storage.artifacts.catalogue import UNITS
from storage.artifacts.columns import Column, Columns
from storage.artifacts.layout import centres
from storage.run.accessor import RosettaAccessor
from storage.run.chosen import Chosen, indices
from storage.run.data import RunData
from storage.run.layer_maps import lazy_maps

_OF_OTHER_TABLES = (
    Column("buddies", "int64", "how many buddies: of the anchor's units those in all targets, of others in the anchor"),
    Column("pearson", "float32", "correlation with the strongest buddy; NaN without one"),
    Column("rosetta", "int32", "number of the strongest Rosetta neuron that the unit is part of; -1 for none"),
    Column("concept", "int32", "number of that neuron's concept; -1 for none"),
    Column("trusted", "bool", "whether that neuron passes every test"),
)
"""What is known of a unit beside the columns of its own table."""


class RunViews(RunData):
    """A finished run by its models: activations, units and maps."""

    def activations(self, model: str, units: Chosen | None = None, images: Chosen | None = None) -> xr.DataTree:
        """The activations of a model, a group each layer in forward order, read when they are computed.

        Parameters
        ----------
        units
            By their index in the model. All where none are given; layers without any are left out.
        images
            All where none are given.

        Returns
        -------
        DataTree
            A layer has `activation` (image, channel, y, x), `peak` (image, channel), `mean`, `std` and, where it is
            stored, `rounding` (channel), with `unit` and `channel` as indexes.

        Raises
        ------
        UserError
            There is no such model, unit or image.
        """
        self.require_model(model)
        store = self.stores[model]
        of_images = {} if images is None else {"image": self.chosen(images)}
        numbers = None if units is None else self.chosen_units(model, units)
        tree = xr.open_datatree(store.group.store, engine="zarr", chunks={})  # type: ignore[arg-type]
        # In format 2 the markers and moments stand beside the layers.
        root = tree.to_dataset(inherit=False).drop_dims("block", errors="ignore").assign_coords(self.known_of_images)
        parts = {"/": root.isel(of_images)}
        for layer, span in store.units.spans():
            chosen = of_images
            if numbers is not None:
                within = numbers[(numbers >= span.start) & (numbers < span.stop)]
                chosen = {**of_images, "channel": within - span.start}
                if not len(within):
                    continue
            stored = _completed(tree[layer.name].to_dataset(), layer).isel(chosen)
            maps = lazy_maps(store, layer.name, stored["activation"].attrs, **chosen)
            parts[layer.name] = stored.assign(activation=maps)
        return xr.DataTree.from_dict(parts, name=model)

    def units(self, model: str) -> xr.Dataset:
        """All units of a model in one Dataset over all of its layers.

        Returns
        -------
        Dataset
            `peak` (image, unit), each map's maximum, which is read when it is computed. By unit: `rounding` where it is
            stored, the columns of the table of units, and what the other tables say: `buddies`, how many it has with
            the anchor, `pearson` with the strongest of them, and `rosetta`, `concept` and `trusted` of the strongest
            Rosetta neuron that it is part of. Coordinates: `unit` and `image` as indexes, `layer`, `channel`, and
            what is known of the images.

        Raises
        ------
        UserError
            There is no such model.
        """
        tree = self.activations(model)
        units = RosettaAccessor(tree).units()
        if "rounding" in units:  # not in format 2
            units["rounding"].load()
        named = variables(self._columns(model), "unit", (*UNITS.columns, *_OF_OTHER_TABLES))
        units.attrs = {"title": f"units of {model}", "model": model, "run": self.name}
        return units.assign_coords(self.known_of_images).assign(named)

    def maps(self, model: str, units: Chosen, images: Chosen | None = None) -> xr.DataArray:
        """The maps of some units, of one or several layers that have the same grid.

        Parameters
        ----------
        units
            By their index in the model, in the order asked for.
        images
            All where none are given.

        Returns
        -------
        DataArray
            (image, unit, y, x), which is read when it is computed.

        Raises
        ------
        UserError
            There is no such model, unit or image, or the units' grids differ.
        """
        self.require_model(model)
        store, chosen = self.stores[model], self.chosen_units(model, units)
        shown = self.chosen(slice(None) if images is None else images)
        layers, channels = store.units.layer_names()[chosen], store.units.channels()[chosen].astype(np.intp)
        grids = {layer.name: layer.grid for layer in store.units.layers if layer.name in set(layers)}
        if len(set(grids.values())) != 1:
            differ = ", ".join(f"{name} {height} × {width}" for name, (height, width) in grids.items()) or "no unit"
            raise UserError(
                f"run.maps takes units of {model} whose maps have one grid, and was given {differ}; take one grid at a"
                f" time, or run.activations({model!r}, units=…), which is a tree of layers"
            )
        # Stretches of one layer, as units may come in any order.
        stretches = np.split(np.arange(len(layers)), np.flatnonzero(layers[1:] != layers[:-1]) + 1)
        parts = [lazy_maps(store, layers[one[0]], {}, image=shown, channel=channels[one]) for one in stretches]
        height, width = grids[layers[0]]
        return xr.DataArray(
            xr.Variable.concat(parts, "channel").data,
            {
                **{name: values[shown] for name, values in self.known_of_images.items()},
                "unit": chosen.astype(np.int32),
                "layer": ("unit", layers),
                "channel": ("unit", channels.astype(np.int32)),
                "y": centres(height),
                "x": centres(width),
            },
            ("image", "unit", "y", "x"),
            "activation",
            {"long_name": "activation", "units": "1", "model": model},
        )

    def chosen_units(self, model: str, chosen: Chosen) -> npt.NDArray[np.intp]:
        """(unit,) indices of some units of a model.

        Raises
        ------
        UserError
            There is no such model, or one of them is not in it.
        """
        self.require_model(model)
        return indices(chosen, len(self.stores[model].units), "unit", model)

    @cached_property
    def known_of_images(self) -> dict[str, xr.Variable]:
        """(image,) what is known of the images beside their pixels, and their index."""
        known = {"image": self.image_indices.astype(np.int32), **self.pictures.coordinates()}
        return {name: xr.Variable("image", values) for name, values in known.items()}

    def _columns(self, model: str) -> pd.DataFrame:
        """By unit, in order: what the tables say of a model's units."""
        table = self.unit_table
        own = table[table["model"] == model].set_index("unit").sort_index().drop(columns=["model", "layer", "channel"])
        pairs = self.with_anchor(self.buddies, model)
        matched = pairs.groupby("unit_a" if model == self.anchor else "unit_b")["pearson"]
        neurons = self.rosetta[self.rosetta["model"] == model]
        # Neurons are numbered from the strongest.
        best = neurons.sort_values("rosetta").drop_duplicates("unit").set_index("unit")
        trusted = self.neurons.set_index("rosetta")["trusted"]
        rosetta = best["rosetta"].reindex(own.index, fill_value=-1)
        return own.assign(
            buddies=matched.size().reindex(own.index, fill_value=0),
            pearson=matched.max().reindex(own.index),
            rosetta=rosetta,
            concept=best["cluster"].reindex(own.index, fill_value=-1),
            trusted=trusted.reindex(rosetta, fill_value=False).to_numpy(bool),
        )


def _completed(layer: xr.Dataset, about: Layer) -> xr.Dataset:
    """A layer with the coordinates that format 2 has not, and with `unit` as an index beside `channel`."""
    known: dict[str, Any] = {
        "image": ("image", np.arange(layer.sizes["image"], dtype=np.int32)),
        "channel": ("channel", np.arange(about.channels, dtype=np.int32)),
        "y": centres(about.grid[0]),
        "x": centres(about.grid[1]),
        "layer": about.name,
    }
    missing = {name: values for name, values in known.items() if name not in layer.coords}
    return layer.assign_coords(missing).set_xindex("unit")


def variables(table: pd.DataFrame, dimension: str, about: Columns) -> dict[str, xr.Variable]:
    """The columns of a table along one dimension, with what they hold."""
    texts = {column.name: column.about for column in about}
    return {
        str(name): xr.Variable(
            dimension,
            table[name].to_numpy(),
            {"long_name": str(name).replace("_", " "), "units": "1", "description": texts.get(str(name), "")},
        )
        for name in table
    }
