"""What a worker does: moments of a tile over a range of images, their sum, and the tile's panels into the store.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.buddies import nearest_neighbours
from rosetta.mining.factors import PANEL, Factors, Room, factors
from rosetta.mining.gpu_copy import Move, in_turn
from rosetta.mining.moments import Accumulator, Moments, Precision, factor_dtype
from rosetta.mining.pearson import pearson
from rosetta.mining.plan import Tile, ranges
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.layout import open_existing
from storage.artifacts.nearest import STORES
from storage.artifacts.neighbours import NeighbourStore
from storage.artifacts.pairs import PairStore
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.stage.memory import return_freed_memory

Maps = dict[str, Tensor]
"""By layer name: (image, channel, y, x) as stored."""
Prepared = tuple[Factors, Factors]
"""Both sides of one step, ready to be multiplied."""


@dataclass(frozen=True)
class Job:
    """A pair of models to correlate, in few words: it travels with every task."""

    root: Root
    a: str
    b: str
    digests: tuple[str, str]
    """Fingerprints of the two activation stores."""
    step_images: int
    device: str
    """`auto` is what the worker has."""
    precision: Precision

    @property
    def torch_device(self) -> torch.device:
        """The device of the worker that asks."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found if self.device == "auto" else self.device)


@dataclass(frozen=True)
class _Side:
    """One model's store with what every task needs of its statistics."""

    store: ActivationStore
    mean: npt.NDArray[np.float32]
    """(unit,)"""
    std: npt.NDArray[np.float64]
    """(unit,) 0 where a unit holds one single value."""


@lru_cache(maxsize=8)
def _side(root: Root, model: str, digest: str) -> _Side:
    store = ActivationStore.read(root, model)
    if store.digest != digest:
        raise FileNotFoundError(f"activations of {model} under {root.shown} are not those that this work began with")
    return _Side(store, store.mean().astype(np.float32), store.std())


@dataclass(frozen=True)
class Half:
    """One side of a tile: some units of a model."""

    side: _Side
    span: slice
    units: Units
    """The units, layers cut down to them."""

    @property
    def shift(self) -> npt.NDArray[np.float32]:
        return self.side.mean[self.span]

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        return self.std == 0

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """(unit,) standard deviation on the native grid."""
        return self.side.std[self.span]

    def steps(self, images: slice, size: int) -> Iterator[Maps]:
        """The maps of some images, `size` images at a time; no chunk is decoded twice."""
        store, parts = self.side.store, self.parts()
        for start in range(images.start, images.stop, max(size, store.chunk)):
            span = slice(start, min(start + max(size, store.chunk), images.stop))
            block = {layer.name: torch.from_numpy(store.maps(layer.name, span, held)) for layer, held in parts}
            for step in ranges(span.stop - span.start, size):
                yield {name: maps[step] for name, maps in block.items()}
            del block  # before the next one is read

    def parts(self) -> list[tuple[Layer, slice]]:
        """Layers, cut down to the units, with the channels that these are."""
        return self.side.store.units.restrict(self.span)


def halves(job: Job, tile: Tile) -> tuple[Half, Half]:
    """Both sides of a tile; the same object twice where a model meets the same units of itself."""
    sides = [_side(job.root, model, digest) for model, digest in zip((job.a, job.b), job.digests, strict=True)]
    a, b = (Half(side, span, side.store.units.cut(span)) for side, span in zip(sides, tile, strict=True))
    return (a, a) if job.a == job.b and tile[0] == tile[1] else (a, b)


def _steps(a: Half, b: Half, images: slice, size: int) -> Iterator[tuple[Maps, Maps]]:
    of_b = None if a is b else b.steps(images, size)
    for maps in a.steps(images, size):
        # Held nowhere but with who asked: zip would keep them until the next are read.
        yield (maps, next(of_b)) if of_b else (maps, maps)
        del maps


def _prepare(
    job: Job, a: Half, b: Half, maps: tuple[Maps, Maps], device: torch.device, room: Room, summed: bool = True
) -> Prepared:
    make = partial(factors, device=device, dtype=factor_dtype(job.precision), room=room, summed=summed)
    of_a = make(a.units, maps[0], a.shift, b.units.grids(), side="a")
    return of_a, of_a if a is b else make(b.units, maps[1], b.shift, a.units.grids(), side="b")


