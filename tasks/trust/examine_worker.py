"""What a worker does to examine matches: the maps of some layers past each other, once.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.groups import Pair
from rosetta.mining.trust.bootstrap import LEAST_CLASSES, ImageSums, intervals
from rosetta.mining.trust.examine import Cell, CellSide, CellSums, Classes
from rosetta.mining.trust.largest import Percentile
from rosetta.units import Layer
from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.stage.memory import keep_freed_memory

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
LayerKey = tuple[str, str]
"""Model and layer."""

MEASURED = ("pearson_low", "pearson_high", "influence", "few_positions", "pearson_robust", "pearson_within")
"""Columns of the table, in order."""
_SAMPLED = 256
"""Images out of which percentiles are taken, at least, evenly spread; of coarse maps more. They are read twice.

Out of 256 of 512 images, correlations of clipped maps differ from those out of all by 0.004 at most in 99 of 100
matches; out of 128 images, by 0.02."""
_SAMPLED_VALUES = 2**16
"""Values of a unit that its percentile is taken out of, at least: 65 lie above it."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some matches between two layers, which are examined together wherever that is done."""

    pair: Pair
    layers: tuple[Layer, Layer]
    rows: tuple[Index, ...]
    """(match,) among the buddies of the pair; twice of a model with itself, where it stands from either side."""
    channels: tuple[Index, Index]
    """(match,) of either side, in the layer."""

    @property
    def matches(self) -> int:
        """How many there are."""
        return len(self.channels[0])

    @property
    def keys(self) -> tuple[LayerKey, LayerKey]:
        """Both sides."""
        a, b = ((model, layer.name) for model, layer in zip(self.pair, self.layers, strict=True))
        return a, b

    @cached_property
    def distinct(self) -> tuple[int, int]:
        """Units of either side."""
        a, b = (len(np.unique(channels)) for channels in self.channels)
        return a, b


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of all pairs of a run."""

    resamples: int
    by_class: bool
    """Whether classes are drawn in place of images."""
    seed: int
    classes: npt.NDArray[np.int64] | None
    """(image,) number of its class, −1 where it has none; None where classes are not known."""

    @property
    def class_count(self) -> int:
        """Classes that there are to draw from; an image without one stands for itself. 0 where none are known."""
        if self.classes is None:
            return 0
        return len(np.unique(self.classes[self.classes >= 0])) + int((self.classes < 0).sum())

    @property
    def has_intervals(self) -> bool:
        """Whether there is enough to draw from."""
        return not self.by_class or self.class_count >= LEAST_CLASSES


@dataclass(frozen=True, eq=False)
class Found:
    """What is said of some matches of a pair."""

    rows: Index
    values: Float64
    """(measured, match) in the order of :data:`MEASURED`."""


class _Reader:
    """The maps of one layer, chunk by chunk; each is gone when the next is read."""

    def __init__(self, store: ActivationStore, layer: str) -> None:
        self._store, self._layer = store, layer
        self._room: Float32 | None = None
        self._held = slice(0, 0)
        self._maps: Float32 = np.zeros(0, np.float32)

    def maps(self, images: slice) -> Tensor:
        """(image, channel, y, x) of images that lie in one chunk."""
        chunk = self._store.chunk
        if not self._held.start <= images.start < self._held.stop:
            start = images.start // chunk * chunk
            self._held = slice(start, min(start + chunk, self._store.images))
            # Read into the same memory chunk after chunk: fresh memory comes from the system page by page.
            room = None if self._room is None else self._room[: self._held.stop - start]
            self._maps = self._store.maps(self._layer, self._held, out=room)
            self._room = self._maps if self._room is None else self._room
        return torch.from_numpy(self._maps[images.start - self._held.start : images.stop - self._held.start])


def examine_blocks(root: Root, blocks: Sequence[Block], question: Question) -> dict[Pair, list[Found]]:
    """Examine some matches; a task that counts as progress.

    Each chunk of a layer is read once and seen by all blocks that need it, before the next.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    stores = {
        model: ActivationStore.read(root, model) for model in dict.fromkeys(m for one in blocks for m in one.pair)
    }
    sides = _sides(stores, blocks)
    classes = None if question.classes is None else Classes.of(question.classes)
    cells = [_cell(sides, block) for block in blocks]
    images = stores[blocks[0].pair[0]].images
    sums = [CellSums(cell, images, classes) for cell in cells]
    readers = {key: _Reader(stores[key[0]], key[1]) for key in dict.fromkeys(key for one in blocks for key in one.keys)}
    # What is multiplied at once lies in one chunk of either side, and that follows from the block alone.
    steps = [gcd(*(stores[model].chunk for model in block.pair)) for block in blocks]
    for start in range(0, images, gcd(*steps)):
        for block, one, step in zip(blocks, sums, steps, strict=True):
            if start % step == 0:
                span = slice(start, min(start + step, images))
                one.add(*(readers[key].maps(span) for key in block.keys))
    readers.clear()
    examined = [one.examined() for one in sums]
    ends = _intervals([one.sums for one in examined], question)
    found: dict[Pair, list[Found]] = {}
    for block, said, (low, high) in zip(blocks, examined, ends, strict=True):
        values = np.stack([low, high, said.sums.influence(), said.few_positions, said.robust, said.within])
        found.setdefault(block.pair, []).extend(Found(rows, values) for rows in block.rows)
    part_done()
    return found


