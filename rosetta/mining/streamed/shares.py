"""Which share of the images carries half of a unit's activation, without keeping every image's."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.exact import add_exactly

_PER_OCTAVE = 8
"""Classes in which an image's activation doubles: a class is 9 % wide."""
_LOWEST, _HIGHEST = -24, 24
"""Octaves, of the sum over a map's positions in standard deviations."""
_CLASSES = (_HIGHEST - _LOWEST) * _PER_OCTAVE + 1
"""The first is for images in which a unit is silent, or nearly so."""
ACTIVATION_BYTES = 2 * 8 * _CLASSES
"""Of one unit."""


class Activations:
    """How many images activate a unit how strongly, and what they come to, by classes of strength.

    Images of a class differ by up to 9 %. Taken as alike, they put the share that :func:`half_share` finds off by a
    twentieth of that of the class in which the half is reached, at most.
    """

    def __init__(self, channels: int, quantum: float, device: torch.device) -> None:
        """Begin at zero; the quantum is that of :mod:`rosetta.mining.exact`."""
        self._quantum = quantum
        self.count = torch.zeros(channels, _CLASSES, dtype=torch.float64, device=device)
        """(channel, class) images."""
        self.total = torch.zeros(channels, _CLASSES, dtype=torch.float64, device=device)
        """(channel, class) their activation."""

    def add(self, mass: Tensor) -> None:
        """Add some images' activation (channel, image) float32, no less than 0, in standard deviations."""
        octave = mass.double().clamp_min(2.0**_LOWEST).log2_().sub_(_LOWEST)
        index = octave.mul_(_PER_OCTAVE).ceil_().clamp_(0, _CLASSES - 1).long()
        here = torch.zeros_like(self.total)
        here.scatter_add_(1, index, mass.double())
        add_exactly(self.total, here, self._quantum)
        self.count.scatter_add_(1, index, torch.ones_like(mass, dtype=torch.float64))

    def half_share(self) -> npt.NDArray[np.float64]:
        """(channel,) as :func:`rosetta.mining.trust.selectivity.half_share` finds it out of all images."""
        count, total = (one.flip(1).cpu().numpy() for one in (self.count, self.total))
        reached, images = np.cumsum(total, axis=1), np.cumsum(count, axis=1)
        half = 0.5 * reached[:, -1]
        at = (reached >= half[:, None] * (1 - 1e-12)).argmax(axis=1)[:, None]
        of_class, in_class = (np.take_along_axis(one, at, axis=1)[:, 0] for one in (total, count))
        before, images_before = (np.take_along_axis(one, at, axis=1)[:, 0] for one in (reached, images))
        with np.errstate(invalid="ignore", divide="ignore"):
            needed = np.ceil((half - (before - of_class)) / of_class * in_class * (1 - 1e-12))
            share = (images_before - in_class + np.maximum(needed, 1)) / images[:, -1]
        return np.where(half > 0, share, np.nan)
