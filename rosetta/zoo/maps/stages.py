"""Default layers of a model about which nothing else is known: where its resolution is about to change.

Default layers are to show the whole of a network, so that what is found in them can be said of it.
"""

from collections.abc import Sequence

from torch import nn

from rosetta.units import Grid
from rosetta.zoo.maps.probe import Probe


def stage_outputs(module: nn.Module, probe: Probe) -> list[str]:
    """The last module at each grid size, in forward order.

    The candidates are the children of `features` where there is such a module, else the top-level children. A
    list of modules, and a sequence that changes resolution inside, stand for their own children.
    A grid of a single position (a pooled head) counts only where there is no larger one.
    """
    features = getattr(module, "features", None)
    root = "features" if isinstance(features, nn.Module) and any(features.children()) else ""
    candidates = _children(module.get_submodule(root), root, probe)
    rank = {path: place for place, path in enumerate(probe.order)}
    candidates = sorted((path for path in candidates if path in rank), key=rank.__getitem__)
    last = {probe.layouts[path].grid: path for path in candidates if path in probe.layouts}
    wide = {grid: path for grid, path in last.items() if grid != (1, 1)}
    return sorted((wide or last).values(), key=rank.__getitem__)


_FEW = 8
"""Modules with maps of a network so small that any of them shows it."""


def cover_depth(layers: Sequence[str], probe: Probe) -> bool:
    """Whether layers begin in the first half of a network and end in its last quarter.

    Depth is counted in modules that give maps, in the order in which they finish.
    """
    order = _with_maps(probe)
    places = [place for place, path in enumerate(order) if path in set(layers)]
    if len(order) < _FEW or not places:
        return bool(layers)
    return places[0] < len(order) / 2 and places[-1] >= len(order) * 3 / 4


def candidates(probe: Probe, count: int) -> list[str]:
    """So many layers, spread evenly over the depth of a network: its deepest and others before it."""
    order = [path for path in _with_maps(probe) if probe.layouts[path].grid != (1, 1)]
    return order[:: -max(len(order) // count, 1)][:count][::-1]


def _with_maps(probe: Probe) -> list[str]:
    return [path for path in probe.order if path in probe.layouts]


def _children(parent: nn.Module, path: str, probe: Probe) -> list[str]:
    found: list[str] = []
    for name, child in parent.named_children():
        below = f"{path}.{name}" if path else name
        inner = _children(child, below, probe) if isinstance(child, nn.Sequential | nn.ModuleList) else []
        grids: set[Grid] = {probe.layouts[place].grid for place in inner if place in probe.layouts}
        opens = isinstance(child, nn.ModuleList) or len(grids) > 1
        found += inner if opens else [below]
    return found
