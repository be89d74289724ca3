"""How well the maps of one layer of G agree with what its units are asked for, and the slope of that.

`⟨U v, U t⟩ / (|U v| |U t|)` of a unit's map `v` is `⟨v, d⟩ / ℓ` with `d = UᵀU t / |U t|`, which never changes, and
`ℓ² = ⟨v, M v⟩`, `M = UᵀU`. Its slope in `v` is `d / ℓ − ⟨v, d⟩ M v / ℓ³`: it needs nothing that the value did not need,
so both are taken in one pass, a few images at a time so that they stay in the processor's cache. Autograd, step by
step, would write each of these maps to memory and read it again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rosetta.mining.grid import gram
from rosetta.units import Grid

Maps = Mapping[str, Tensor]
"""(image, channel, y, x) by layer name."""

_TINY = 1e-12
"""Keeps the direction of a map defined where the map is all zeros: it agrees with nothing then."""
_BLOCK = 1 << 18
"""Numbers of a map that are worked on at once on a CPU, 1 MiB of single precision."""


@dataclass(frozen=True)
class Metric:
    """The symmetric `M` that the length of each row's map is taken with: tridiagonal along y, then along x."""

    y: tuple[Tensor, Tensor]
    """(row, position) the diagonal, and (row, position − grid_x) what is beside it."""
    x: tuple[Tensor, Tensor] | None
    """(row, position) the diagonal, and (row, position − 1), 0 across the ends of the grid's lines; None: 1 and 0."""
    width: int
    """The grid's x."""

    @classmethod
    def of_grids(cls, grid: Grid, common: Sequence[Grid], like: Tensor) -> "Metric | None":
        """`UᵀU` from one grid towards the common grid of each row; None where that is the same for all."""
        if all(one == grid for one in common):
            return None
        kinds = list(dict.fromkeys(common))
        of_row = torch.tensor([kinds.index(one) for one in common])
        both = [_bands(grid, kind) for kind in kinds]
        y, x = (tuple(torch.stack([of[axis][band] for of in both])[of_row].to(like) for band in (0, 1))
                for axis in (0, 1))  # fmt: skip
        return cls((y[0], y[1]), (x[0], x[1]), grid[1])

    @classmethod
    def of_weights(cls, weight: Tensor) -> "Metric":
        """(row, y, x) how much each position counts."""
        diagonal = weight.flatten(1)
        return cls((diagonal, torch.zeros_like(diagonal[:, weight.shape[2] :])), None, weight.shape[2])

    def __call__(self, values: Tensor, spare: Tensor, into: Tensor) -> Tensor:
        """(image, row, position) `M v`; both other tensors are of that shape and written to."""
        along_y = _banded(values, *self.y, self.width, spare)
        return along_y if self.x is None else _banded(along_y, *self.x, 1, into)


