"""Moments of the pixel features over images that no one keeps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rosetta.mining.exact import add_exactly, quantum
from rosetta.mining.trust.pixels import FeatureMoments, FeatureSpan, FeatureSums
from rosetta.units import Grid


class StreamedFeatures:
    """Exact sums of the features on some common grids over block after block of images."""

    def __init__(self, side: int, features: int, commons: Sequence[Grid], images: int, device: torch.device) -> None:
        """Begin at zero.

        Parameters
        ----------
        side
            Of the features' own grid.
        images
            Of the run.
        """
        self._total = FeatureSums(side, features, commons, device)
        self._block = FeatureSums(side, features, commons, device)
        largest = max((height * width for height, width in commons), default=1)
        self._quantum = quantum(images * largest)
        self._seen = torch.zeros(1, dtype=torch.float64)

    def add(self, features: FeatureSpan) -> None:
        """Add a block of images."""
        for block in features.blocks:
            self._block.add(block)
        self._seen += self._block.images
        add_exactly(self._total.sums, self._block.sums, self._quantum)
        add_exactly(self._total.products, self._block.products, self._quantum)
        self._block.sums.zero_()
        self._block.products.zero_()
        self._block.images = 0

    @property
    def state(self) -> dict[str, Tensor]:
        """All sums by name, to save and to :meth:`merge`."""
        return {"sums": self._total.sums, "products": self._total.products, "seen": self._seen}

    def merge(self, name: str, values: Tensor) -> None:
        """Add what another has of a part of its :attr:`state`."""
        own = self.state[name]
        own.add_(values.to(own.device))

    def moments(self) -> dict[Grid, FeatureMoments]:
        """By common grid, over all images so far."""
        self._total.images = int(self._seen)
        return self._total.moments()
