"""The graph of a group: which task takes which images, and in which order sums are added."""

from collections.abc import Callable, Sequence
from operator import getitem

import dask
from dask.delayed import Delayed, delayed

from rosetta.mining.groups import Group
from rosetta.mining.plan import Method, PairPlan, ranges
from tasks.cluster.engine import TileGraph, part, summed
from tasks.correlate.rank_tiles import rank_tile
from tasks.correlate.reading import Job, PairTile
from tasks.correlate.tiles import merged, multiplied, prepared_steps, tile_moments, write_tile

_STEPS_SENT = 8
"""Steps that are read by one task and travel to a worker with a GPU together."""

Tiles = tuple[PairTile, ...]
Ending = Callable[[PairTile, Delayed], Delayed]
"""Makes the last task of a tile, given its :data:`tasks.correlate.tiles.Halved`."""


def tiles_of(group: Group) -> list[Tiles]:
    """What is multiplied together: all pairs of a group whole, or one tile after the other of a pair that is cut."""
    tiles = [
        tuple(PairTile(*pair, spans) for spans in plan.tiles)
        for pair, plan in zip(group.pairs, group.plans, strict=True)
    ]
    return [(tile,) for tile in tiles[0]] if len(tiles) == 1 else [tuple(tile for (tile,) in tiles)]


def written(job: Job, tiles: Tiles, plan: PairPlan, spread: bool = False) -> TileGraph:
    """Correlate some tiles and write them.

    Parameters
    ----------
    spread
        Whether maps are read and pulled back on any worker, and multiplied on those that have a GPU.
    """
    if plan.method is not Method.PEARSON:  # one task: ranks are over all images
        task = part(rank_tile, job, *tiles, plan)
        return TileGraph([task], [task])
    parts = _spread(job, tiles, plan) if spread else range_parts(job, tiles, plan.image_ranges)
    return ended(tiles, parts, lambda tile, halved: delayed(write_tile, pure=False)(job, tile, halved))


def range_parts(job: Job, tiles: Tiles, images: Sequence[slice], summed_up: bool = True) -> list[Delayed]:
    """A task for each range of images that reads, pulls back and multiplies; `summed_up` as of :func:`tile_moments`."""
    return [part(tile_moments, job, tiles, span, summed_up) for span in images]


def ended(tiles: Tiles, parts: list[Delayed], ending: Ending) -> TileGraph:
    """Parts added up, and what ends each tile."""
    whole = summed(parts, merged)
    picked = [delayed(getitem, pure=False)(whole, index) for index in range(len(tiles))]
    return TileGraph(parts, [ending(tile, one) for tile, one in zip(tiles, picked, strict=True)])


def _spread(job: Job, tiles: Tiles, plan: PairPlan) -> list[Delayed]:
    """The same, with reading and pulling back on any worker and multiplying on those that have a GPU."""
    parts = []
    for images in ranges(plan.images, _STEPS_SENT * plan.step_images):
        steps = delayed(prepared_steps, pure=False)(job, tiles, images)
        with dask.annotate(resources={"GPU": 1}):
            parts.append(part(multiplied, job, tiles, steps))
    return parts
