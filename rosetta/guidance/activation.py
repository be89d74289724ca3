"""`L_act`: how well the generator's maps agree with wished-for maps, unit by unit.

The agreement of a unit `g` of G with a target map `t` is the correlation of the two on their common grid, both
normalised with the run's mean and standard deviation rather than with their own:
`⟨U g, U t⟩ / (|U g| |U t|)`. So a concept that is missing everywhere differs from one that is present everywhere.

Nothing is upsampled on the way. `⟨U g, U t⟩ = ⟨g, Uᵀ U t⟩`: a target is brought onto the grid of G once, before the
first step, and divided by its length; targets of one unit that share a common grid are added up there. A step costs
one inner product a unit, however many buddies it has, and `|U g|² = ⟨g, UᵀU g⟩` a small tridiagonal matrix per axis.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.matches import Index, Matches, Statistics
from rosetta.mining.grid import common_grid, gram, upsampling
from rosetta.units import Grid

Maps = Mapping[str, Tensor]
"""(image, channel, y, x) by layer name."""

_TINY = 1e-12
"""Keeps the direction of a map defined where the map is all zeros: it agrees with nothing then."""


@dataclass(frozen=True)
class LayerTarget:
    """What some units of one layer of G are asked for."""

    layer: str
    channels: Tensor
    """(unit,) their channels."""
    mean: Tensor
    """(unit, 1, 1) of the run."""
    std: Tensor
    """(unit, 1, 1) of the run, 1 where it is 0."""
    direction: Tensor
    """(image, unit, y, x) on G's grid: the targets of each unit, each of length 1 on its common grid, added up."""
    gram: tuple[Tensor, Tensor] | None = None
    """`UᵀU` per axis, towards the common grid; None where that is G's own."""
    weight: Tensor | None = None
    """(unit, y, x) or (y, x) how much each position counts; None: all the same."""

    def normalised(self, maps: Maps) -> Tensor:
        """(row, unit, y, x) G's maps of these units on the run's scale."""
        return (maps[self.layer][:, self.channels] - self.mean) / self.std

    def agreement(self, maps: Maps) -> Tensor:
        """(row, unit) the correlations with a unit's targets, added up; rows are whole repeats of the images."""
        values = self.normalised(maps).unflatten(0, (-1, len(self.direction)))
        other = values
        if self.gram is not None:
            other = self.gram[0] @ values @ self.gram[1]
        if self.weight is not None:
            other = other * self.weight
        length = (values * other).sum((-2, -1)).clamp_min(_TINY).sqrt()
        return ((values * self.direction).sum((-2, -1)) / length).flatten(0, 1)


@dataclass(frozen=True)
class ActivationTarget:
    """What all chosen units of G are asked for; called with G's maps it gives `L_act`."""

    layers: tuple[LayerTarget, ...]
    pairs: int
    """How many correlations it is the mean of."""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("a target needs at least one unit to ask something of")

    def __call__(self, maps: Maps) -> Tensor:
        """(row,) mean correlation over all pairs, in −1…1."""
        total = torch.stack([layer.agreement(maps).sum(1) for layer in self.layers]).sum(0)
        return total / self.pairs


def matched_target(matches: Matches, maps: Mapping[str, Maps], device: torch.device | str = "cpu") -> ActivationTarget:
    """Ask each matched unit of G to look like its buddies do on the target images.

    Parameters
    ----------
    matches
        The pairs; at least one.
    maps
        By model, what it puts out for the target images: (image, channel, y, x) by layer name.
    """
    g = matches.generator
    layer_of = g.units.layer_index()
    found: dict[tuple[str, Grid], list[tuple[Index, Tensor]]] = defaultdict(list)
    for name, statistics in matches.others.items():
        mine = matches.model == name
        unit_g, unit_d = matches.unit_g[mine], matches.unit[mine]
        for layer_g, layer_d, pairs in _by_layers(layer_of[unit_g], statistics.units.layer_index()[unit_d]):
            target = _normalised(maps[name], statistics, layer_d, unit_d[pairs]).to(device)
            layer, grid_d = g.units.layers[layer_g], statistics.units.layers[layer_d].grid
            pulled = _directions(target, layer.grid, grid_d)
            found[layer.name, common_grid(layer.grid, grid_d)].append((unit_g[pairs], pulled))
    layers = [_collected(g, layer, common, parts) for (layer, common), parts in found.items()]
    return ActivationTarget(tuple(layers), len(matches))


