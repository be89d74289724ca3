"""Maps of all units, matched or not, out of the same walk through the stores as those of concepts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.maps import encode
from rosetta.view.atlas.rankings import TOP
from tasks.report.atlas.census import Census
from tasks.report.atlas.map_reader import Tiles
from tasks.report.atlas.rankings import Rankings
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.units import Known

ROOM = 256 * 2**20
"""Bytes of the maps of all units, at most, and a quarter of what the recipe gives a worker to work with."""
Index = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Detail:
    """How much is kept of units."""

    side: int
    """Positions a side of a unit's own maps, at most."""
    near_side: int
    """The same of its neighbours' maps."""
    others: int | None
    """Images whose maps are kept of a unit that takes part in no match; None for all, and its neighbours' maps too."""


DETAILS = (Detail(16, 16, None), Detail(16, 8, None), Detail(8, 8, None), Detail(8, 8, TOP), Detail(8, 8, 0))
"""From much to little: the first whose maps have room, else the last."""


@dataclass(frozen=True)
class Strips:
    """Maps of some images for each unit."""

    tiles: Tiles
    first: npt.NDArray[np.int64]
    """(unit,) its first map among `tiles`."""
    count: npt.NDArray[np.int64]
    """(unit,) how many it has; the first ones of its images."""

    @classmethod
    def of(cls, run: AtlasRun, model: str, images: Index, shown: Index, count: npt.NDArray[Any], side: int) -> "Strips":
        """Room for maps.

        Parameters
        ----------
        model
            Whose maps they are.
        images
            (unit, place) of each unit that has them on its page.
        shown
            (unit,) the unit of `model` whose maps they are.
        count
            (unit,) how many of the images; 0 where `shown` is −1.
        """
        chosen = np.arange(images.shape[1]) < count[:, None]
        of = np.repeat(shown, count)
        tiles = Tiles.of(images[chosen], of, run.scale(model, of), run.grid(model, of), side)
        return cls(tiles, np.cumsum(count) - count, count)

    def grid(self, unit: int) -> list[int] | None:
        """Of a unit's maps; None where it has none."""
        return list(self.tiles.grid[self.first[unit]].tolist()) if self.count[unit] else None

    def listed(self, unit: int) -> list[str]:
        """A unit's maps as text."""
        start = int(self.first[unit])
        return [encode(self.tiles.tile(start + place).tobytes()) for place in range(int(self.count[unit]))]


@dataclass(frozen=True)
class UnitMaps:
    """What is gathered of all units."""

    detail: Detail
    own: Mapping[str, Strips]
    """By model."""
    near: Mapping[tuple[str, str], Strips]
    """By model and other model: the maps of the strongest neighbour there over the unit's own strongest images."""
    census: Mapping[str, Census]
    """By model."""

    @classmethod
    def of(cls, run: AtlasRun, rankings: Rankings, known: Known) -> "UnitMaps":
        """Room for all, as much as there is."""
        matched = {model: matched_units(run, model) for model in run.models}
        room = min(ROOM, run.recipe.compute.memory_bytes // 4)
        sizes = (_bytes(run, rankings, known, matched, detail) for detail in DETAILS)
        detail = next((one for one, size in zip(DETAILS, sizes, strict=True) if size <= room), DETAILS[-1])
        own = {}
        near = {}
        for model in run.models:
            images = rankings.units[model]
            count = _own_count(matched[model], images.shape[1], detail)
            own[model] = Strips.of(run, model, images, np.arange(len(images), dtype=np.int32), count, detail.side)
            for other, found in known[model].items():
                best = found.neighbours.unit[:, 0]
                count = _near_count(best, matched[model], images.shape[1], detail)
                near[model, other] = Strips.of(run, other, images[:, :TOP], best, count, detail.near_side)
        return cls(detail, own, near, {model: Census.of(run, model) for model in run.models})

    def tiles(self, model: str) -> list[Tiles]:
        """All that want maps of a model."""
        return [self.own[model].tiles, *(strips.tiles for (_, other), strips in self.near.items() if other == model)]

    def bytes_of(self, run: AtlasRun, model: str) -> npt.NDArray[np.float64]:
        """(unit,) bytes of the maps on a unit's page."""
        mine = [self.own[model], *(strips for (one, _), strips in self.near.items() if one == model)]
        size = np.zeros(len(run.stores[model].units))
        for strips in mine:
            ends = np.append(strips.tiles.start, len(strips.tiles.levels))
            size += ends[strips.first + strips.count] - ends[strips.first]
        return size


def matched_units(run: AtlasRun, model: str) -> Mask:
    """(unit,) whether it is a buddy of a unit of another model."""
    found = np.zeros(len(run.stores[model].units), dtype=bool)
    pairs = run.buddies[run.buddies["model_a"] != run.buddies["model_b"]]
    for side in "ab":
        found[pairs.loc[pairs[f"model_{side}"] == model, f"unit_{side}"]] = True
    return found


def _own_count(matched: Mask, images: int, detail: Detail) -> npt.NDArray[np.int64]:
    fewer = images if detail.others is None else min(images, detail.others)
    return np.where(matched, images, fewer).astype(np.int64)


def _near_count(best: Index, matched: Mask, images: int, detail: Detail) -> npt.NDArray[np.int64]:
    has = (best >= 0) & (matched | (detail.others is None))
    return np.where(has, min(TOP, images), 0).astype(np.int64)


def _bytes(run: AtlasRun, rankings: Rankings, known: Known, matched: Mapping[str, Mask], detail: Detail) -> int:
    """Of all maps."""
    total = 0
    sizes = {
        (model, side): np.minimum(run.grid(model, np.arange(len(images))), side).prod(axis=1, dtype=np.int64)
        for model, images in rankings.units.items()
        for side in (detail.side, detail.near_side)
    }
    for model in run.models:
        images = rankings.units[model].shape[1]
        total += int(sizes[model, detail.side] @ _own_count(matched[model], images, detail))
        for other, found in known[model].items():
            best = found.neighbours.unit[:, 0]
            count = _near_count(best, matched[model], images, detail)
            total += int(sizes[other, detail.near_side][np.maximum(best, 0)] @ count)
    return total
