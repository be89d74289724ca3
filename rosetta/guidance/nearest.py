"""The mined images whose maps are nearest to wished-for maps: a search in stored maps, without a model.

Nearness is the agreement that guides a search (:mod:`rosetta.guidance.activation`): the correlation of two maps of a
unit, both normalised with the run's statistics, averaged over units. An image agrees with its own maps by 1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.activation import ActivationTarget, Maps, wished_target
from rosetta.guidance.matches import Float64, Index, Matches


@dataclass(frozen=True)
class Nearest:
    """The stored images that agree best with each target image."""

    index: Index
    """(image, k) positions in the store, the nearest first; ties to the lower position."""
    agreement: Float64
    """(image, k) mean agreement over the units, in −1…1."""


def observed_maps_target(matches: Matches, maps: Mapping[str, Maps]) -> dict[str, ActivationTarget]:
    """What matched units of the discriminative models are compared with: their own maps of the target images.

    Parameters
    ----------
    maps
        By model, what it puts out for the target images: (image, channel, y, x) by layer name.

    Returns
    -------
    dict
        By model: the maps of all of its units in the matches, each unit once however many pairs it is in.
    """
    found = {}
    for name, seen in maps.items():
        units = np.unique(matches.unit[matches.model == name])
        layers = []
        for layer, channels, mine in matches.others[name].by_layer(units):
            values = seen[layer.name][:, torch.from_numpy(channels)]
            layers.append(wished_target(matches.others[name], layer.name, mine, values, device=values.device))
        if layers:
            found[name] = ActivationTarget(tuple(layers), len(units))
    return found


def nearest(parts: Iterable[tuple[slice, Tensor]], count: int) -> Nearest:
    """Keep the best of agreements that come block by block.

    Parameters
    ----------
    parts
        Positions of some stored images, rising, and (row, image) their agreements; −inf leaves one out.
    count
        How many are kept for each target image.

    Raises
    ------
    ValueError
        There are fewer.
    """
    index: Tensor | None = None
    best = torch.empty(0)
    for rows, agreement in parts:
        mine = torch.arange(rows.start, rows.stop)[:, None].expand(-1, agreement.shape[1])
        every = agreement.cpu() if index is None else torch.cat([best, agreement.cpu()])
        places = mine if index is None else torch.cat([index, mine])
        order = every.argsort(stable=True, dim=0, descending=True)[:count]
        best, index = every.gather(0, order), places.gather(0, order)
    if index is None or len(index) < count:
        raise ValueError(f"there are not {count} stored images")
    return Nearest(index.T.numpy().astype(np.intp), best.T.double().numpy())
