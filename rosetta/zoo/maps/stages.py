"""Default layers of a model about which nothing else is known: where its resolution is about to change.

Default layers are to show the whole of a network, so that what is found in them can be said of it.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from torch import nn

from rosetta.units import Grid
from rosetta.zoo.maps.places import parse_place
from rosetta.zoo.maps.probe import Probe

_FEW = 8
"""Modules with maps of a network so small that any of them shows it."""
_LONGEST = 5 / 6
"""Share of a network's depth that may lie between two layers; the third of four stages can be so long."""


def stage_outputs(module: nn.Module, probe: Probe) -> list[list[str]]:
    """Choices, the better first: the last module at each grid size, and the last before each change of grid size.

    The candidates are the children of `features` where there is such a module, else the top-level children; and then
    the children of `encoder`. A list of modules, and a sequence that changes resolution inside, stand for their own
    children. A grid of a single position (a pooled head) counts only where there is no larger one.

    Returns
    -------
    list
        Paths in forward order, of each choice.
    """
    roots = ["features" if _has(module, "features") else "", *(["encoder"] if _has(module, "encoder") else [])]
    return [choice for root in roots for choice in _choices(module, root, probe)]


def _has(module: nn.Module, name: str) -> bool:
    child = getattr(module, name, None)
    return isinstance(child, nn.Module) and any(child.children())


def _choices(module: nn.Module, root: str, probe: Probe) -> list[list[str]]:
    candidates = set(_children(module.get_submodule(root), root, probe))
    order = [path for path in _with_maps(probe) if path in candidates]
    grids = [probe.layouts[path].grid for path in order]
    last = dict(zip(grids, order, strict=True))
    changes = [
        path for path, grid, following in zip(order, grids, [*grids[1:], None], strict=False) if grid != following
    ]
    return [[path for path in order if path in last.values()], changes]


def cover_depth(layers: Sequence[str], probe: Probe) -> bool:
    """Whether layers begin in the first half of a network, end in its last quarter, and leave no long way between.

    Depth is counted in modules that give maps, in the order in which they finish.
    """
    order = _with_maps(probe)
    counted = set(order)
    # What gives several maps at once counts as the one that finishes after it.
    depths = dict(zip(probe.order, accumulate((path in counted for path in probe.order), initial=0), strict=False))
    paths = {parse_place(layer).path for layer in layers}
    places = [min(depths[path], len(order) - 1) for path in probe.order if path in paths]
    if len(order) < _FEW or not places:
        return bool(places)
    longest = max((after - before for before, after in pairwise(places)), default=0)
    return places[0] < len(order) / 2 and places[-1] >= len(order) * 3 / 4 and longest <= len(order) * _LONGEST


def spread(probe: Probe, count: int) -> list[str]:
    """So many layers, evenly over the depth of a network: its deepest and others before it."""
    order = _with_maps(probe)
    return order[:: -max(len(order) // count, 1)][:count][::-1]


def _with_maps(probe: Probe) -> list[str]:
    """Modules with maps in forward order, those of one position (a pooled head) only where there are no others."""
    order = [path for path in probe.order if path in probe.layouts]
    return [path for path in order if probe.layouts[path].grid != (1, 1)] or order


def _children(parent: nn.Module, path: str, probe: Probe) -> list[str]:
    found: list[str] = []
    for name, child in parent.named_children():
        below = f"{path}.{name}" if path else name
        inner = _children(child, below, probe) if isinstance(child, nn.Sequential | nn.ModuleList) else []
        grids: set[Grid] = {probe.layouts[place].grid for place in inner if place in probe.layouts}
        opens = isinstance(child, nn.ModuleList) or len(grids) > 1
        found += inner if opens else [below]
    return found