@dataclass(frozen=True)
class LayerTarget:
    """What some units of one layer of G are asked for."""

    layer: str
    channels: Tensor
    """(unit,) their channels, ascending."""
    mean: Tensor
    """(unit, 1) of the run."""
    std: Tensor
    """(unit, 1) of the run, 1 where it is 0."""
    direction: Tensor
    """(image, row, position) on G's grid: a row is a unit on one common grid, and has its targets there, each of its
    weight as its length, added up."""
    unit: Tensor | None = None
    """(row,) which of the units; None: each unit has one row."""
    metric: Metric | None = None
    """What lengths are taken with; None: all positions of G's own grid alike."""

    def agreement(self, maps: Maps) -> Tensor:
        """(image,) the weighted correlations of all rows, added up; images are whole repeats of those asked for."""
        found: Tensor = _Agreement.apply(maps[self.layer], self)
        return found

    def against_all(self, maps: Tensor) -> Tensor:
        """(row, image) how maps (row, unit, y, x) of the units agree with each image that is asked for."""
        values = (maps.flatten(2) - self.mean) / self.std
        rows = values if self.unit is None else values[:, self.unit]
        other = rows if self.metric is None else self.metric(rows, torch.empty_like(rows), torch.empty_like(rows))
        length = (rows * other).sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
        return (rows / length).flatten(1) @ self.direction.flatten(1).T

    def measured(self, maps: Tensor, sloped: bool) -> tuple[Tensor, Tensor | None]:
        """(image,) as :meth:`agreement` of (image, channel, y, x), and its slope in the maps if asked for."""
        flat = maps.detach().flatten(2)
        total = flat.new_empty(len(flat))
        slope = torch.zeros_like(flat) if sloped else None
        images, count, positions = self.direction.shape
        at_once = images if flat.device.type != "cpu" else min(images, max(1, _BLOCK // (count * positions)))
        # Memory that is written again and again stays in the cache; fresh memory does not.
        room = flat.new_empty((4, at_once, count, positions))
        gathered = flat.new_empty((at_once, len(self.channels), positions))
        for span, asked in self._blocks(len(flat), at_once):
            rows, other, product, spare = room[:, : len(asked)]
            values = torch.index_select(flat[span], 1, self.channels, out=gathered[: len(asked)])
            values.sub_(self.mean).div_(self.std)
            rows = values if self.unit is None else torch.index_select(values, 1, self.unit, out=rows)
            other = rows if self.metric is None else self.metric(rows, spare, other)
            square = torch.mul(rows, other, out=product).sum(-1)
            length = square.clamp_min(_TINY).sqrt_()
            agreed = torch.mul(rows, asked, out=product).sum(-1)
            total[span] = (agreed / length).sum(1)
            if slope is not None:
                # Below the bound the length is a constant, and has no slope.
                bend = (agreed / length.pow(3)).mul_(square >= _TINY).neg_()
                change = torch.div(asked, length[..., None], out=product).addcmul_(other, bend[..., None])
                if self.unit is not None:
                    change = values.zero_().index_add_(1, self.unit, change)
                slope[span].index_add_(1, self.channels, change.div_(self.std))
        return total, None if slope is None else slope.view(maps.shape)

    def _blocks(self, rows: int, at_once: int) -> Iterator[tuple[slice, Tensor]]:
        """Images that are worked on at once, with what is asked of them (image, row, position)."""
        images = len(self.direction)
        for repeat in range(0, rows, images):
            for first in range(0, images, at_once):
                stop = min(first + at_once, images)
                yield slice(repeat + first, repeat + stop), self.direction[first:stop]


class _Agreement(torch.autograd.Function):
    """`LayerTarget.measured` for autograd."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, target: LayerTarget) -> Tensor:
        total, slope = target.measured(maps, ctx.needs_input_grad[0])
        ctx.save_for_backward(*(() if slope is None else (slope,)))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * weights[0][:, None, None, None], None


def _bands(grid: Grid, common: Grid) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Along y and along x: the diagonal of `UᵀU` (position,), and what is beside it, over a grid's positions."""
    by_y, by_x = (torch.from_numpy(gram(*sizes)) for sizes in zip(grid, common, strict=True))
    along_y = by_y.diagonal()[:, None].expand(grid), by_y.diagonal(1)[:, None].expand(grid[0] - 1, grid[1])
    beside = torch.nn.functional.pad(by_x.diagonal(1), (0, 1))
    along_x = by_x.diagonal().expand(grid), beside.expand(grid)
    return (
        (along_y[0].flatten(), along_y[1].flatten()),
        (along_x[0].flatten(), along_x[1].flatten()[:-1]),
    )


def _banded(values: Tensor, diagonal: Tensor, beside: Tensor, step: int, into: Tensor) -> Tensor:
    """(…, row, position) a symmetric matrix of three bands times maps: positions `step` apart meet."""
    found = torch.mul(values, diagonal, out=into)
    found[..., :-step].addcmul_(values[..., step:], beside)
    found[..., step:].addcmul_(values[..., :-step], beside)
    return found
