"""What a worker does to count the dictionary with images exchanged: sums of some tiles, neighbours, and the table.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from operator import add

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import Buddies, Neighbours, best_buddies, merge_neighbours, nearest_neighbours
from rosetta.mining.dictionary import cluster, rosetta_neurons
from rosetta.mining.factors import Room, factors
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import ranges
from rosetta.mining.trust.exchange import Exchange, ExchangedSums, OnGrids, Waves, exchanged_pearson
from rosetta.mining.trust.null_dictionary import CONCEPTS, NEURONS
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.catalogue import BUDDIES, NULL
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.nearest import buddies_of
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.correlate.reading import Job, Member, PairTile, SideKey, TileSide, members_of, sides_of
from tasks.correlate.tiles import set_up
from tasks.trust.panel_sides import model_profile

Float32 = npt.NDArray[np.float32]
Near = list[tuple[Neighbours, Neighbours]]
"""By exchange: the nearest in a tile's columns of each of its rows, and the nearest rows of each column."""


@dataclass(frozen=True)
class Exchanging:
    """How a run's images are exchanged, in few words: it travels with every task."""

    job: Job
    exchange: Exchange
    chunk: int
    """Images of a block that are read at once."""
    neighbours: int
    """K."""
    profiles: Mapping[str, str]
    """By model: the fingerprint of its profile."""


def tile_sums(how: Exchanging, tiles: Sequence[PairTile], part: slice) -> list[Float32]:
    """The sums of some tiles over a part of every block of images; a task that counts as progress."""
    set_up(how.job)
    members, device, room = members_of(how.job, tiles), how.job.torch_device, Room()
    sides = [tuple(members[key].side.units for key in tile.keys) for tile in tiles]
    totals = [ExchangedSums(a, b, how.exchange, device) for a, b in sides]
    left = {tile.keys[0] for tile in tiles}
    waves: dict[SideKey, Waves] = {}
    for span in ranges(part.stop - part.start, how.chunk):
        here = slice(part.start + span.start, part.start + span.stop)
        for key, member in members.items():
            if key not in waves or waves[key].images != here.stop - here.start:
                waves[key] = Waves(how.exchange, here.stop - here.start, right=key not in left)
            _fill(waves[key], how, key, member, here, room)
        for tile, total in zip(tiles, totals, strict=True):
            total.add(*(waves[key] for key in tile.keys))
    part_done()
    return [total.sums for total in totals]


def _fill(waves: Waves, how: Exchanging, key: SideKey, member: Member, part: slice, room: Room) -> None:
    """Read one side's maps of a part of every block, and bring them onto the grids of the products."""
    side, grids, step = member.side, how.exchange.grids(member.grids), how.job.step_images
    for block, images in enumerate(how.exchange.spans(part)):
        for number, maps in enumerate(side.steps(images, step)):
            made = factors(
                side.units, maps, side.shift, grids, device=how.job.torch_device, room=room, side=key, summed=False
            )
            waves.put(made, block, number * step)


def added(parts: Sequence[list[Float32]]) -> list[Float32]:
    """The sums of each tile's sums."""
    first, second = parts
    return list(starmap(add, zip(first, second, strict=True)))


def nearest_in_tile(how: Exchanging, tile: PairTile, sums: Float32) -> Near:
    """The nearest neighbours in a tile under every exchange."""
    set_up(how.job)
    a, b = sides_of(how.job, tile)
    on = _on_grids(how, tile.a, a, b.units), _on_grids(how, tile.b, b, a.units)
    found = []
    for number in range(1, how.exchange.blocks):
        of_rows: list[Neighbours] = []
        of_columns: list[Neighbours] = []
        for rows, pearson in exchanged_pearson(sums, *on, how.exchange, number):
            first = tile.spans[0].start + rows.start, tile.spans[1].start
            of_rows.append(nearest_neighbours(pearson, how.neighbours, first_column=first[1]))
            upright = np.ascontiguousarray(pearson.T)
            of_columns.append(nearest_neighbours(upright, how.neighbours, first_column=first[0]))
        found.append((_stacked(of_rows), merge_neighbours(of_columns, how.neighbours)))
    return found


def _on_grids(how: Exchanging, model: str, side: TileSide, other: Units) -> OnGrids:
    profile = model_profile(how.job.root, model, how.profiles[model])
    parts: dict[str, list[npt.NDArray[np.float64]]] = {"mean_on": [], "std_on": []}
    for layer, channels in side.parts():
        commons = profile.store.commons(layer.name)
        on = [commons.index(common_grid(layer.grid, grid)) for grid in other.grids()]
        for name, found in parts.items():
            found.append(profile.array(layer.name, name)[channels][:, on])
    return OnGrids(side.units, side.std, *(np.concatenate(found) for found in parts.values()))


def _stacked(parts: Sequence[Neighbours]) -> Neighbours:
    return Neighbours(np.concatenate([part.unit for part in parts]), np.concatenate([part.pearson for part in parts]))


@dataclass(frozen=True)
class Counted:
    """What is counted of a run."""

    anchor: str
    models: tuple[str, ...]
    """Those in which a Rosetta neuron needs a buddy."""
    units: int
    """Of the anchor."""
    neighbours: int
    """K."""


def write_null(
    root: Root,
    fingerprint: Fingerprint,
    counted: Counted,
    tiles: Sequence[PairTile] = (),
    near: Sequence[Near] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the table of the null: the counts of the run, and those under every exchange.

    Parameters
    ----------
    near
        Of each tile.
    notes
        What a reader must know.
    """
    table = tables.read(root, BUDDIES.path())
    own = buddies_of(table, counted.anchor, counted.anchor)
    runs = [{model: buddies_of(table, counted.anchor, model) for model in counted.models}]
    runs += [
        {
            model: _buddies(
                [(tile, found[number]) for tile, found in zip(tiles, near, strict=True) if tile.b == model],
                counted.neighbours,
            )
            for model in counted.models
        }
        for number in range(len(near[0]) if near else 0)
    ]
    frames = [
        pd.DataFrame(_counts(counted, buddies, own), columns=["of", "count"]).assign(exchange=number)
        for number, buddies in enumerate(runs)
    ]
    frame = pd.concat(frames, ignore_index=True)[["exchange", "of", "count"]]
    frame = frame.astype({"exchange": "int32", "of": "str", "count": "int32"})
    tables.write(root, NULL.path(), frame, fingerprint, notes=list(notes))


def _buddies(parts: Sequence[tuple[PairTile, tuple[Neighbours, Neighbours]]], k: int) -> Buddies:
    """The buddies of a pair out of all its tiles, which run along the columns."""
    of_side = []
    for side in (0, 1):
        spans = sorted({(tile.spans[side].start, tile.spans[side].stop) for tile, _ in parts})
        merged = [
            merge_neighbours([found[side] for tile, found in parts if tile.spans[side].start == start], k)
            for start, _ in spans
        ]
        of_side.append(_stacked(merged))
    return best_buddies(*of_side)


def _counts(counted: Counted, buddies: Mapping[str, Buddies], own: Buddies) -> list[tuple[str, int]]:
    neurons = rosetta_neurons(buddies, counted.units)
    concepts = cluster(neurons, own)
    of_models = [(model, len(found)) for model, found in buddies.items()]
    return [*of_models, (NEURONS, len(neurons)), (CONCEPTS, len(concepts))]
