"""A whole model under edits: its maps as they are, and as they are asked to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rosetta.guidance.activation import ActivationTarget, wished_target
from rosetta.guidance.edits import Asked, Edit, apply
from rosetta.guidance.layer_target import LayerTarget, Maps
from rosetta.guidance.matches import Index, Statistics


@dataclass(frozen=True)
class EditedMaps:
    """What edits ask of some units of a model."""

    statistics: Statistics
    units: Index
    """(unit,) those that are edited or asked to stay, ascending."""
    layers: Mapping[str, tuple[Index, Asked]]
    """By layer name: which of the units lie there, and what is asked of them."""

    def touched(self) -> Index:
        """(unit,) units that an edit meant, ascending."""
        touched = [units[asked.touched.cpu().numpy()] for units, asked in self.layers.values()]
        return np.sort(np.concatenate(touched)) if touched else np.empty(0, np.intp)

    def target(self, units: Index, device: torch.device | str = "cpu") -> ActivationTarget:
        """Ask G for the edited maps of some of the units, wherever they are known."""
        layers: list[LayerTarget] = []
        for name, (mine, asked) in self.layers.items():
            chosen = np.isin(mine, units)
            if chosen.any():
                known = asked.known.expand_as(asked.changed)[chosen]
                layers.append(wished_target(self.statistics, name, mine[chosen], asked.maps[:, chosen], known, device))
        return ActivationTarget(tuple(layers), len(units))


def edited_maps(
    statistics: Statistics,
    clusters: Mapping[int, Index],
    maps: Maps,
    edits: Sequence[Edit],
    others: Mapping[str, Maps] | None = None,
) -> EditedMaps:
    """Edit the maps of all units that belong to clusters.

    Parameters
    ----------
    clusters
        The model's units of each cluster.
    maps
        (image, channel, y, x) by layer name, in the model's own values.
    others
        Maps of other images that edits take from, by what the edits call the image.
    """
    units = np.unique(np.concatenate(list(clusters.values()))) if clusters else np.empty(0, np.intp)
    layers = {}
    for layer, index, mine in statistics.by_layer(units):
        channels = torch.from_numpy(index)
        values = maps[layer.name][:, channels]
        rows = {cluster: torch.from_numpy(np.flatnonzero(np.isin(mine, held))) for cluster, held in clusters.items()}
        asked = Asked(
            maps=values,
            known=values.new_ones(layer.grid),
            changed=values.new_zeros(len(mine), *layer.grid),
            clusters={cluster: held for cluster, held in rows.items() if len(held)},
            low=torch.from_numpy(statistics.low[mine]).to(values),
            high=torch.from_numpy(statistics.peak[mine]).to(values),
            others={image: theirs[layer.name][:, channels] for image, theirs in (others or {}).items()},
        )
        layers[layer.name] = mine, apply(edits, asked)
    return EditedMaps(statistics, units, layers)
