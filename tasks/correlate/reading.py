"""The maps that a worker reads: of every model of a group, step by step, each block once."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.factors import Maps
from rosetta.mining.halves import Mask
from rosetta.mining.moments import Precision
from rosetta.mining.plan import Tile, ranges
from rosetta.mining.sparse import MOST_ACTIVE, SparseRows
from rosetta.mining.split import Split
from rosetta.units import Grid, Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from tasks.stage.metrics import ContextThreads

Room = dict[str, npt.NDArray[np.float32]]
"""By layer name: where the maps of a block go."""
SideKey = tuple[str, int, int]
"""Of one side of a tile: its model, its first unit and the one after its last."""


@dataclass(frozen=True)
class Job:
    """How some pairs are correlated, in few words: it travels with every task."""

    root: Root
    digests: Mapping[str, str]
    """By model: the fingerprint of its activation store."""
    step_images: int
    device: str
    """`auto` is what the worker has."""
    precision: Precision
    ahead: int = 0
    """How many threads read the next block beside the work on this one."""

    @property
    def torch_device(self) -> torch.device:
        """The device of the worker that asks."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found if self.device == "auto" else self.device)

    @property
    def skips_zeros(self) -> bool:
        """Whether layers that are mostly zeros are read and multiplied without them."""
        return skips_zeros(self.torch_device.type, self.precision)


def skips_zeros(device: str, precision: Precision) -> bool:
    """Only where that is faster: a GPU would rather multiply with zeros, and bfloat16 is for those that can."""
    return device == "cpu" and precision != "bfloat16"


@dataclass(frozen=True)
class PairTile:
    """Some units of one model against some of another: a tile of a pair, or the whole of it."""

    a: str
    b: str
    spans: Tile
    """Units of A and of B."""

    @property
    def keys(self) -> tuple[SideKey, SideKey]:
        """Both sides; the same key twice where a model meets the same units of itself."""
        a, b = ((model, span.start, span.stop) for model, span in zip((self.a, self.b), self.spans, strict=True))
        return a, b


@dataclass(frozen=True)
class Model:
    """A model's store with what every task needs of its statistics."""

    store: ActivationStore
    mean: npt.NDArray[np.float32]
    """(unit,)"""
    std: npt.NDArray[np.float64]
    """(unit,) 0 where a unit holds one single value."""
    sparse: frozenset[str]
    """Layers that are read without their zeros."""
    first: Mask
    """(image,) whether each image belongs to the first half."""


@lru_cache(maxsize=64)
def _model(root: Root, model: str, digest: str) -> Model:
    store = ActivationStore.read(root, model)
    if store.digest != digest:
        raise FileNotFoundError(f"activations of {model} under {root.shown} are not those that this work began with")
    return Model(store, store.mean().astype(np.float32), store.std(), sparse_layers(store), store.first_half())


def sparse_layers(store: ActivationStore) -> frozenset[str]:
    """Layers whose maps are read and multiplied without their zeros; a fact of the store, whoever asks."""
    return frozenset(layer.name for layer in store.units.layers if store.mostly_zeros(layer.name, MOST_ACTIVE))


