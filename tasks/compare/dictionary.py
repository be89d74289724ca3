"""The dictionary of one of two runs that are compared, in the layers that both have."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.units import Units
from storage.run.data import RunData

Index = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dictionary:
    """`R` Rosetta neurons by rising anchor unit; those whose anchor unit lies in a layer of one run alone are left
    out."""

    unit: Index
    """(R, model) their units, numbered within the layers that both runs have; −1 in any other layer."""
    strength: Float64
    """(R,) mean correlation of the anchor's unit with those of the other models."""
    trusted: npt.NDArray[np.bool_]
    """(R,)"""
    cluster: Index
    """(R,) the concept of each."""

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def anchor_unit(self) -> Index:
        """(R,) rising."""
        return self.unit[:, 0]

    def only(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Dictionary":
        """Some of them, by (R,) flags or by their places."""
        return Dictionary(self.unit[chosen], self.strength[chosen], self.trusted[chosen], self.cluster[chosen])

    def concepts(self, units: int) -> Index:
        """(unit,) the concept of each unit of the anchor; −1 for none."""
        found = np.full(units, -1, np.int64)
        found[self.anchor_unit] = self.cluster
        return found


def dictionary(run: RunData, units: Mapping[str, Units]) -> Dictionary:
    """The dictionary of a run.

    Parameters
    ----------
    units
        By model, the anchor first: layers that both runs have.
    """
    anchor, *models = units
    rows = {name: run.rosetta[run.rosetta["model"] == name].set_index("rosetta") for name in units}
    neurons = rows[anchor]
    of = {name: rows[name].reindex(neurons.index) for name in models}
    sides = zip(units.values(), (neurons, *of.values()), strict=True)
    unit = [numbers(own, one["layer"], one["channel"]) for own, one in sides]
    strength = np.mean([one["pearson"].to_numpy(np.float64) for one in of.values()], axis=0)
    whole = Dictionary(
        np.column_stack(unit), strength, neurons["trusted"].to_numpy(bool), neurons["cluster"].to_numpy(np.int64)
    )
    order = np.argsort(whole.anchor_unit, kind="stable")
    return whole.only(order[whole.anchor_unit[order] >= 0])


def numbers(units: Units, layer: "pd.Series[str]", channel: "pd.Series[int]") -> Index:
    """(row,) numbers of units within some layers, by layer and channel; −1 in any other layer."""
    first = {one.name: offset for one, offset in zip(units.layers, units.offsets, strict=True)}
    begins = layer.map(first).to_numpy(np.float64)
    known = np.isfinite(begins)
    found = np.full(len(layer), -1, np.int64)
    found[known] = begins[known].astype(np.int64) + channel.to_numpy()[known].astype(np.int64)
    return found
