"""One Pearson correlation per pair of units, over a whole image set, exact and block by block.

The textbook way upsamples both maps to a common grid, joins all images and calls ``corrcoef``. Here the same number is
reached from moments that add up over blocks of images (:func:`block_moments`, :class:`Moments`), with the finer map
pulled back to the coarser grid instead (:mod:`rosetta.mining.grid`), so that all layers of one grid against all layers
of another are a single matrix product.

Each unit is shifted beforehand by an estimate of its mean. A fixed shift changes no correlation, since `U` keeps
constants, but leaves small numbers to multiply: products run in float32, sums across images and blocks in
float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.grid import common_grid, gram, product_grid, sum_weights, upsampling
from rosetta.units import Grid, Units

_DENSE = 256 * 256
"""Up to this many entries, one dense matrix over both axes beats thousands of small products along one axis each."""

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


def grids(units: Units) -> tuple[Grid, ...]:
    """The distinct grids of a model's layers, in the order of their first layer."""
    return tuple(dict.fromkeys(layer.grid for layer in units.layers))


@dataclass(frozen=True)
class Moments:
    """What the correlation of two sets of units needs from some images; sums over more images are sums of these.

    `A` and `B` count units, `Ga` and `Gb` distinct grids (:func:`grids`). Column `g` of a unit's sums is for the common
    grid of that unit's own grid with the other model's grid `g`.
    """

    images: int
    """How many images these sums run over."""
    cross: Float64
    """(A, B) Σ ⟨U a, U b⟩."""
    sum_a: Float64
    """(A, Gb) Σ U a."""
    square_a: Float64
    """(A, Gb) Σ (U a)²."""
    sum_b: Float64
    """(B, Ga) Σ U b."""
    square_b: Float64
    """(B, Ga) Σ (U b)²."""

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.images + other.images,
            self.cross + other.cross,
            self.sum_a + other.sum_a,
            self.square_a + other.square_a,
            self.sum_b + other.sum_b,
            self.square_b + other.square_b,
        )


@dataclass(frozen=True)
class _Stack:
    """All maps of one grid, shifted, channel first, so that a product over images and positions is one GEMM."""

    grid: Grid
    units: npt.NDArray[np.intp]
    """(channel,) which units of the model these are."""
    maps: Tensor
    """(channel, image, y, x) float32."""


def _stack(units: Units, maps: Mapping[str, Tensor], shift: Float32, device: torch.device) -> list[_Stack]:
    by_grid: dict[Grid, list[tuple[str, slice]]] = {}
    for layer, span in units.spans():
        by_grid.setdefault(layer.grid, []).append((layer.name, span))
    stacks = []
    for grid, members in by_grid.items():
        index = np.concatenate([np.arange(span.start, span.stop) for _, span in members])
        images = maps[members[0][0]].shape[0]
        stacked = torch.empty((len(index), images, *grid), dtype=torch.float32, device=device)
        row = 0
        for name, span in members:
            part = stacked[row : row + span.stop - span.start]
            part.copy_(maps[name].transpose(0, 1))
            part -= torch.from_numpy(shift[span]).to(device)[:, None, None, None]
            row += span.stop - span.start
        stacks.append(_Stack(grid, index, stacked))
    return stacks


def _axis(matrix: npt.NDArray[Any], device: torch.device) -> Tensor:
    return torch.tensor(matrix, dtype=torch.float32, device=device)


def _along_axes(maps: Tensor, along_y: Tensor | None, along_x: Tensor | None) -> Tensor:
    """(channel, image, y, x) maps times a (y, y') and an (x, x') matrix; None is the identity."""
    if along_x is not None:
        maps = maps @ along_x
    if along_y is not None:
        maps = along_y.T @ maps
    return maps


def pull_back(maps: Tensor, target: Grid) -> Tensor:
    """Apply the adjoint of `U` from `target` to the maps' grid, on the axes where the maps are the finer.

    Parameters
    ----------
    maps : (channel, image, y, x) float32
    target
        The other grid of the pair.

    Returns
    -------
    (channel, image, min(y, target y), min(x, target x)) float32
    """
    height, width = maps.shape[-2:]
    reached = min(height, target[0]), min(width, target[1])
    if reached == (height, width):
        return maps
    if height * width * reached[0] * reached[1] <= _DENSE:
        matrix = np.kron(upsampling(reached[0], height), upsampling(reached[1], width))
        return (maps.flatten(2) @ _axis(matrix, maps.device)).unflatten(2, reached)
    return _along_axes(
        maps,
        _axis(upsampling(target[0], height), maps.device) if height > target[0] else None,
        _axis(upsampling(target[1], width), maps.device) if width > target[1] else None,
    )


