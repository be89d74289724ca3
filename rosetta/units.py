"""Layers and units: the index that every store, matrix and table shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Grid = tuple[int, int]
"""Height and width of an activation map, in positions."""
Frame = tuple[float, float, float, float]
"""A part of an image `(y0, x0, y1, x1)` in fractions of its sides; below 0 and above 1 lies outside of it."""
WHOLE: Frame = (0.0, 0.0, 1.0, 1.0)
"""The whole image and nothing else."""


@dataclass(frozen=True)
class Layer:
    """One captured module of a model."""

    name: str
    """Module path, `layer3.0` say."""
    channels: int
    """How many units it has."""
    grid: Grid
    """Native grid of its maps, `(grid_y, grid_x)`, which covers the image."""
    frame: Frame = field(default=WHOLE, compare=False)
    """Which part of the image the module's own grid covers; maps are cropped to the image."""
    sparse: bool = field(default=False, compare=False)
    """Whether few of its values are not 0, as with features of a sparse autoencoder."""

    @property
    def raw_grid(self) -> Grid:
        """What the module puts out, before it is cropped to the image."""
        y0, x0, y1, x1 = self.frame
        return round(self.grid[0] * (y1 - y0)), round(self.grid[1] * (x1 - x0))

    @property
    def values(self) -> int:
        """Numbers per image: channels × grid_y × grid_x."""
        return self.channels * self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Units:
    """All units of a model: its layers in forward order, their channels in order."""

    layers: tuple[Layer, ...]

    def __len__(self) -> int:
        return sum(layer.channels for layer in self.layers)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Unit index of each layer's channel 0."""
        return tuple(accumulate((layer.channels for layer in self.layers[:-1]), initial=0))

    def spans(self) -> Iterator[tuple[Layer, slice]]:
        """Each layer with the slice of unit indices that it holds."""
        for layer, start in zip(self.layers, self.offsets, strict=True):
            yield layer, slice(start, start + layer.channels)

    def span(self, layer: str) -> slice:
        """The unit indices of a layer."""
        return next(span for held, span in self.spans() if held.name == layer)

    def layer_names(self) -> npt.NDArray[np.object_]:
        """(unit,) the layer of each unit."""
        return np.repeat(np.array([layer.name for layer in self.layers], dtype=object), self._counts())

    def channels(self) -> npt.NDArray[np.int32]:
        """(unit,) the index of each unit in its layer."""
        return np.concatenate([np.arange(count, dtype=np.int32) for count in self._counts()])

    def layer_index(self) -> npt.NDArray[np.intp]:
        """(unit,) the position of each unit's layer in :attr:`layers`."""
        return np.repeat(np.arange(len(self.layers)), self._counts())

    def _counts(self) -> Sequence[int]:
        return [layer.channels for layer in self.layers]

    def grids(self) -> tuple[Grid, ...]:
        """The distinct grids, in the order of their first layer."""
        return tuple(dict.fromkeys(layer.grid for layer in self.layers))

    def grid_index(self) -> npt.NDArray[np.intp]:
        """(unit,) the position of each unit's grid in :meth:`grids`."""
        grids = self.grids()
        return np.repeat([grids.index(layer.grid) for layer in self.layers], self._counts())

    def cut(self, units: slice) -> "Units":
        """What a run of unit indices holds, as units of their own."""
        return Units(tuple(layer for layer, _ in self.restrict(units)))

    def restrict(self, units: slice) -> "list[tuple[Layer, slice]]":
        """What a run of unit indices holds of each layer: the layer cut down to those channels, and their slice."""
        parts = []
        for layer, span in self.spans():
            start, stop = max(span.start, units.start), min(span.stop, units.stop)
            if start < stop:
                channels = slice(start - span.start, stop - span.start)
                parts.append((replace(layer, channels=stop - start), channels))
        return parts
