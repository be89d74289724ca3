"""Edits: pure functions from activation maps to the maps that are asked for instead.

Places are fractions of the image, x to the right and y down, so that maps of every grid agree: position `i` of `n`
along an axis covers `i/n … (i+1)/n`. Maps are resampled bilinearly between the positions' centres. What an edit moves
in from beyond the image's edge is not known, and is not asked for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from rosetta.errors import UserError


@dataclass(frozen=True)
class Box:
    """A rectangle inside the image."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 <= 1 and 0 <= self.y0 < self.y1 <= 1):
            raise UserError(
                f"box {self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g} does not lie inside the image; give "
                "left,top,right,bottom as fractions from 0 to 1, like 0.2,0.5,0.8,0.9"
            )

    def coverage(self, height: int, width: int) -> Tensor:
        """(y, x) float64: the share of each position that lies in the box."""
        return torch.outer(_covered(height, self.y0, self.y1), _covered(width, self.x0, self.x1))


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Asked:
    """Maps of one layer on their way through edits."""

    maps: Tensor
    """(image, unit, y, x) in the model's own values."""
    known: Tensor
    """(y, x), or (unit, y, x) where units differ, in 0…1: how far each position is asked for."""
    changed: Tensor
    """(unit, y, x) in 0…1: how far an edit meant this position of this unit; elsewhere the map is asked to stay."""
    clusters: Mapping[int, Tensor]
    """Rows (unit,) of each cluster; clusters that have no unit here are left out."""
    low: Tensor
    """(unit,) what each unit puts out where its concept is absent."""
    high: Tensor
    """(unit,) what it puts out where its concept is present."""
    others: Mapping[str, Tensor]
    """Maps of other images that edits take from, (1 or image, unit, y, x) each, by what the edit calls the image."""

    @property
    def touched(self) -> Tensor:
        """(unit,) whether an edit meant any position of the unit."""
        return self.changed.flatten(1).amax(1) > 0

    def blended(self, maps: Tensor, known: Tensor, share: Tensor) -> "Asked":
        """Other maps for all units, where `share` (y, x) says so."""
        return replace(
            self,
            maps=torch.lerp(self.maps, maps.expand_as(self.maps), share.expand_as(self.maps)),
            known=torch.lerp(*torch.broadcast_tensors(self.known, known, share)),
            changed=torch.maximum(self.changed, share.expand_as(self.changed)),
        )


class Edit(Protocol):
    """A pure function on the maps of one layer."""

    def __call__(self, asked: Asked) -> Asked:
        """What is asked for instead."""
        ...


@dataclass(frozen=True)
class Shift:
    """Move the whole scene."""

    dx: float
    """To the right, in widths of the image."""
    dy: float
    """Down, in heights."""

    def __post_init__(self) -> None:
        if not (abs(self.dx) < 1 and abs(self.dy) < 1):
            raise UserError(f"shift {self.dx:g},{self.dy:g} leaves nothing in the image; stay between -1 and 1")

    def __call__(self, asked: Asked) -> Asked:
        return _resampled(asked, (1.0, -self.dy), (1.0, -self.dx))


@dataclass(frozen=True)
class Zoom:
    """Enlarge the whole scene, or shrink it with a scale below 1, around a fixed place."""

    scale: float
    x: float = 0.5
    y: float = 0.5

    def __post_init__(self) -> None:
        if not 0.1 <= self.scale <= 10:
            raise UserError(f"zoom {self.scale:g} is no scale from 0.1 to 10; above 1 enlarges")
        _require_inside(self.x, self.y)

    def __call__(self, asked: Asked) -> Asked:
        shrink = 1 / self.scale
        return _resampled(asked, (shrink, self.y * (1 - shrink)), (shrink, self.x * (1 - shrink)))


@dataclass(frozen=True)
class Paste:
    """Copy what lies in a box to another place, its upper left corner at (x, y); what leaves the image is cut off."""

    box: Box
    x: float
    y: float

    def __post_init__(self) -> None:
        _require_inside(self.x, self.y)
        if self.x == 1 or self.y == 1:
            raise UserError(f"paste {self.x:g},{self.y:g} puts the copy outside the image; stay below 1")

    def __call__(self, asked: Asked) -> Asked:
        width, height = self.box.x1 - self.box.x0, self.box.y1 - self.box.y0
        there = Box(self.x, self.y, min(self.x + width, 1.0), min(self.y + height, 1.0))
        moved = _resampled(asked, (1.0, self.box.y0 - self.y), (1.0, self.box.x0 - self.x))
        share = there.coverage(*asked.known.shape[-2:]).to(asked.maps)
        return asked.blended(moved.maps, moved.known, share)


