"""What a layer's profile follows from, over images whose maps are forgotten block by block.

Within a block :class:`rosetta.mining.trust.layer_sums.LayerSums` adds up; block after block goes into exact sums in
float64 (:mod:`rosetta.mining.exact`), so neither the order of blocks nor who adds them shows in the result.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.exact import add_exactly, quantum
from rosetta.mining.halves import Mask
from rosetta.mining.room import Room
from rosetta.mining.streamed.shares import ACTIVATION_BYTES, Activations
from rosetta.mining.trust.layer_sums import LayerSums
from rosetta.mining.trust.pixels import FeatureProducts, FeatureSpan
from rosetta.mining.trust.profile import SHAPE_SIDE, shape_images
from rosetta.mining.trust.thumbs import thumb_grid
from rosetta.units import Grid, Layer

Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_STEADY = 1e-5
"""Of a variance over a squared mean: what rounding leaves of a variance that is 0 is far below."""


def scale_of(std: Float64) -> npt.NDArray[np.float32]:
    """(unit,) powers of two that bring units to a standard deviation of 1 to 2.

    Parameters
    ----------
    std
        (unit,) as some images have it; units that do not vary in these take the median of the others.
    """
    alive = std > 0
    usual = np.median(std[alive]) if alive.any() else 1.0
    exponent = -np.floor(np.log2(np.where(alive, std, usual)))
    return np.exp2(np.clip(exponent, -100, 100)).astype(np.float32)


class StreamedLayer:
    """Sums of one layer over all images of a run."""

    def __init__(
        self,
        layer: Layer,
        images: int,
        block: int,
        commons: Sequence[Grid],
        features: int,
        about: tuple[Tensor, Tensor],
    ) -> None:
        """Begin at zero.

        Parameters
        ----------
        images
            Of the run.
        block
            Most images of a block.
        commons, features
            As of :class:`~rosetta.mining.trust.layer_sums.LayerSums`.
        about
            (channel,) float32 shift and scale, on the device where the sums are: near each unit's mean, and a power of
            two near one over its standard deviation.
        """
        self.layer, self.images, self.commons = layer, images, tuple(commons)
        self.shift, self.scale = about
        device = self.shift.device
        self._features = features
        self._block = self._sums(np.zeros(block, bool))
        self.grids = self._block.grids
        largest = max(height * width for height, width in self.grids)
        self._quantum, self._of_powers = quantum(images * largest), quantum(images * largest, powers=True)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        channels, cells = layer.channels, int(np.prod(thumb_grid(layer.grid)))
        self._map, self._square = zeros(channels, layer.grid[0] * layer.grid[1]), zeros(channels, cells, cells)
        self._cross, self._on = zeros(channels, len(self.commons), features), zeros(2, 2, channels, len(self.grids))
        self._powers, self._seen = zeros(3, channels), torch.zeros(2, dtype=torch.float64)
        self._chosen = shape_images(images)
        small = thumb_grid(layer.grid, SHAPE_SIDE)
        self._shape = torch.zeros(channels, len(self._chosen), small[0] * small[1], device=device)
        self._activations = Activations(channels, self._quantum, device)
        self._low = torch.full((2, channels), torch.inf, device=device)
        self._high = torch.full((2, channels), -torch.inf, device=device)

    def add(
        self, begin: int, first: Mask, maps: Tensor, products: FeatureProducts, features: FeatureSpan, room: Room
    ) -> bool:
        """Add a block; False where a value is not finite, and nothing is to be added then.

        Parameters
        ----------
        begin
            Index of the block's first image in the run.
        first
            (image,) whether each belongs to the first half.
        maps
            (image, channel, y, x) float32.
        products, features, room
            As :meth:`rosetta.mining.trust.layer_sums.LayerSums.add` takes them.
        """
        sums, count = self._block, len(maps)
        if sums.images == count:
            sums.clear(first)
        else:  # the last block of a run, or one with bad files
            sums = self._sums(first)
        sums.add(maps, products, features, room)
        peaks = maps.flatten(2).amax(dim=2)
        if not bool(torch.isfinite(sums.on).all() & torch.isfinite(peaks).all()):
            return False
        self._seen += torch.from_numpy(sums.half_images)
        add_exactly(self._map, sums.map.part.double().sum(dim=1), self._quantum)
        for square in sums.square:
            self._add_squares(square.part)
        add_exactly(self._cross, sums.cross, self._quantum)
        add_exactly(self._on, sums.on, self._quantum)
        add_exactly(self._powers, sums.powers, self._of_powers)
        self._activations.add(sums.mass * self.scale[:, None])
        for low, high, index in zip(self._low, self._high, sums.indices, strict=True):
            if len(index):
                of_half = peaks.index_select(0, index)
                torch.minimum(low, of_half.amin(dim=0), out=low)
                torch.maximum(high, of_half.amax(dim=0), out=high)
        start, stop = np.searchsorted(self._chosen, [begin, begin + count])
        if start < stop:
            index = torch.from_numpy(self._chosen[start:stop] - begin).to(sums.shape.device)
            self._shape[:, start:stop] = sums.shape.index_select(1, index)
        return True

    def _sums(self, first: Mask) -> LayerSums:
        about, device = (self.shift, self.scale), self.shift.device
        return LayerSums(self.layer, first, self.commons, self._features, device=device, about=about)

    def _add_squares(self, part: Tensor) -> None:
        """In slices of channels: in float64 all of them at once are a lot of memory."""
        for start in range(0, len(part), 64):
            add_exactly(self._square[start : start + 64], part[start : start + 64].double(), self._quantum)

    @property
    def state(self) -> dict[str, Tensor]:
        """All sums by name, to save and to :meth:`merge`."""
        return {
            "map": self._map,
            "square": self._square,
            "cross": self._cross,
            "on": self._on,
            "powers": self._powers,
            "seen": self._seen,
            "shape": self._shape,
            "active_images": self._activations.count,
            "activation": self._activations.total,
            "low": self._low,
            "high": self._high,
        }

    def merge(self, name: str, values: Tensor) -> None:
        """Add what another has of a part of its :attr:`state`."""
        own = self.state[name]
        values = values.to(own.device)
        if name == "low":
            torch.minimum(own, values, out=own)
        elif name == "high":
            torch.maximum(own, values, out=own)
        else:
            own.add_(values)  # exact, or of images that only one of them has seen

    # What a profile is made of, under the names of LayerSums.

    @property
    def done(self) -> int:
        """Images so far."""
        return int(self._seen.sum())

    @property
    def half_images(self) -> npt.NDArray[np.int64]:
        """(half,) images in either half."""
        return self._seen.numpy().astype(np.int64)

    @property
    def on(self) -> Tensor:
        """(half, moment, channel, grid)"""
        return self._on

    @property
    def powers(self) -> Tensor:
        """(3, channel)"""
        return self._powers

    @property
    def cross(self) -> Tensor:
        """(channel, common, feature)"""
        return self._cross

    @property
    def shape(self) -> Tensor:
        """(channel, image, position)"""
        return self._shape

    def map_sums(self, channels: slice) -> Tensor:
        """(channel, position) float64"""
        return self._map[channels].clone()

    def square_sums(self, channels: slice) -> Tensor:
        """(channel, cell, cell) float64"""
        return self._square[channels].clone()

    def half_share(self) -> Float64:
        """(channel,)"""
        return self._activations.half_share()

    def statistics(self) -> tuple[Float64, Float64, npt.NDArray[np.float32]]:
        """(channel,) mean, standard deviation and maximum over all images, on the native grid."""
        count = self.done * self.layer.grid[0] * self.layer.grid[1]
        total, square = (self._on[:, moment, :, 0].sum(dim=0).cpu().numpy() / count for moment in (0, 1))
        shift, scale = (one.double().cpu().numpy() for one in (self.shift, self.scale))
        mean = shift + total / scale
        variance = np.maximum(square - total**2, 0.0) / scale**2
        single = self._single(slice(0, 2)) & (variance <= _STEADY * mean**2)
        variance[single] = 0.0
        return mean, np.sqrt(variance), self._high.amax(dim=0).cpu().numpy()

    def dead(self) -> Flags:
        """(channel, half) whether a unit holds one single value in a half of the images."""
        found = np.zeros((self.layer.channels, 2), bool)
        shift, scale = (one.double().cpu().numpy() for one in (self.shift, self.scale))
        for half, images in enumerate(self.half_images):
            if images == 0:
                found[:, half] = True
                continue
            count = images * self.layer.grid[0] * self.layer.grid[1]
            total, square = self._on[half, :, :, 0].cpu().numpy() / count
            mean, variance = shift + total / scale, (square - total**2) / scale**2
            found[:, half] = self._single(slice(half, half + 1)) & (variance <= _STEADY * mean**2)
        return found

    def _single(self, halves: slice) -> Flags:
        """(channel,) whether every image has the same maximum."""
        low, high = self._low[halves].amin(dim=0), self._high[halves].amax(dim=0)
        same: Flags = (low == high).cpu().numpy()
        return same


def layer_bytes(layer: Layer, images: int, commons: int, features: int) -> int:
    """What the sums of a layer take, those of a block included."""
    cells = int(np.prod(thumb_grid(layer.grid)))
    small = int(np.prod(thumb_grid(layer.grid, SHAPE_SIDE)))
    positions = layer.grid[0] * layer.grid[1]
    # Exact sums; and of a block those of either half, of the products of positions where maps are their own thumbs.
    of_block = 2 * positions + (2 if cells == positions else 1) * cells**2
    long = 8 * (positions + cells**2) + 4 * of_block + 4 * small * (len(shape_images(images)) + 64)
    return layer.channels * (long + ACTIVATION_BYTES + 16 * (commons + 1) * (features + 6))