def _sums(stack: _Stack, other: Sequence[Grid]) -> tuple[Float64, Float64]:
    """Σ U a and Σ (U a)² of a stack, each (channel, other grid)."""
    height, width = stack.grid
    over_images = stack.maps.sum(dim=1).double().cpu().numpy()
    totals: dict[Grid, tuple[Float64, Float64]] = {}
    for grid in other:
        common = common_grid(stack.grid, grid)
        if common in totals:
            continue
        sums = np.einsum(
            "cyx,y,x->c",
            over_images,
            sum_weights(height, common[0]),
            sum_weights(width, common[1]),
            optimize=True,
        )
        smoothed = _along_axes(
            stack.maps,
            _axis(gram(height, common[0]), stack.maps.device) if height < common[0] else None,
            _axis(gram(width, common[1]), stack.maps.device) if width < common[1] else None,
        )
        squares = (smoothed * stack.maps).sum(dim=(2, 3)).double().sum(dim=1)
        totals[common] = sums, squares.cpu().numpy()
    columns = [totals[common_grid(stack.grid, grid)] for grid in other]
    return np.stack([sums for sums, _ in columns], axis=1), np.stack([squares for _, squares in columns], axis=1)


def block_moments(
    units_a: Units,
    maps_a: Mapping[str, Tensor],
    shift_a: Float32,
    units_b: Units,
    maps_b: Mapping[str, Tensor],
    shift_b: Float32,
    device: torch.device | str = "cpu",
) -> Moments:
    """The moments of two models over one block of images.

    Parameters
    ----------
    units_a, units_b
        The units; `A` and `B` in number.
    maps_a, maps_b
        By layer name, (image, channel, y, x) of any floating type; the same images on both sides.
    shift_a, shift_b
        (A,) and (B,) float32, near each unit's mean, the same for every block of a run.

    Returns
    -------
    Moments
        Of the shifted maps.
    """
    device = torch.device(device)
    same = maps_a is maps_b and shift_a is shift_b
    side_a = _stack(units_a, maps_a, shift_a, device)
    side_b = side_a if same else _stack(units_b, maps_b, shift_b, device)
    grids_a, grids_b = grids(units_a), grids(units_b)
    cross = np.zeros((len(units_a), len(units_b)))
    sum_a, square_a = _gather(side_a, len(units_a), grids_b)
    sum_b, square_b = (sum_a, square_a) if same else _gather(side_b, len(units_b), grids_a)
    for a in side_a:
        pulled_a: dict[Grid, Tensor] = {}
        for b in side_b:
            target = product_grid(a.grid, b.grid)
            if target not in pulled_a:
                pulled_a[target] = pull_back(a.maps, b.grid).flatten(1)
            product = pulled_a[target] @ pull_back(b.maps, a.grid).flatten(1).T
            cross[np.ix_(a.units, b.units)] = product.double().cpu().numpy()
    images = side_a[0].maps.shape[1]
    return Moments(images, cross, sum_a, square_a, sum_b, square_b)


def _gather(side: Sequence[_Stack], units: int, other: Sequence[Grid]) -> tuple[Float64, Float64]:
    sums, squares = np.zeros((units, len(other))), np.zeros((units, len(other)))
    for stack in side:
        sums[stack.units], squares[stack.units] = _sums(stack, other)
    return sums, squares


def pearson(
    moments: Moments,
    units_a: Units,
    units_b: Units,
    constant_a: npt.NDArray[np.bool_],
    constant_b: npt.NDArray[np.bool_],
) -> Float32:
    """The correlations that the moments of all images amount to.

    Parameters
    ----------
    constant_a, constant_b
        (A,) and (B,): units whose maps hold one single value; they have no correlation.

    Returns
    -------
    (A, B) float32
        Pearson correlations in [-1, 1]; NaN where one of the units is constant.
    """
    grids_a, grids_b = grids(units_a), grids(units_b)
    of_a = np.array([grids_a.index(layer.grid) for layer in units_a.layers])[units_a.layer_index()]
    of_b = np.array([grids_b.index(layer.grid) for layer in units_b.layers])[units_b.layer_index()]
    result = np.empty(moments.cross.shape, dtype=np.float32)
    for i, grid_a in enumerate(grids_a):
        rows = np.flatnonzero(of_a == i)
        for j, grid_b in enumerate(grids_b):
            columns = np.flatnonzero(of_b == j)
            height, width = common_grid(grid_a, grid_b)
            positions = moments.images * height * width
            mean_a, mean_b = moments.sum_a[rows, j] / positions, moments.sum_b[columns, i] / positions
            variance_a = moments.square_a[rows, j] / positions - mean_a**2
            variance_b = moments.square_b[columns, i] / positions - mean_b**2
            covariance = moments.cross[np.ix_(rows, columns)] / positions - np.outer(mean_a, mean_b)
            spread = np.outer(_deviation(variance_a, constant_a[rows]), _deviation(variance_b, constant_b[columns]))
            result[np.ix_(rows, columns)] = np.clip(covariance / spread, -1.0, 1.0)
    return result


def _deviation(variance: Float64, constant: npt.NDArray[np.bool_]) -> Float64:
    """Standard deviations; NaN for constant units, whose variance is rounding noise."""
    return np.sqrt(np.where(constant | (variance <= 0.0), np.nan, variance))


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Add moments up, left to right: the order is fixed, so the same parts give the same bytes."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
