"""`tree.rosetta`: a tree of activations by its units. It works on what plain `xarray.open_datatree` gives.

Importing this module registers it. `import rosetta` sees to that as soon as xarray is imported.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rosetta.errors import UserError

_OF_UNITS = ("peak", "mean", "std", "rounding")
"""What a layer holds of each unit beside its maps."""


@xr.register_datatree_accessor("rosetta")
class RosettaAccessor:
    """The layers and units of one model's activations."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in forward order.

        Raises
        ------
        UserError
            The tree is not one of activations.
        """
        first = {
            name: int(child.to_dataset()["unit"][0])
            for name, child in self._tree.children.items()
            if "activation" in child
        }
        if not first:
            raise UserError("this tree holds no layers with activations; open activations/<model>.zarr of a run")
        return tuple(sorted(first, key=first.__getitem__))

    def sel(self, unit: int | Sequence[int] | npt.NDArray[np.integer], **others: Any) -> xr.Dataset | xr.DataTree:
        """Select units by their index in the model, as `Dataset.sel` selects by any other index.

        Parameters
        ----------
        unit
            One, or several.
        others
            Of other dimensions, as `Dataset.sel` takes them: `image`, `y`, `x`.

        Returns
        -------
        Dataset or DataTree
            Of one unit what its layer holds of it: `activation` (image, y, x), `peak` (image), its statistics. Of
            several a tree with the layers that they lie in, as their grids may differ; units keep the order asked for.

        Raises
        ------
        UserError
            The tree has no such unit.
        """
        asked = np.asarray(unit)
        if not np.issubdtype(asked.dtype, np.integer) and asked.size:
            raise UserError(f"unit {unit!r} is not an index; units are whole numbers from 0")
        positions = self._positions(np.atleast_1d(asked).astype(np.intp))
        chosen = {name: self._layer(name).isel(channel=index).sel(others) for name, index in positions.items()}
        if asked.ndim == 0:
            (alone,) = chosen.values()
            return alone.isel(channel=0)
        root = self._tree.to_dataset(inherit=False).drop_dims("block", errors="ignore")  # in format 2, bookkeeping
        of_root = {name: index for name, index in others.items() if name in root.dims}
        return xr.DataTree.from_dict({"/": root.sel(of_root), **chosen})

    def units(self) -> xr.Dataset:
        """All units of all layers in one Dataset: `peak` (image, unit), `mean`, `std` and, where it is stored,
        `rounding` (unit), with `layer` and `channel` as coordinates."""
        parts = []
        for name in self.layers:
            layer = self._layer(name)
            part = layer[[one for one in _OF_UNITS if one in layer]].drop_vars(["layer", "y", "x"], errors="ignore")
            layer_of = ("channel", np.full(part.sizes["channel"], name, dtype=object), {"long_name": "layer"})
            parts.append(part.assign_coords(layer=layer_of).drop_indexes("unit").swap_dims(channel="unit"))
        return xr.concat(parts, "unit", data_vars="minimal", coords="minimal", compat="override", join="override")

    def _layer(self, name: str) -> xr.Dataset:
        """A layer with `unit` and `channel` as indexes."""
        layer = self._tree[name].to_dataset()
        if "channel" not in layer.coords:  # of format 2
            layer = layer.assign_coords(channel=("channel", np.arange(layer.sizes["channel"])))
        return layer if "unit" in layer.xindexes else layer.set_xindex("unit")

    def _positions(self, units: npt.NDArray[np.intp]) -> dict[str, slice | list[int]]:
        """By layer: the positions along `channel` of the units that lie in it."""
        known = {
            unit: (name, position)
            for name in self.layers
            for position, unit in enumerate(self._tree[name].to_dataset()["unit"].values.tolist())
        }
        positions: dict[str, list[int]] = {name: [] for name in self.layers}
        for unit in units.tolist():
            if unit not in known:
                raise UserError(f"unit {unit} is not in this tree; its units are among {min(known)} to {max(known)}")
            layer, position = known[unit]
            positions[layer].append(position)
        return {name: _as_slice(index) for name, index in positions.items() if index}


def _as_slice(positions: list[int]) -> slice | list[int]:
    """Neighbours as a slice: Dask reads no more than that of a chunk, and all of it for a list."""
    first, stop = positions[0], positions[-1] + 1
    return slice(first, stop) if positions == list(range(first, stop)) else positions


def register(_: object) -> None:
    """What is called once xarray is imported: nothing is left to do but to import this module."""
