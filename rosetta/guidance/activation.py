"""`L_act`: how well the generator's maps agree with wished-for maps, unit by unit.

The agreement of a unit `g` of G with a target map `t` is the correlation of the two on their common grid, both
normalised with the run's mean and standard deviation rather than with their own:
`r = ⟨U g, U t⟩ / (|U g| |U t|)`. So a concept that is missing everywhere differs from one that is present everywhere.
Over all matches, `L_act = Σ w_m r_m / Σ w_m` (:mod:`rosetta.guidance.weights`).

Nothing is upsampled on the way. `⟨U g, U t⟩ = ⟨g, Uᵀ U t⟩`: a target is brought onto the grid of G once, before the
first step, and divided by its length; targets of one unit that share a common grid are added up there. A step costs
one inner product a unit and grid, however many buddies it has (:mod:`rosetta.guidance.layer_target`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.layer_target import LayerTarget, Maps, Metric
from rosetta.guidance.matches import Float64, Index, Matches, Statistics
from rosetta.mining.grid import common_grid, upsampling
from rosetta.units import Grid

_TINY = 1e-12
"""Keeps the direction of a target defined where it is all zeros: nothing agrees with it then."""


@dataclass(frozen=True)
class ActivationTarget:
    """What all chosen units of G are asked for; called with G's maps it gives `L_act`."""

    layers: tuple[LayerTarget, ...]
    weight: float
    """`Σ w_m` over all correlations that it is the mean of."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError("a target needs at least one unit to ask something of")

    def __call__(self, maps: Maps) -> Tensor:
        """(row,) weighted mean correlation over all pairs, in −1…1."""
        return torch.stack([layer.agreement(maps) for layer in self.layers]).sum(0) / self.weight


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
    found: dict[str, list[tuple[Grid, Index, Tensor]]] = defaultdict(list)
    for name, statistics in matches.others.items():
        mine = matches.model == name
        unit_g, unit_d, weight = matches.unit_g[mine], matches.unit[mine], matches.weights[mine]
        for layer_g, layer_d, pairs in _by_layers(layer_of[unit_g], statistics.units.layer_index()[unit_d]):
            target = _normalised(maps[name], statistics, layer_d, unit_d[pairs]).to(device)
            layer, grid_d = g.units.layers[layer_g], statistics.units.layers[layer_d].grid
            pulled = _directions(target, layer.grid, grid_d, weight[pairs])
            found[layer.name].append((common_grid(layer.grid, grid_d), unit_g[pairs], pulled))
    layers = [_collected(g, layer, parts) for layer, parts in found.items()]
    return ActivationTarget(tuple(layers), float(matches.weights.sum()))


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
    target = (values - mean[..., None]) / std[..., None]
    weight = None if known is None or bool((known == 1).all()) else known.to(target).expand(target.shape[1:])
    heavy = target if weight is None else target * weight
    length = (target * heavy).sum((-2, -1), keepdim=True).clamp_min(_TINY).sqrt()
    metric = None if weight is None else Metric.of_weights(weight)
    channels = torch.from_numpy(units - start).to(device)
    return LayerTarget(layer, channels, mean, std, (heavy / length).flatten(2), metric=metric)


def _by_layers(layer_g: Index, layer_d: Index) -> list[tuple[int, int, Index]]:
    """Each pair of layers, with the positions of its pairs of units."""
    both = np.stack([layer_g, layer_d])
    kinds, which = np.unique(both, axis=1, return_inverse=True)
    return [(int(a), int(b), np.flatnonzero(which.ravel() == kind)) for kind, (a, b) in enumerate(kinds.T)]


def _scale(statistics: Statistics, units: Index, like: Tensor) -> tuple[Tensor, Tensor]:
    """(unit, 1) mean and standard deviation over the run."""
    mean, std = (torch.from_numpy(of[units]).to(like) for of in (statistics.mean, statistics.scale))
    return mean[:, None], std[:, None]


def _normalised(maps: Maps, statistics: Statistics, layer: int, units: Index) -> Tensor:
    """(image, unit, y, x) maps of some units of one layer on the run's scale."""
    start = statistics.units.offsets[layer]
    values = maps[statistics.units.layers[layer].name][:, torch.from_numpy(units - start)]
    mean, std = _scale(statistics, units, values)
    return (values - mean[..., None]) / std[..., None]


def _directions(target: Tensor, grid_g: Grid, grid_d: Grid, weight: Float64) -> Tensor:
    """(image, unit, y, x) on G's grid: `w U_gᵀ U_d t / |U_d t|`."""
    common = common_grid(grid_g, grid_d)
    to_common = [upsampling(*sizes) for sizes in zip(grid_d, common, strict=True)]
    from_g = [upsampling(*sizes) for sizes in zip(grid_g, common, strict=True)]
    across = [torch.from_numpy(a.T @ b).to(target) for a, b in zip(from_g, to_common, strict=True)]
    grams = [torch.from_numpy(matrix.T @ matrix).to(target) for matrix in to_common]
    length = (target * (grams[0] @ target @ grams[1])).sum((-2, -1), keepdim=True).clamp_min(_TINY).sqrt()
    each = torch.from_numpy(weight).to(target)[:, None, None]
    return across[0] @ (target * (each / length)) @ across[1].T


def _collected(g: Statistics, layer: str, parts: Sequence[tuple[Grid, Index, Tensor]]) -> LayerTarget:
    """Add up the targets of each unit that share a common grid: a row each."""
    grids = list(dict.fromkeys(grid for grid, _, _ in parts))
    asked = np.concatenate([units * len(grids) + grids.index(grid) for grid, units, _ in parts])
    rows, place = np.unique(asked, return_inverse=True)
    pulled = torch.cat([direction for _, _, direction in parts], dim=1)
    images, _, height, width = pulled.shape
    direction = pulled.new_zeros((images, len(rows), height, width))
    direction.index_add_(1, torch.from_numpy(place).to(pulled.device), pulled)
    units, unit = np.unique(rows // len(grids), return_inverse=True)
    mean, std = _scale(g, units, pulled)
    return LayerTarget(
        layer,
        torch.from_numpy(units - g.units.span(layer).start).to(pulled.device),
        mean,
        std,
        direction.flatten(2),
        None if len(units) == len(rows) else torch.from_numpy(unit).to(pulled.device),
        Metric.of_grids((height, width), [grids[row % len(grids)] for row in rows], pulled),
    )
