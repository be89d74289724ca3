"""What becomes of an image, and of what other models see in it, when a unit of G is ablated or raised.

Bau et al., "GAN Dissection" (ICLR 2019), set units of a generator and look at the image. Here models look at it: with
`z` a unit's map on the scale of the run (its mean 0, its standard deviation 1), `a` a unit of G and `d` one of another
model, before and after (′) the intervention,

- ablated, `a` is its mean everywhere, and ``effect = ⟨z_a · (z_d − z_d′)⟩``: the part of the covariance of `a` and `d`
  that is gone once `a` no longer varies. Where `a` was high, `d` has to fall, where it was low, to rise; what `d` does
  where `a` was at its mean counts for nothing. So the change is weighed by where `a` was active, it is on the scale of
  a correlation, and what only correlates with `a` has none;
- raised by some standard deviations inside a box, ``effect`` is the mean of ``z_d′ − z_d`` inside that box.

⟨·⟩ is the mean over images and over all positions of the common grid of both, on which maps are resampled as for their
correlation. As there, nothing is upsampled: ``⟨U a, U d⟩ = ⟨Uᵀ_d U_a a, d⟩``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.edits import WHOLE, Box
from rosetta.guidance.matches import Float64, Index
from rosetta.mining.grid import common_grid, upsampling
from rosetta.units import Grid, Layer, Units
from rosetta.zoo.maps.writing import Change

FLOOR = 1e-5
"""Effects nearer to 0, in standard deviations, are rounding and count as 0: batches of other sizes round otherwise."""


@dataclass(frozen=True)
class Scale:
    """A model's units with their mean and spread over a run."""

    units: Units
    mean: Float64
    """(unit,)"""
    std: Float64
    """(unit,) 0 for a unit that is constant."""


@dataclass(frozen=True)
class Intervention:
    """What is done to a unit of G."""

    raised: float | None = None
    """By how many of its standard deviations it is raised; None: it is set to its mean everywhere."""
    box: Box = WHOLE
    """Where it is raised."""

    def change(self, scale: Scale, units: Index) -> dict[str, Change]:
        """By layer: image `n` of a batch has unit `n` of these changed."""
        found = {}
        for layer, span in scale.units.spans():
            images = np.flatnonzero((units >= span.start) & (units < span.stop))
            if not len(images):
                continue
            mine = units[images]
            level = torch.from_numpy(scale.mean[mine] if self.raised is None else self.raised * scale.std[mine])
            values = level[:, None, None]
            if self.raised is not None:
                values = values * _coverage(self.box, layer)
            channels = torch.from_numpy(mine - span.start)
            found[layer.name] = Change(torch.from_numpy(images), channels, values, adds=self.raised is not None)
        return found

    def weights(self, scale: Scale, maps: Mapping[str, Tensor], units: Index, grid: Grid) -> Tensor:
        """What the change of a map counts at each position of its grid.

        Parameters
        ----------
        maps
            (1, channel, y, x) by layer of G, of the image before.
        units
            (n,) units of G.
        grid
            Of the maps that change.

        Returns
        -------
        Tensor
            (n, y, x) float64: summed with the change of a map on that grid, after less before, it gives the effect on
            this image.
        """
        if self.raised is not None:
            share = self.box.coverage(*grid)
            return (share / share.sum()).expand(len(units), -1, -1)
        result = torch.zeros(len(units), *grid, dtype=torch.float64)
        for layer, span in scale.units.spans():
            rows = np.flatnonzero((units >= span.start) & (units < span.stop))
            if not len(rows):
                continue
            mine = units[rows]
            values = maps[layer.name][0, torch.from_numpy(mine - span.start)].cpu().double()
            mean, std = (torch.from_numpy(of[mine])[:, None, None] for of in (scale.mean, scale.std))
            high, wide = common = common_grid(layer.grid, grid)
            across = [
                torch.from_numpy(upsampling(own, at).T @ upsampling(other, at))
                for own, other, at in zip(layer.grid, grid, common, strict=True)
            ]
            result[rows] = across[0].T @ ((mean - values) / std) @ across[1] / (high * wide)
        return result


def measured(before: Tensor, after: Tensor, weights: Tensor) -> tuple[Float64, Float64]:
    """How far the units of a layer move, image by image.

    Parameters
    ----------
    before
        (1, channel, y, x) maps of one image.
    after
        (n, channel, y, x) maps of the same after `n` interventions.
    weights
        (n, y, x) as :meth:`Intervention.weights` gives them.

    Returns
    -------
    tuple
        (n, channel) effects and mean squares of the change, in the model's own values.
    """
    change = after.float() - before.float()
    effect = torch.einsum("ncyx,nyx->nc", change, weights.float().to(change.device))
    square = change.square().mean((2, 3))
    return effect.cpu().double().numpy(), square.cpu().double().numpy()


def _coverage(box: Box, layer: Layer) -> Tensor:
    """(y, x) float64 on the module's own grid, which may reach beyond the image: how much of a position is inside."""
    y0, x0, y1, x1 = layer.frame
    rows, columns = y1 - y0, x1 - x0
    inside = Box((box.x0 - x0) / columns, (box.y0 - y0) / rows, (box.x1 - x0) / columns, (box.y1 - y0) / rows)
    return inside.coverage(*layer.raw_grid)