@dataclass(frozen=True)
class Join:
    """Take what lies beyond a line from another image: to the right of it, or below."""

    image: str
    """What the other image is called."""
    axis: Literal["x", "y"]
    at: float

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y") or not 0 < self.at < 1:
            raise UserError(f"join at {self.axis}={self.at:g} is no line through the image; write IMAGE@x=0.5 or y=0.5")

    def __call__(self, asked: Asked) -> Asked:
        beyond = Box(self.at, 0, 1, 1) if self.axis == "x" else Box(0, self.at, 1, 1)
        share = beyond.coverage(*asked.known.shape[-2:]).to(asked.maps)
        return asked.blended(asked.others[self.image].to(asked.maps), torch.ones_like(asked.known), share)


@dataclass(frozen=True)
class Remove:
    """Take a concept out of a box: its units are asked to be low there, and to stay elsewhere."""

    cluster: int
    box: Box = WHOLE

    def __call__(self, asked: Asked) -> Asked:
        return _set(asked, self.cluster, self.box, asked.low)


@dataclass(frozen=True)
class Add:
    """Put a concept into a box: its units are asked to be high there, and to stay elsewhere."""

    cluster: int
    box: Box

    def __call__(self, asked: Asked) -> Asked:
        return _set(asked, self.cluster, self.box, asked.high)


def apply(edits: Sequence[Edit], asked: Asked) -> Asked:
    """One edit after the other."""
    for edit in edits:
        asked = edit(asked)
    return asked


def clusters_of(edits: Collection[Edit]) -> tuple[int, ...]:
    """The clusters that edits name, ascending."""
    return tuple(sorted({edit.cluster for edit in edits if isinstance(edit, Remove | Add)}))


def axis_matrix(positions: int, scale: float, offset: float) -> tuple[Tensor, Tensor]:
    """Resample one axis: the place `p` takes what lies at `scale · p + offset`, in fractions of the axis.

    Returns
    -------
    tuple
        (positions, positions) float64, rows that sum to 1 with at most two entries; and (positions,) 1 where the source
        lies inside the axis, else 0.
    """
    source = scale * (np.arange(positions) + 0.5) / positions + offset
    # A shift by whole positions must hit centres exactly, whatever the rounding of its fraction.
    place = np.round(source * positions - 0.5, 9)
    low = np.floor(place).astype(int)
    share = place - low
    matrix = np.zeros((positions, positions))
    rows = np.arange(positions)
    np.add.at(matrix, (rows, np.clip(low, 0, positions - 1)), 1 - share)
    np.add.at(matrix, (rows, np.clip(low + 1, 0, positions - 1)), share)
    inside = (place >= -0.5) & (place <= positions - 0.5)
    return torch.from_numpy(matrix), torch.from_numpy(inside.astype(np.float64))


def _resampled(asked: Asked, along_y: tuple[float, float], along_x: tuple[float, float]) -> Asked:
    height, width = asked.known.shape[-2:]
    rows, inside_y = (part.to(asked.maps) for part in axis_matrix(height, *along_y))
    columns, inside_x = (part.to(asked.maps) for part in axis_matrix(width, *along_x))
    known = (rows @ asked.known @ columns.T) * torch.outer(inside_y, inside_x)
    return replace(asked, maps=rows @ asked.maps @ columns.T, known=known, changed=torch.ones_like(asked.changed))


def _set(asked: Asked, cluster: int, box: Box, level: Tensor) -> Asked:
    """A level for a cluster's units in a box; there it is asked for even where nothing was known before."""
    if cluster not in asked.clusters:
        return asked
    units = asked.clusters[cluster]
    share = box.coverage(*asked.known.shape[-2:]).to(asked.maps)
    maps, changed = asked.maps.clone(), asked.changed.clone()
    maps[:, units] = torch.lerp(maps[:, units], level[units][:, None, None].expand_as(maps[:, units]), share)
    changed[units] = torch.maximum(changed[units], share.expand_as(changed[units]))
    known = asked.known.expand_as(changed).clone()
    known[units] = torch.maximum(known[units], share.expand_as(known[units]))
    return replace(asked, maps=maps, changed=changed, known=known)


def _covered(positions: int, low: float, high: float) -> Tensor:
    edges = np.clip(np.arange(positions + 1) / positions, low, high)
    # The fifth of five fifths is a hair more than one.
    return torch.from_numpy(np.minimum(np.diff(edges) * positions, 1.0))


def _require_inside(x: float, y: float) -> None:
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UserError(f"place {x:g},{y:g} lies outside the image; give x,y as fractions from 0 to 1")
