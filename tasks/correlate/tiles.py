"""What a worker does: moments of some tiles over a range of images, their sum, and the panels into the stores.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.buddies import nearest_neighbours
from rosetta.mining.factors import PANEL, Factor, HalvedFactors, halved_factors
from rosetta.mining.gpu_copy import Move, in_turn
from rosetta.mining.moments import Accumulator, Moments, Precision, factor_dtype, merge_moments
from rosetta.mining.pearson import pearson
from rosetta.mining.plan import ranges
from rosetta.mining.room import Room
from rosetta.mining.sparse import SparseRows
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.layout import open_existing
from storage.artifacts.nearest import STORES
from storage.artifacts.neighbours import NeighbourStore
from storage.artifacts.pairs import PairStore
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.correlate.dead import dead_in
from tasks.correlate.reading import Job, Member, PairTile, SideKey, Step, members_of, sides_of, steps_of
from tasks.stage.memory import return_freed_memory

Halved = tuple[Moments | None, Moments | None]
"""Moments of a tile over the images of the first half, and over those of the second; None where there are none."""
Prepared = dict[SideKey, HalvedFactors]
"""Every side of one step, ready to be multiplied."""
Values = Callable[[slice, slice], npt.NDArray[np.float32]]
"""Takes rows and columns, counted from a tile's first, and gives their (row, column) correlations."""


def _prepare(
    job: Job, members: Mapping[SideKey, Member], step: Step, device: torch.device, room: Room, summed: bool = True
) -> Prepared:
    make = partial(halved_factors, device=device, dtype=factor_dtype(job.precision), room=room, summed=summed)
    return {
        key: make(member.side.units, step.maps[key], member.side.shift, member.grids, step.split, side=key)
        for key, member in members.items()
    }