@dataclass(frozen=True)
class TileSide:
    """One side of a tile: some units of a model."""

    model: Model
    span: slice
    units: Units
    """The units, layers cut down to them."""
    sparse: frozenset[str] = frozenset()
    """Layers that are read without their zeros."""

    @property
    def shift(self) -> npt.NDArray[np.float32]:
        """(unit,) what is taken off every map."""
        return self.model.mean[self.span]

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """(unit,) whether it holds one single value."""
        return self.std == 0

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """(unit,) standard deviation on the native grid."""
        return self.model.std[self.span]

    def parts(self) -> list[tuple[Layer, slice]]:
        """Layers, cut down to the units, with the channels that these are."""
        return self.model.store.units.restrict(self.span)

    def steps(self, images: slice, size: int, pool: ThreadPoolExecutor | None = None) -> Iterator[Maps]:
        """The maps of some images, `size` images at a time, each in place of the last; no chunk is decoded twice.

        Parameters
        ----------
        pool
            Its threads read the next block beside the work on this one; left out, nothing is read before it is asked
            for.
        """
        block = max(size, self.model.store.chunk)
        spans = [slice(images.start + one.start, images.start + one.stop) for one in _cut(images, block)]
        # Read into the same memory block after block: fresh memory comes from the system page by page.
        rooms = [self._room(min(block, images.stop - images.start)) for _ in range(1 if pool is None else 2)]
        for span, maps in zip(spans, self._each(list(zip(spans, cycle(rooms))), pool), strict=True):
            layers = [(layer.name, _in_steps(maps[layer.name], size, layer)) for layer in self.units.layers]
            for number in range(len(_cut(span, size))):
                yield {name: steps[number] for name, steps in layers}

    def _room(self, images: int) -> Room:
        return {
            layer.name: np.empty((images, layer.channels, *layer.grid), np.float32)
            for layer, _ in self.parts()
            if layer.name not in self.sparse
        }

    def _each(self, blocks: Sequence[tuple[slice, Room]], pool: ThreadPoolExecutor | None) -> Iterator[Maps]:
        """The maps of each block, in turn; with a pool one block ahead, and layer beside layer."""
        if pool is None:
            for block in blocks:
                yield {layer.name: self._read(layer.name, channels, *block) for layer, channels in self.parts()}
            return

        def begin(block: tuple[slice, Room]) -> dict[str, Future[Tensor | SparseRows]]:
            return {
                layer.name: pool.submit(self._read, layer.name, channels, *block) for layer, channels in self.parts()
            }

        coming = begin(blocks[0])
        for following in [*blocks[1:], None]:
            maps = {name: layer.result() for name, layer in coming.items()}
            coming = {} if following is None else begin(following)
            yield maps

    def _read(self, layer: str, channels: slice, images: slice, room: Room) -> Tensor | SparseRows:
        if layer in self.sparse:
            return _sparse_maps(self.model.store, layer, images, channels)
        into = room[layer][: images.stop - images.start]
        return torch.from_numpy(self.model.store.maps(layer, images, channels, into))


def _sparse_maps(store: ActivationStore, layer: str, images: slice, channels: slice) -> SparseRows:
    """(channel, image · position) of some images, without what is 0."""
    positions = next(one.grid[0] * one.grid[1] for one in store.units.layers if one.name == layer)
    parts = []
    for some in store.entries(layer, images, channels):
        starts = np.concatenate([[0], np.cumsum(some.counts)])
        arrays = [torch.from_numpy(one) for one in (starts, some.places, some.values)]
        parts.append(SparseRows(arrays[0], arrays[1], arrays[2], some.images * positions))
    return SparseRows.beside(parts)


def _in_steps(maps: Tensor | SparseRows, size: int, layer: Layer) -> Sequence[Tensor | SparseRows]:
    """Maps of a block, so many images at a time."""
    return maps.split(size if isinstance(maps, Tensor) else size * layer.grid[0] * layer.grid[1])


def _cut(images: slice, size: int) -> list[slice]:
    return ranges(images.stop - images.start, size)


def sides_of(job: Job, tile: PairTile) -> tuple[TileSide, TileSide]:
    """Both sides of a tile."""
    a, b = (side_of(job, key) for key in tile.keys)
    return a, b


def side_of(job: Job, key: SideKey) -> TileSide:
    """One side of a tile."""
    name, start, stop = key
    model = _model(job.root, name, job.digests[name])
    sparse = model.sparse if job.skips_zeros else frozenset()
    return TileSide(model, slice(start, stop), model.store.units.cut(slice(start, stop)), sparse)


@dataclass(frozen=True)
class Member:
    """One side of the tiles of a group, with all that it meets."""

    side: TileSide
    grids: tuple[Grid, ...]
    """The distinct grids of its partners."""


def members_of(job: Job, tiles: Sequence[PairTile]) -> dict[SideKey, Member]:
    """Every side of some tiles, once."""
    sides = {key: side_of(job, key) for tile in tiles for key in tile.keys}
    met: dict[SideKey, dict[Grid, None]] = {key: {} for key in sides}
    for tile in tiles:
        for own, other in (tile.keys, tile.keys[::-1]):
            met[own].update(dict.fromkeys(sides[other].units.grids()))
    return {key: Member(side, tuple(met[key])) for key, side in sides.items()}


@dataclass(frozen=True)
class Step:
    """Some images that are multiplied at once."""

    split: Split
    """Which of them belong to which half."""
    maps: Mapping[SideKey, Maps]
    """Of every side, in the order of the stores."""


def steps_of(job: Job, members: Mapping[SideKey, Member], images: slice) -> Iterator[Step]:
    """The maps of some images, step by step, of all sides at once; each step is gone when the next is asked for."""
    first = next(iter(members.values())).side.model.first
    with ContextThreads(job.ahead) if job.ahead else nullcontext() as pool:
        coming = {key: member.side.steps(images, job.step_images, pool) for key, member in members.items()}
        for step in _cut(images, job.step_images):
            here = first[images.start + step.start : images.start + step.stop]
            yield Step(Split.of(here), {key: next(steps) for key, steps in coming.items()})