def tile_moments(job: Job, tile: Tile, images: slice, summed: bool = True) -> Moments:
    """The moments of a tile over a range of images, from the stores; the cross moments alone if not `summed`."""
    set_up(job)
    device = job.torch_device
    a, b = halves(job, tile)
    total, room = Accumulator(a.units, b.units, device=device, above=_above(job, tile) if summed else None), Room()
    for maps in in_turn(_steps(a, b, images, job.step_images), _each_map, device):
        total.add(*_prepare(job, a, b, maps, device, room, summed))
        del maps
    part_done()
    return total.moments()


def _above(job: Job, tile: Tile) -> tuple[int, int] | None:
    """Of a model with itself, the panels with which the sides of a tile begin: below the diagonal is its mirror."""
    return (tile[0].start // PANEL, tile[1].start // PANEL) if job.a == job.b else None


def prepared_step(job: Job, tile: Tile, images: slice) -> Prepared:
    """One step, read, decompressed and pulled back, for a worker with a GPU to multiply."""
    set_up(job)
    a, b = halves(job, tile)
    (maps,) = _steps(a, b, images, job.step_images)
    return _prepare(job, a, b, maps, torch.device("cpu"), Room())


def multiplied(job: Job, tile: Tile, steps: Sequence[Prepared]) -> Moments:
    """The moments of a tile over steps that others have prepared."""
    set_up(job)
    device = job.torch_device
    a, b = halves(job, tile)
    total = Accumulator(a.units, b.units, device=device, above=_above(job, tile))
    for step in in_turn(steps, _each_factor, device):
        total.add(*step)
    part_done()
    return total.moments()


def write_tile(job: Job, tile: Tile, moments: Moments) -> None:
    """Turn the moments of all images into correlations, and write every panel of the tile."""
    a, b = halves(job, tile)
    write_panels(job, tile, partial(pearson, moments, a.units, b.units, a.constant, b.constant))


def write_panels(job: Job, tile: Tile, values: Callable[[slice, slice], npt.NDArray[np.float32]]) -> None:
    """Write a tile's panels, each with its marker; of a model with itself those above the diagonal and their mirrors.

    Parameters
    ----------
    values
        Takes `rows` and `columns`, counted from the tile's first, and gives their (row, column) correlations.
    """
    group = open_existing(job.root, CORRELATIONS.path(job.a, job.b))
    assert group is not None, "the store is laid out before any task starts"
    store = STORES[str(group.attrs["keep"])](group)
    for rows in ranges(tile[0].stop - tile[0].start, PANEL):
        for columns in ranges(tile[1].stop - tile[1].start, PANEL):
            first = tile[0].start + rows.start, tile[1].start + columns.start
            if job.a == job.b and first[0] > first[1]:
                continue
            part = values(rows, columns)
            _write_panel(store, first, part)
            if job.a == job.b and first[0] < first[1]:
                _write_panel(store, (first[1], first[0]), np.ascontiguousarray(part.T))


def _write_panel(store: PairStore, first: tuple[int, int], values: npt.NDArray[np.float32]) -> None:
    """Write one panel, given its first unit of either side."""
    panel = first[0] // PANEL, first[1] // PANEL
    if isinstance(store, CorrelationStore):
        store.write(panel, values)
    elif isinstance(store, NeighbourStore):
        near = partial(nearest_neighbours, k=store.k, same=store.same)
        store.write(
            panel,
            near(values, first_row=first[0], first_column=first[1]),
            near(np.ascontiguousarray(values.T), first_row=first[1], first_column=first[0]),
        )


def _each_map(maps: tuple[Maps, Maps], move: Move) -> tuple[Maps, Maps]:
    a = {name: move(tensor) for name, tensor in maps[0].items()}
    return (a, a) if maps[1] is maps[0] else (a, {name: move(tensor) for name, tensor in maps[1].items()})


def _each_factor(step: Prepared, move: Move) -> Prepared:
    def moved(side: Factors) -> Factors:
        maps = tuple({grid: move(tensor) for grid, tensor in part.items()} for part in side.maps)
        return replace(side, maps=maps, sums=move(side.sums), squares=move(side.squares))

    a = moved(step[0])
    return (a, a) if step[1] is step[0] else (a, moved(step[1]))


def set_up(job: Job) -> None:
    """One thread a task: the graph keeps every core busy, and products spread over all cores would only queue.

    Products in float32 are float32, not TF32, unless the recipe says so.
    """
    return_freed_memory()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high" if job.precision == "tf32" and torch.cuda.is_available() else "highest")