def _intervals(sums: Sequence[ImageSums], question: Question) -> list[tuple[Float64, Float64]]:
    if not question.has_intervals:
        return [(nothing := np.full(len(one.cross), np.nan), nothing) for one in sums]
    if question.by_class:
        assert question.classes is not None
        sums = [one.by_class(question.classes) for one in sums]
    return intervals(sums, question.resamples, question.seed)


def _cell(sides: Mapping[LayerKey, CellSide], block: Block) -> Cell:
    """The block as it is computed: its distinct units, and which of these each match has."""
    parts, places = [], []
    for key, channels in zip(block.keys, block.channels, strict=True):
        whole = sides[key]
        distinct, of = np.unique(channels, return_inverse=True)
        at = np.searchsorted(whole.channels, distinct)
        parts.append(CellSide(whole.grid, distinct, whole.mean[at], whole.std[at], whole.cap[at]))
        places.append(of)
    return Cell(parts[0], parts[1], places[0], places[1])


def _sides(stores: Mapping[str, ActivationStore], blocks: Iterable[Block]) -> dict[LayerKey, CellSide]:
    """All units of the blocks, layer by layer."""
    layers: dict[LayerKey, Layer] = {}
    channels: dict[LayerKey, list[Index]] = {}
    for block in blocks:
        for key, layer, some in zip(block.keys, block.layers, block.channels, strict=True):
            layers[key] = layer
            channels.setdefault(key, []).append(some)
    found = {}
    for (model, name), layer in layers.items():
        chosen = np.unique(np.concatenate(channels[model, name]))
        store = stores[model]
        mean, std = (store.of_layer(name, what)[chosen] for what in ("mean", "std"))
        found[model, name] = CellSide(
            layer.grid, chosen, mean.astype(np.float32), std, _percentiles(store, layer, chosen).astype(np.float32)
        )
    return found


def _percentiles(store: ActivationStore, layer: Layer, channels: Index) -> Float64:
    """(unit,) 99.9th percentiles: of all images, or of chunks evenly spread over them."""
    chunks = sampled_chunks(store.images, store.chunk, layer)
    spans = [slice(start, min(start + store.chunk, store.images)) for start in chunks * store.chunk]
    positions = layer.grid[0] * layer.grid[1]
    percentile = Percentile(len(channels), positions * sum(span.stop - span.start for span in spans))
    reader = _Reader(store, layer.name)
    for span in spans:
        percentile.add(reader.maps(span).flatten(2).transpose(0, 1).index_select(0, torch.from_numpy(channels)))
    return percentile.values()


def sampled_chunks(images: int, chunk: int, layer: Layer) -> npt.NDArray[np.int64]:
    """Numbers of the chunks of images out of which percentiles of a layer are taken."""
    need = max(_SAMPLED, ceil(_SAMPLED_VALUES / (layer.grid[0] * layer.grid[1])))
    there, wanted = ceil(images / chunk), ceil(need / chunk)
    if wanted >= there:
        return np.arange(there)
    return ((np.arange(wanted) + 0.5) * there / wanted).astype(np.int64)