def wished_target(
    statistics: Statistics,
    layer: str,
    units: Index,
    maps: Tensor,
    known: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> LayerTarget:
    """Ask units of one layer of G for given maps on their own grid.

    Parameters
    ----------
    units
        (unit,) indices in G, all of this layer.
    maps
        (image, unit, y, x) in G's own values.
    known
        (unit, y, x) or (y, x) how much each position counts; left out, all the same.
    """
    start = statistics.units.span(layer).start
    values = maps.to(device)
    mean, std = _scale(statistics, units, values)
    target = (values - mean) / std
    weight = None if known is None or bool((known == 1).all()) else known.to(target)
    heavy = target if weight is None else target * weight
    length = (target * heavy).sum((-2, -1), keepdim=True).clamp_min(_TINY).sqrt()
    channels = torch.from_numpy(units - start).to(device)
    return LayerTarget(layer, channels, mean, std, heavy / length, None, weight)


def _by_layers(layer_g: Index, layer_d: Index) -> list[tuple[int, int, Index]]:
    """Each pair of layers, with the positions of its pairs of units."""
    both = np.stack([layer_g, layer_d])
    kinds, which = np.unique(both, axis=1, return_inverse=True)
    return [(int(a), int(b), np.flatnonzero(which.ravel() == kind)) for kind, (a, b) in enumerate(kinds.T)]


def _scale(statistics: Statistics, units: Index, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.from_numpy(of[units]).to(like) for of in (statistics.mean, statistics.scale))
    return mean[:, None, None], std[:, None, None]


def _normalised(maps: Maps, statistics: Statistics, layer: int, units: Index) -> Tensor:
    """(image, unit, y, x) maps of some units of one layer on the run's scale."""
    start = statistics.units.offsets[layer]
    values = maps[statistics.units.layers[layer].name][:, torch.from_numpy(units - start)]
    mean, std = _scale(statistics, units, values)
    return (values - mean) / std


def _directions(target: Tensor, grid_g: Grid, grid_d: Grid) -> Tensor:
    """(image, unit, y, x) on G's grid: `U_gᵀ U_d t / |U_d t|`."""
    common = common_grid(grid_g, grid_d)
    to_common = [upsampling(*sizes) for sizes in zip(grid_d, common, strict=True)]
    from_g = [upsampling(*sizes) for sizes in zip(grid_g, common, strict=True)]
    across = [torch.from_numpy(a.T @ b).to(target) for a, b in zip(from_g, to_common, strict=True)]
    grams = [torch.from_numpy(matrix.T @ matrix).to(target) for matrix in to_common]
    length = (target * (grams[0] @ target @ grams[1])).sum((-2, -1), keepdim=True).clamp_min(_TINY).sqrt()
    return across[0] @ (target / length) @ across[1].T


def _collected(g: Statistics, layer: str, common: Grid, parts: Sequence[tuple[Index, Tensor]]) -> LayerTarget:
    """Add up the targets of each unit."""
    units, place = np.unique(np.concatenate([units for units, _ in parts]), return_inverse=True)
    pulled = torch.cat([direction for _, direction in parts], dim=1)
    shape = (pulled.shape[0], len(units), *pulled.shape[2:])
    direction = pulled.new_zeros(shape).index_add_(1, torch.from_numpy(place).to(pulled.device), pulled)
    grid = (pulled.shape[2], pulled.shape[3])
    grams = None
    if grid != common:
        grams = tuple(torch.from_numpy(gram(*sizes)).to(pulled) for sizes in zip(grid, common, strict=True))
    mean, std = _scale(g, units, pulled)
    channels = torch.from_numpy(units - g.units.span(layer).start).to(pulled.device)
    return LayerTarget(layer, channels, mean, std, direction, grams)  # type: ignore[arg-type]