class _Totals:
    """Sums of some tiles, the halves of the images apart."""

    def __init__(self, job: Job, tiles: Sequence[PairTile], members: Mapping[SideKey, Member], mirrored: bool) -> None:
        self._device, self._tiles, self._members, self._mirrored = job.torch_device, tiles, members, mirrored
        self._sums: list[dict[int, Accumulator]] = [{} for _ in tiles]

    def add(self, prepared: Prepared) -> None:
        """Add one step."""
        for tile, sums in zip(self._tiles, self._sums, strict=True):
            of_a, of_b = (prepared[key].halves for key in tile.keys)
            for half, (a, b) in enumerate(zip(of_a, of_b, strict=True)):
                if a is None or b is None:
                    continue
                if half not in sums:
                    sums[half] = self._begin(tile)
                sums[half].add(a, b)

    def _begin(self, tile: PairTile) -> Accumulator:
        a, b = (self._members[key].side.units for key in tile.keys)
        # Of a model with itself, below the diagonal is the mirror of what lies above.
        above = (tile.spans[0].start // PANEL, tile.spans[1].start // PANEL)
        mirror = self._mirrored and tile.a == tile.b
        return Accumulator(a, b, device=self._device, above=above if mirror else None)

    def moments(self) -> list[Halved]:
        """Of each tile; nothing is to be added afterwards."""
        first, second = ([sums.pop(half).moments() if half in sums else None for sums in self._sums] for half in (0, 1))
        return list(zip(first, second, strict=True))


def tile_moments(job: Job, tiles: Sequence[PairTile], images: slice, summed: bool = True) -> list[Halved]:
    """The moments of some tiles over a range of images, from the stores.

    Parameters
    ----------
    summed
        Whether moments of each side are needed; if not, cross moments alone, on both sides of the diagonal.
    """
    set_up(job)
    members, device, room = members_of(job, tiles), job.torch_device, Room()
    totals = _Totals(job, tiles, members, mirrored=summed)
    for step in in_turn(steps_of(job, members, images), _each_map, device):
        totals.add(_prepare(job, members, step, device, room, summed))
    part_done()
    return totals.moments()


def prepared_steps(job: Job, tiles: Sequence[PairTile], images: slice) -> list[Prepared]:
    """Some steps, read, decompressed and pulled back, for a worker with a GPU to multiply."""
    set_up(job)
    members = members_of(job, tiles)
    # Each in room of its own: all of them travel together.
    return [_prepare(job, members, step, torch.device("cpu"), Room()) for step in steps_of(job, members, images)]


def multiplied(job: Job, tiles: Sequence[PairTile], steps: Sequence[Prepared]) -> list[Halved]:
    """The moments of some tiles over steps that others have prepared."""
    set_up(job)
    totals = _Totals(job, tiles, members_of(job, tiles), mirrored=True)
    for step in in_turn(steps, _each_factor, job.torch_device):
        totals.add(step)
    part_done()
    return totals.moments()


def merged(parts: Sequence[list[Halved]]) -> list[Halved]:
    """The sums of each tile's moments, the halves apart."""
    return [
        (_sum(*(first for first, _ in of_tile)), _sum(*(second for _, second in of_tile)))
        for of_tile in zip(*parts, strict=True)
    ]


def _sum(*moments: Moments | None) -> Moments | None:
    given = [one for one in moments if one is not None]
    return merge_moments(given) if given else None


def write_tile(job: Job, tile: PairTile, halved: Halved) -> None:
    """Turn the moments of all images into correlations, and write every panel of the tile."""
    a, b = sides_of(job, tile)
    first, whole = halved[0], _sum(*halved)
    assert first is not None, "an odd image belongs to the first half"
    assert whole is not None
    of_all = partial(pearson, whole, a.units, b.units, a.constant, b.constant)
    write_panels(job.root, tile, of_all, partial(pearson, first, a.units, b.units, *dead_in(first, a, b)))


def write_panels(root: Root, tile: PairTile, values: Values, first_half: Values | None = None) -> None:
    """Write a tile's panels, each with its marker; of a model with itself those above the diagonal and their mirrors.

    Parameters
    ----------
    values, first_half
        Correlations over all images, and over the first half of them: for stores that keep these.
    """
    group = open_existing(root, CORRELATIONS.path(tile.a, tile.b))
    assert group is not None, "the store is laid out before any task starts"
    store = STORES[str(group.attrs["keep"])](group)
    wanted = [
        values,
        *([first_half] if first_half and isinstance(store, CorrelationStore) and store.has_halves else []),
    ]
    for rows in ranges(tile.spans[0].stop - tile.spans[0].start, PANEL):
        for columns in ranges(tile.spans[1].stop - tile.spans[1].start, PANEL):
            first = tile.spans[0].start + rows.start, tile.spans[1].start + columns.start
            if tile.a == tile.b and first[0] > first[1]:
                continue
            part = [of(rows, columns) for of in wanted]
            _write_panel(store, first, part)
            if tile.a == tile.b and first[0] < first[1]:
                _write_panel(store, (first[1], first[0]), [np.ascontiguousarray(one.T) for one in part])


def _write_panel(store: PairStore, first: tuple[int, int], values: Sequence[npt.NDArray[np.float32]]) -> None:
    """Write one panel, given its first unit of either side."""
    panel = first[0] // PANEL, first[1] // PANEL
    if isinstance(store, CorrelationStore):
        store.write(panel, *values)
    elif isinstance(store, NeighbourStore):
        near = partial(nearest_neighbours, k=store.k, same=store.same)
        store.write(
            panel,
            near(values[0], first_row=first[0], first_column=first[1]),
            near(np.ascontiguousarray(values[0].T), first_row=first[1], first_column=first[0]),
        )


def _each_map(step: Step, move: Move) -> Step:
    order = step.split.order
    maps = {key: {name: move(_dense(one)) for name, one in maps.items()} for key, maps in step.maps.items()}
    return Step(replace(step.split, order=None if order is None else move(order)), maps)


def _dense(maps: Factor) -> Tensor:
    """What can go to a GPU."""
    return maps.dense() if isinstance(maps, SparseRows) else maps


def _each_factor(step: Prepared, move: Move) -> Prepared:
    def moved(side: HalvedFactors) -> HalvedFactors:
        maps = tuple({grid: move(_dense(tensor)) for grid, tensor in part.items()} for part in side.maps)
        return replace(side, maps=maps, sums=move(side.sums), squares=move(side.squares))

    return {key: moved(side) for key, side in step.items()}


def set_up(job: Job) -> None:
    """One thread a task: the graph keeps every core busy, and products spread over all cores would only queue.

    Products in float32 are float32, not TF32, unless the recipe says so.
    """
    return_freed_memory()
    torch.set_num_threads(1)
    set_up_precision(job.precision)


def set_up_precision(precision: Precision) -> None:
    """Let products be as exact as the recipe says."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" and torch.cuda.is_available() else "highest")
