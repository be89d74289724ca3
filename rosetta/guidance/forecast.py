"""Whether a generator has an image at all, before an edit asks for it.

The maps that an edit asks for are compared with those of the mined images, which the generator does make. How near
mined images come to one another, on the same units and positions, says what near means.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.activation import ActivationTarget, LayerTarget, wished_target
from rosetta.guidance.edited_maps import EditedMaps
from rosetta.guidance.matches import Float64, Index


@dataclass(frozen=True)
class Forecast:
    """What is known of asked maps before they are searched for."""

    nearest: Index
    """(image,) position in the store of the mined image that is nearest to the asked maps."""
    agreement: Float64
    """(image,) its agreement with them, in −1…1."""
    before: Float64
    """(image,) the agreement of the image before the edit with them."""
    existing: Float64
    """(mined,) the same for the maps of some mined images and the nearest of all others."""

    @property
    def gain(self) -> Float64:
        """(image,) how much nearer the nearest mined image is to the asked maps than the image before the edit: below
        0, the generator has made nothing that is as near to what is asked for as the image already is.
        """
        return self.agreement - self.before

    @property
    def share(self) -> Float64:
        """(image,) the share of mined images that are no nearer to any other one: 0 where the asked maps are farther
        from all mined images than these are from each other.
        """
        return (self.existing <= self.agreement[:, None]).mean(axis=1)


def beside(edited: EditedMaps, units: Index, existing: Mapping[str, Tensor]) -> ActivationTarget:
    """The asked maps of some units, and below them those of mined images, at the positions that are asked for.

    Parameters
    ----------
    units
        (unit,) ascending.
    existing
        By layer: (mined, unit, y, x) maps of those of the units that lie there.
    """
    layers: list[LayerTarget] = []
    for name, (mine, asked) in edited.layers.items():
        chosen = np.isin(mine, units)
        if chosen.any():
            maps = torch.cat([asked.maps[:, chosen], existing[name].to(asked.maps)])
            known = asked.known.expand_as(asked.changed)[chosen]
            layers.append(wished_target(edited.statistics, name, mine[chosen], maps, known))
    return ActivationTarget(tuple(layers), len(units))
