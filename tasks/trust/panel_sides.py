"""The sides of a panel that is judged, out of the profiles of the two models."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch

from rosetta.mining.grid import common_grid
from rosetta.mining.trust.chance import Covariances
from rosetta.mining.trust.judge import OnCommon, PanelSide
from rosetta.mining.trust.thumbs import thumb_grid
from rosetta.units import Grid
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root

Float64 = npt.NDArray[np.float64]


@lru_cache(maxsize=4)
def model_profile(root: Root, model: str, digest: str) -> "ModelProfile":
    """A model's profile, shared by all tasks of a process; of a few models what was read of them stays.

    Parameters
    ----------
    digest
        The fingerprint that it has.
    """
    profile = ModelProfile(root, model)
    if profile.store.digest != digest:
        raise FileNotFoundError(f"the profile of {model} under {root.shown} is not the one that this work began with")
    return profile


class ModelProfile:
    """A model's profile; what was read of it stays."""

    def __init__(self, root: Root, model: str) -> None:
        self.store = ProfileStore.read(root, model)
        self.array = cache(self.store.of_layer)
        self.features_on = cache(self.store.features_on)

    def std(self, span: slice) -> Float64 | None:
        """(unit,) of some units over all images, where the store of activations does not know it."""
        if not self.store.has_statistics:
            return None
        return np.concatenate(
            [self.array(layer.name, "std")[channels] for layer, channels in self.store.units.restrict(span)]
        )

    def side(self, span: slice, std_of: Float64, others: Sequence[Grid]) -> PanelSide:
        """One side of a panel.

        Parameters
        ----------
        span
            Units of the model.
        std_of
            (unit,) of these units, on the native grid.
        others
            The grids of the panel's other side.
        """
        moments: list[list[Float64]] = []
        mean_maps, covariances, dead = {}, [], []
        offset = 0
        for layer, channels in self.store.units.restrict(span):
            commons = self.store.commons(layer.name)
            on = [commons.index(common_grid(layer.grid, other)) for other in others]
            mean, std, halves = (
                self.array(layer.name, name)[channels][:, on] for name in ("mean_on", "std_on", "halves_on")
            )
            moments.append([mean, std**2 + mean**2, *np.moveaxis(halves, 2, 0)])
            mean_maps[layer.name] = torch.from_numpy(self.array(layer.name, "mean_map")[channels][None])
            index = np.arange(offset, offset + layer.channels)
            packed = self.array(layer.name, "covariance")[channels]
            covariances.append(Covariances(thumb_grid(layer.grid), index, packed))
            dead.append(self.array(layer.name, "dead")[channels])
            offset += layer.channels
        means = [np.concatenate(parts) for parts in zip(*moments, strict=True)]
        whole, first, second = (OnCommon(mean, square) for mean, square in zip(means[::2], means[1::2], strict=True))
        return PanelSide(
            self.store.units.cut(span),
            std_of,
            whole,
            (first, second),
            mean_maps,
            _by_grid(covariances),
            np.concatenate(dead),
        )


def _by_grid(parts: Sequence[Covariances]) -> list[Covariances]:
    """Layers with thumbs of one grid together: few large products."""
    found: dict[Grid, list[Covariances]] = {}
    for part in parts:
        found.setdefault(part.grid, []).append(part)
    return [
        Covariances(grid, np.concatenate([part.units for part in held]), np.concatenate([part.packed for part in held]))
        for grid, held in found.items()
    ]
