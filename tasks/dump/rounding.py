"""Whether float16 holds a unit well enough for its correlations, found out while its maps are written.

Rounding adds noise. A unit's correlations shrink by √(1 + q), where q is the noise's variance over the unit's own, so
that they are off by q / 2. The noise is known from the moments of what is stored: a float16 of size x is off by at most
2⁻¹¹ |x|, evenly, and one below the smallest normal by 2⁻²⁵. Whether a unit that looks constant has values that float16
lost, or none, is known from the range of the values before they were rounded.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from storage.artifacts.activations import LayerBlock, combine_moments

Float64 = npt.NDArray[np.float64]

_NOISE = 2e-4
"""Largest q. A correlation of two such units is off by 2e-4; over few values, whose noise does not cancel, by more."""
_RELATIVE = 2.0**-20 / 12
"""Variance of the noise over the mean square of the values: of an even distribution between ± 2⁻¹¹ |x|."""
_SMALLEST = 2.0**-48 / 12
"""Variance of the noise of the smallest values, 2⁻²⁴ apart."""
_UNRESOLVED = 2.0**-18
"""Of its largest value: a unit with a smaller range is no better off in float32, whose own spacing is 2⁻²³."""


@dataclass
class Rounding:
    """What float16 takes from the units of one layer, over the blocks so far."""

    positions: int
    """Of a map."""
    images: int = 0
    """So far."""
    mean: Float64 = field(default_factory=lambda: np.zeros(0))
    """(channel,) of what is stored."""
    square: Float64 = field(default_factory=lambda: np.zeros(0))
    """(channel,) sum of squared deviations from it."""
    low: Float64 = field(default_factory=lambda: np.zeros(0))
    """(channel,) the lowest value before rounding."""
    high: Float64 = field(default_factory=lambda: np.zeros(0))
    """(channel,) the highest."""

    def add(self, images: int, stored: LayerBlock, low: Tensor, high: Tensor) -> None:
        """Add a block.

        Parameters
        ----------
        low, high
            (image, channel) extremes of each map before rounding.
        """
        lowest, highest = low.double().amin(dim=0).numpy(), high.double().amax(dim=0).numpy()
        if not self.images:
            self.images, self.mean, self.square = images, stored.mean, stored.square
            self.low, self.high = lowest, highest
            return
        counts = np.array([self.images, images])
        means, squares = np.stack([self.mean, stored.mean]), np.stack([self.square, stored.square])
        self.mean, variance = combine_moments(counts, means, squares, self.positions)
        self.images += images
        self.square = variance * (self.images * self.positions)
        self.low, self.high = np.minimum(self.low, lowest), np.maximum(self.high, highest)

    def coarse(self) -> list[int]:
        """The channels that float16 does not hold well enough, and that float32 would."""
        variance = self.square / (self.images * self.positions)
        noise = _RELATIVE * (self.mean**2 + variance) + _SMALLEST
        resolved = self.high - self.low > _UNRESOLVED * np.maximum(np.abs(self.low), np.abs(self.high))
        return [int(channel) for channel in np.flatnonzero((noise > _NOISE * variance) & resolved)]
