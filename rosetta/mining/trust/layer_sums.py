"""What a layer's profile follows from, in sums that grow chunk by chunk of images.

Maps pass once, in the order of images, and a unit's mean and standard deviation are known only afterwards. So every
value is taken about a *shift* and in a *scale* of its unit that follow from the first images, and the sums are turned
into those of standardised maps at the end (:mod:`rosetta.mining.trust.profile`). A shift near the mean leaves small
numbers to multiply in float32; the scale keeps fourth powers within its range.

All sums stay on the device until the end. Those of every position, or pair of positions, add up in float32 over at most
:data:`TERMS` images; all others do so within a step of images, and over steps in float64.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import gram, sum_weights
from rosetta.mining.halves import Mask
from rosetta.mining.plan import ranges
from rosetta.mining.room import Room
from rosetta.mining.trust.pixels import FeatureProducts, FeatureSpan
from rosetta.mining.trust.profile import SHAPE_IMAGES, SHAPE_SIDE, shape_images
from rosetta.mining.trust.selectivity import half_share
from rosetta.mining.trust.thumbs import coarsening, thumb_grid, thumbs
from rosetta.units import Grid, Layer

TERMS = 8192
"""Terms of one sum in float32. Rounding reaches 1e-7 over so many (:mod:`rosetta.mining.moments`)."""
_STEP_BYTES = 4 * 2**20
"""Maps of one step on a processor: they pass several times, and are to stay in the caches."""
_STEP_BYTES_BESIDE = 256 * 2**20
"""The same on any other device, which takes long to be told what to do."""
_STEP_IMAGES, _ROWS = 64, 64
_QUIET = 2.0**-20
"""Of the loudest unit's spread in the first images: the scale of a unit whose own spread is below that. A unit that is
silent at first may become as loud as the others later on."""
_OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
"""The neighbours that `UᵀU` joins a position with, one of each pair of opposites."""


class LongSum:
    """A sum over images, in float32 over at most :data:`TERMS` of them and then over such sums."""

    def __init__(self, shape: Sequence[int], images: int, device: torch.device) -> None:
        self.part = torch.zeros(*shape, device=device)
        """To be added to in place."""
        self._total = torch.zeros_like(self.part) if images > TERMS else None
        self._terms = 0

    def make_room(self, images: int) -> None:
        """Call before so many images are added."""
        self._terms += images
        if self._total is not None and self._terms > TERMS:
            self._total.add_(self.part)
            self.part.zero_()
            self._terms = images

    def forget(self) -> None:
        """There were no images; what was added in place is set to zero by whoever added it."""
        self._terms = 0
        if self._total is not None:
            self._total.zero_()

    def of(self, channels: slice) -> Tensor:
        """(channel, …) float64 the sum so far."""
        value = self.part[channels].double()
        return value if self._total is None else value.add_(self._total[channels])


class LayerSums:
    """Sums of one layer over all images of a run."""

    def __init__(
        self,
        layer: Layer,
        first: Mask,
        commons: Sequence[Grid],
        features: int,
        *,
        width: int | None = None,
        device: torch.device | str = "cpu",
        about: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Begin at zero.

        Parameters
        ----------
        first
            (image of the run,) whether each belongs to the first half.
        commons
            Common grids with the units' partners, none coarser than the layer's own.
        features
            How many pixel features.
        width
            Channels in a column of maps (:class:`storage.artifacts.shards.Shards`); left out, all.
        about
            (channel,) float32 shift and scale; left out, they follow from the first images.
        """
        self.layer, self.images, self.commons = layer, len(first), tuple(commons)
        images = self.images
        self.grids = (layer.grid, *(common for common in self.commons if common != layer.grid))
        """The layer's own grid, and the common grids that differ from it."""
        self._device, self.done = torch.device(device), 0
        channels, (height, width_of_map) = layer.channels, layer.grid
        self._positions = height * width_of_map
        self._columns = width or channels
        # Rows of a product's two sides: neither should be read again and again for few of the other's.
        rows = max(min(channels, _ROWS), features * len(self.commons))
        step_bytes = _STEP_BYTES if self._device.type == "cpu" else _STEP_BYTES_BESIDE
        most = max(1, step_bytes // (4 * self._positions * rows))
        self._step = 1 << (min(_STEP_IMAGES, most).bit_length() - 1)
        at_once = step_bytes // (4 * self._positions * self._step)
        self._group = self._columns * max(1, at_once // self._columns)
        self._thumb, self._small = thumb_grid(layer.grid), thumb_grid(layer.grid, SHAPE_SIDE)
        cells = self._thumb[0] * self._thumb[1]

        def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=self._device)

        self._is_about = about is not None
        self.shift = zeros(channels, dtype=torch.float32) if about is None else about[0]
        self.scale = torch.ones(channels, device=self._device) if about is None else about[1]
        self.mass = zeros(channels, images, dtype=torch.float32)
        """(channel, image) what is above 0, of maps as they are."""
        self.map = LongSum((channels, 2, self._positions), images, self._device)
        """Of either half."""
        self._is_small = self._thumb == layer.grid
        """Whether maps are their own thumbs, whose products hold those of all neighbours."""
        self._apart = self._is_small and len(self.grids) > 1
        """Whether these products are of either half."""
        shape = (2 if self._apart else 1, channels, cells, cells)
        self.square = [LongSum(shape[1:], images, self._device) for _ in range(shape[0])]
        """Products of a thumb's positions."""
        self.powers = zeros(3, channels)
        """Σ y², Σ y³ and Σ y⁴."""
        self.cross = zeros(channels, len(self.commons), features)
        self.on = zeros(2, 2, channels, len(self.grids))
        """Sums and sums of squares, of either half, on each of :attr:`grids`; once all images are in."""
        chosen = shape_images(images)
        self._chosen, self._chosen_here = chosen, torch.from_numpy(chosen).to(self._device)
        self.shape = zeros(channels, len(chosen), self._small[0] * self._small[1], dtype=torch.float32)
        self._coarser = coarsening(self._thumb, self._small).to(self._device)
        self._weights = _sum_weights(layer.grid, self.grids, self._device)
        finer = self.grids[1:]
        self._neighbours = [] if self._is_small else _neighbour_weights(layer.grid, finer, self._device)
        self._pairs = _pair_weights(layer.grid, finer, self._device) if self._apart else None
        self._set_halves(first)

    def _set_halves(self, first: Mask) -> None:
        self.half_images = np.array([first.sum(), (~first).sum()], np.int64)
        """(half,) images in either half."""
        self._member = torch.from_numpy(np.stack([first, ~first]).astype(np.float32)).to(self._device)
        """(half, image) 1 where the image belongs to the half."""
        self._images_of = [np.flatnonzero(half) for half in (first, ~first)]
        self.indices = [torch.from_numpy(half).to(self._device) for half in self._images_of]
        """Of either half the images, (image,) int64."""

    def add(self, maps: Tensor, products: FeatureProducts, features: FeatureSpan, room: Room) -> None:
        """Add the next images.

        Parameters
        ----------
        maps : (image, channel, y, x) or (column, image, channel, y, x) float32, as stored
            A chunk, which begins at a multiple of its length.
        products
            For the layer's grid and common grids.
        features
            Of these images, on the sums' device.
        room
            Where temporary tensors go.
        """
        columns = maps[None] if maps.ndim == 4 else maps
        for images in ranges(columns.shape[1], self._step):
            part = columns[:, images]
            if self.done == 0 and not self._is_about:
                self._begin(part, room)
            count = part.shape[1]
            self.map.make_room(count)
            for square in self.square:
                square.make_room(count)
            rows = features.rows(products, images)
            for channels in ranges(self.layer.channels, self._group):
                self._add(self._stack(part, channels, room), channels, products, rows, room)
            self.done += count
        if self.done == self.images:
            self._end()

    def clear(self, first: Mask) -> None:
        """Begin at zero again, with as many images."""
        self.done = 0
        self._set_halves(first)
        for sums in (self.mass, self.powers, self.cross, self.on):
            sums.zero_()
        for long in (self.map, *self.square):
            long.part.zero_()
            long.forget()

    def map_sums(self, channels: slice) -> Tensor:
        """(channel, position) float64 Σ y."""
        return self.map.of(channels).sum(dim=1)

    def square_sums(self, channels: slice) -> Tensor:
        """(channel, cell, cell) float64 products of a thumb's positions."""
        total = self.square[0].of(channels)
        for other in self.square[1:]:
            total += other.of(channels)
        return total

    def half_share(self) -> npt.NDArray[np.float64]:
        """(channel,) the smallest share of images that carries half of a unit's activation."""
        return half_share(self.mass.cpu().numpy())

    def _stack(self, columns: Tensor, channels: slice, room: Room) -> Tensor:
        """Some channels' maps (channel, image, position), in room of their own."""
        count, images = channels.stop - channels.start, columns.shape[1]
        stack = room.take("stack", (count, images, self._positions), self._device)
        if len(columns) == 1:
            stack.copy_(columns[0, :, channels].transpose(0, 1).flatten(2), non_blocking=True)
            return stack
        width = columns.shape[2]
        first, whole = channels.start // width, count // width
        into = stack[: whole * width].view(whole, width, images, self._positions)
        into.copy_(columns[first : first + whole].transpose(1, 2).flatten(3), non_blocking=True)
        if rest := count - whole * width:
            last = columns[first + whole, :, :rest].transpose(0, 1).flatten(2)
            stack[whole * width :].copy_(last, non_blocking=True)
        return stack

    def _begin(self, columns: Tensor, room: Room) -> None:
        """Find each unit's shift and scale."""
        spread = torch.zeros_like(self.shift)
        for channels in ranges(self.layer.channels, self._group):
            stack = self._stack(columns, channels, room).flatten(1)
            self.shift[channels] = stack.mean(dim=1)
            spread[channels] = stack.sub_(self.shift[channels, None]).abs_().amax(dim=1)
        floor = torch.maximum(spread, _QUIET * spread.max())
        exponent = torch.where(floor > 0, -floor.log2().floor(), 0.0)
        self.scale = torch.exp2(exponent.clamp(-100, 100))

    def _add(
        self, stack: Tensor, channels: slice, products: FeatureProducts, rows: Sequence[Tensor], room: Room
    ) -> None:
        images = slice(self.done, self.done + stack.shape[1])
        member = self._member[:, images]
        scratch = room.take("scratch", stack.shape, self._device)
        self.mass[channels, images] = torch.clamp_min(stack, 0.0, out=scratch).sum(dim=2)
        stack.sub_(self.shift[channels, None, None]).mul_(self.scale[channels, None, None])
        maps = stack.view(*stack.shape[:2], *self.layer.grid)
        small = thumbs(maps, self._thumb, room)
        self._of_halves(stack, member, self.map.part[channels])
        self._add_squares(small, channels, images)
        self._keep_shape(small, channels, images)
        if self.commons:
            self.cross[channels] += products.cross(maps, rows).double()
        squares = torch.mul(stack, stack, out=scratch)
        square = squares.sum(dim=2).double() @ member.T.double()
        self.on[:, 1, channels, 0] += square.T
        self.powers[0, channels] += square.sum(dim=1)
        self.powers[2, channels] += torch.linalg.vector_norm(squares, dim=(1, 2)).double().square()
        for offset, weights in self._neighbours:
            product = scratch if offset == 0 else self._product(stack, offset, room)
            self.on[:, 1, channels, 1:] += (self._of_halves(product, member).double() @ weights).transpose(0, 1)
        self.powers[1, channels] += squares.mul_(stack).sum(dim=(1, 2)).double()

    def _add_squares(self, small: Tensor, channels: slice, images: slice) -> None:
        if not self._apart:
            self.square[0].part[channels].baddbmm_(small.transpose(1, 2), small)
            return
        for square, indices, here in zip(self.square, self._images_of, self.indices, strict=True):
            begin, stop = np.searchsorted(indices, [images.start, images.stop])
            if begin < stop:
                of_half = small.index_select(1, here[begin:stop] - images.start)
                square.part[channels].baddbmm_(of_half.transpose(1, 2), of_half)

    def _of_halves(self, stack: Tensor, member: Tensor, into: Tensor | None = None) -> Tensor:
        """(channel, half, position) sums over the images of either half; added to `into` where it is given."""
        ones = member.expand(len(stack), 2, -1)
        return torch.bmm(ones, stack) if into is None else into.baddbmm_(ones, stack)

    def _product(self, stack: Tensor, offset: int, room: Room) -> Tensor:
        """Each position times the one so many further on; those beyond the map's edge have weight 0."""
        product = room.take("product", stack.shape, self._device)
        flat, into = stack.flatten(1), product.flatten(1)
        torch.mul(flat[:, :-offset], flat[:, offset:], out=into[:, :-offset])
        into[:, -offset:] = 0.0
        return product

    def _keep_shape(self, small: Tensor, channels: slice, images: slice) -> None:
        first, stop = np.searchsorted(self._chosen, [images.start, images.stop])
        if first < stop:
            index = self._chosen_here[first:stop] - images.start
            self.shape[channels, first:stop] = small.index_select(1, index) @ self._coarser

    def _end(self) -> None:
        """What follows from the sums over all images: Σ U y on each grid, and Σ (U y)² where products of all positions
        are known.
        """
        for channels in ranges(self.layer.channels, max(1, 2**20 // self._positions)):
            self.on[:, 0, channels] = (self.map.of(channels) @ self._weights).transpose(0, 1)
            if self._pairs is not None:
                for half, square in enumerate(self.square):
                    self.on[half, 1, channels, 1:] = square.of(channels).flatten(1) @ self._pairs


def sum_bytes(layer: Layer, images: int, commons: Sequence[Grid], features: int) -> int:
    """What the sums of a layer take at most."""
    height, width = layer.grid
    (thumb_y, thumb_x), (small_y, small_x) = thumb_grid(layer.grid), thumb_grid(layer.grid, SHAPE_SIDE)
    apart = (thumb_y, thumb_x) == layer.grid and any(common != layer.grid for common in commons)
    squares = (1 + apart) * (thumb_y * thumb_x) ** 2
    long = 4 * (2 * height * width + squares) * (1 if images <= TERMS else 2)
    kept = 4 * (images + small_y * small_x * min(images, SHAPE_IMAGES))
    of_images = images * (2 * 4 + 2 * 8)
    return layer.channels * (long + kept + 8 * (len(commons) + 1) * (features + 6)) + of_images


def step_bytes(layer: Layer, images: int, commons: Sequence[Grid], features: int) -> int:
    """What a step of a layer, or turning its sums into a profile, takes at most beside them."""
    height, width = layer.grid
    (thumb_y, thumb_x), side = thumb_grid(layer.grid), max(height, width)
    # Three copies of a group's maps, and features on each common grid with what they are made by.
    step = 4 * max(_STEP_BYTES, 4 * layer.values // max(1, layer.channels // 12))
    rows = 4 * 4 * features * max(1, len(commons)) * _STEP_BYTES // (features * max(1, len(commons)))
    at_end = layer.channels * (4 * 8 * height * width + 3 * (thumb_y * thumb_x) ** 2 + 8 * images)
    return max(step + rows + 8 * side**2, at_end)


def _sum_weights(grid: Grid, on: Sequence[Grid], device: torch.device) -> Tensor:
    """(position, grid) float64 what each position counts in Σ U a."""
    weights = [np.outer(*(sum_weights(grid[axis], common[axis]) for axis in (0, 1))).ravel() for common in on]
    return torch.tensor(np.stack(weights, axis=1), device=device)


def _pair_weights(grid: Grid, commons: Sequence[Grid], device: torch.device) -> Tensor:
    """(position · position, common) float64 what each product of two positions counts in Σ (U a)²."""
    weights = [np.kron(gram(grid[0], common[0]), gram(grid[1], common[1])).ravel() for common in commons]
    return torch.tensor(np.stack(weights, axis=1), device=device)


def _neighbour_weights(grid: Grid, commons: Sequence[Grid], device: torch.device) -> list[tuple[int, Tensor]]:
    """What each product of neighbours counts in Σ (U a)², as `UᵀU` is tridiagonal on each axis.

    Returns
    -------
    list
        How far apart the two are in a map that is laid out row by row, and (position, common) float64 weights, given
        to the first of the two; twice where a product stands for its mirror too.
    """
    found = []
    height, width = grid
    for down, right in _OFFSETS:
        weights = np.zeros((*grid, len(commons)))
        for index, common in enumerate(commons):
            along_y = np.diagonal(gram(height, common[0]), down)
            along_x = np.diagonal(gram(width, common[1]), abs(right))
            first = max(0, -right)
            weights[: height - down, first : first + len(along_x), index] = np.outer(along_y, along_x)
        if weights.any():
            twice = 1.0 if (down, right) == (0, 0) else 2.0
            flat = torch.tensor(twice * weights.reshape(-1, len(commons)), device=device)
            found.append((down * width + right, flat))
    return found
