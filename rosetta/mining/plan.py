"""How a pair of models is cut up so that one worker's memory holds, found out before any work.

The matrix of units × units is cut into *tiles*, each a whole number of panels a side; images are cut into *ranges*,
one task each, and ranges into *steps* that are multiplied at once. A tile's sums stay in memory while all images pass
by, so every tile reads its rows of A and its columns of B once: few large tiles read least.

Sums of the two halves of the images are kept apart until the end: judging asks for them. Every step has images of
both.

Steps and ranges follow from the stores alone, their shapes and which layers are mostly zeros, and so does the tree in
which partial sums are added.
Memory and workers only decide how many panels make a tile: they change how long it takes, and not one bit of what comes
out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import product
from math import ceil, prod

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL, factor_values
from rosetta.mining.grid import common_grid, product_grid
from rosetta.mining.sparse import MOST_ACTIVE
from rosetta.units import Grid, Layer, Units

_STEP_BYTES = 64 * 2**20
"""Float32 maps of two panels in one step, at most."""
_STEP_IMAGES = 16
"""Images in a step, at most: few enough that most pairs of a run take steps of the same size, and are read together."""
SUM_BYTES = 12
"""Of a pair of units while products are added up: in float64, and the last few thousand terms in float32."""
MOMENT_BYTES = 8
"""Of a pair of units in moments."""
_HALVES = 2
"""Of the images, whose sums are kept apart."""
_SUMMED_UP = 2
"""Moments of a tile that are held beside those of the halves when it is written: of all images, twice."""
_ENTRY_BYTES = 2 * 12 * MOST_ACTIVE
"""Of each value of a layer that is read without its zeros: an index and a number for those that are not 0, of which
some images may have twice as many as those that were looked at."""
_MOST_RANGES, _LEAST_STEPS = 16, 4
"""Each range ends in two additions as large as its tile; more and shorter ranges spread further but add more."""
_MOST_SPARSE_RANGES = 4
"""The same where zeros are left out: there an addition takes longer than the products of thirty images, measured."""

Tile = tuple[slice, slice]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """What a plan needs to know of one activation store."""

    units: Units
    images: int
    block: int
    """Images in a chunk; a power of two."""
    sparse: frozenset[str] = frozenset()
    """Layers that are read without their zeros."""

    def stored(self, layer: Layer) -> int:
        """Bytes that a layer's maps of one image take once they are read."""
        return round(_ENTRY_BYTES * layer.values) if layer.name in self.sparse else 4 * layer.values

    def stays_sparse(self, layers: Iterable[Layer]) -> bool:
        """Whether factors of these layers hold no zeros, on the layers' own grids."""
        return all(layer.name in self.sparse for layer in layers)

    @property
    def image_bytes(self) -> int:
        """Of all its maps of one image, decoded; those without their zeros are decoded, too."""
        return sum(4 * layer.values for layer in self.units.layers)

    @cached_property
    def panel_values(self) -> int:
        """Numbers that an image takes in its largest panel."""
        spans = ranges(len(self.units), PANEL)
        return max(sum(layer.values for layer in self.units.cut(span).layers) for span in spans)

    def read_bytes(self, layers: Iterable[Layer], images: int, ahead: int = 0) -> int:
        """Bytes held while maps of some layers are read.

        Parameters
        ----------
        images
            That are read at once.
        ahead
            How many threads read the next ones beside the work on these; 0 where that waits.
        """
        stored = [self.stored(layer) for layer in layers]
        # Each thread decodes one layer after the other: a chunk is there as it was read, and as it will be.
        decoding = self.block * min(sum(stored), 2 * max(1, ahead) * max(stored, default=0))
        return images * (1 + bool(ahead)) * sum(stored) + decoding


class Method(StrEnum):
    """How a pair is correlated."""

    PEARSON = "pearson"
    EXACT = "spearman, exact"
    SKETCHED = "spearman, sketched"


@dataclass(frozen=True)
class PairPlan:
    """A tile at a time: every image range once, reduced in a tree, then written."""

    units: tuple[int, int]
    images: int
    rows: int
    """Units of A in a tile; a multiple of the panel unless it is all."""
    columns: int
    """Units of B in a tile."""
    range_images: int
    """Images that one task reads."""
    step_images: int
    """Images that are multiplied at once."""
    threads: int
    """Tasks that a worker runs at once."""
    bytes_read: int
    """Bytes of all chunks that are read, before compression; a chunk that is read twice counts twice."""
    operations: int
    """Floating-point operations of the products."""
    peak_bytes: int
    """What one worker holds at most, beyond what it holds when idle."""
    method: Method = Method.PEARSON

    @property
    def passes(self) -> tuple[int, int]:
        """How many times the stores of A and of B are read: once for each column, and each row, of tiles."""
        return -(-self.units[1] // self.columns), -(-self.units[0] // self.rows)

    @property
    def tiles(self) -> list[Tile]:
        """Rows and columns of every tile."""
        return [
            (rows, columns)
            for rows in ranges(self.units[0], self.rows)
            for columns in ranges(self.units[1], self.columns)
        ]

    @property
    def image_ranges(self) -> list[slice]:
        """The images of every task of a tile."""
        return ranges(self.images, self.range_images)


def operations(a: Side, b: Side, grid: Callable[[Grid, Grid], Grid]) -> int:
    """2 × units × units × positions × images, over all pairs of layers; `grid` is where a pair is multiplied."""
    products = (
        one.channels * other.channels * prod(grid(one.grid, other.grid))
        for one in a.units.layers
        for other in b.units.layers
    )
    return 2 * a.images * sum(products)


def ranges(count: int, size: int) -> list[slice]:
    """0…count in slices of `size`, the last one shorter."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def plan_pair(
    a: Side,
    b: Side,
    *,
    memory: int,
    threads: int,
    workers: int = 1,
    fewer: bool = False,
    ahead: int = 0,
    pair: str = "the pair",
) -> PairPlan:
    """Cut a pair up so that as few bytes are read as the memory allows.

    Parameters
    ----------
    memory
        Bytes that one worker may hold beyond what it holds when idle.
    threads
        Tasks that a worker runs at once.
    workers
        How many there are; tiles are kept small enough to give all of them work.
    fewer
        Fewer tasks at once are fine where the memory does not hold so many.
    ahead
        How many threads of a task read its next block beside the work on this one.
    pair
        What an error calls it.

    Raises
    ------
    UserError
        The memory does not hold the smallest tile; names what would.
    """
    cuts = Cuts(a, b, ahead)
    for at_once in range(threads, 0 if fewer else threads - 1, -1):
        fitting = [plan for plan in cuts.candidates(at_once) if plan.peak_bytes <= memory]
        if fitting:
            busy = [plan for plan in fitting if prod(plan.passes) * cuts.range_count >= workers * at_once]
            return min(busy or fitting, key=lambda plan: (plan.bytes_read, plan.peak_bytes))
    smallest = min(plan.peak_bytes for plan in cuts.candidates(at_once))
    raise too_little(memory, smallest, pair, "" if fewer or threads == 1 else f" a worker of {threads} threads")


def too_little(memory: int, need: int, what: str, per: str = "") -> UserError:
    """The error where `memory` does not hold what something needs, both in bytes."""
    return UserError(
        f"compute.memory: {memory // 2**20} MiB is too little; {what} needs at least {need // 2**20 + 1} MiB{per}"
    )


class Cuts:
    """All sensible ways to cut a pair, with what each costs."""

    def __init__(self, a: Side, b: Side, ahead: int = 0) -> None:
        self._ahead = ahead
        self.sides = _Panels(a, b.units.grids()), _Panels(b, a.units.grids())
        values = a.panel_values + b.panel_values
        # A power of two, as blocks are: a step lies in one block.
        limit = min(_STEP_BYTES // (4 * values), _STEP_IMAGES)
        self.step = 1 << (max(1, limit).bit_length() - 1)
        self.range_images = max(a.block, b.block, _LEAST_STEPS * self.step)
        most = _MOST_SPARSE_RANGES if a.sparse or b.sparse else _MOST_RANGES
        while self.range_images * most < a.images:
            self.range_images *= 2
        self.range_count = -(-a.images // self.range_images)

    def whole(self, threads: int) -> PairPlan:
        """The pair in one tile."""
        return max(self.candidates(threads), key=lambda plan: plan.rows * plan.columns)

    def candidates(self, threads: int) -> Iterator[PairPlan]:
        """Every number of tiles a side."""
        a, b = self.sides
        products = operations(a.side, b.side, product_grid)
        for panels_a, panels_b in product(a.tilings, b.tilings):
            read = a.bytes_read(panels_a) * -(-b.count // panels_b) + b.bytes_read(panels_b) * -(-a.count // panels_a)
            yield PairPlan(
                (len(a.side.units), len(b.side.units)),
                a.side.images,
                a.units_in(panels_a),
                b.units_in(panels_b),
                self.range_images,
                self.step,
                threads,
                read,
                products,
                self._peak(panels_a, panels_b, threads),
            )

    def _peak(self, panels_a: int, panels_b: int, threads: int) -> int:
        """Bytes of one worker: what each task holds, and the partial sums that wait in the tree to be added."""
        pairs = list(zip(self.sides, (panels_a, panels_b), strict=True))
        units = self.sides[0].units_in(panels_a) * self.sides[1].units_in(panels_b)
        stored = sum(side.stored(panels, self.step, self._ahead) for side, panels in pairs)
        factors = sum(4 * self.step * side.most(side.factors, panels) for side, panels in pairs)
        scratch = 4 * self.step * max(int(side.scratch.max()) for side in self.sides)
        product = 4 * PANEL * PANEL
        return threads * (stored + factors + scratch + product) + sums_bytes(units, threads, self.range_count)


def scratch_values(layer: Layer, others: Iterable[Grid]) -> int:
    """Numbers of an image that only pass while a layer's maps are brought onto the grids of others."""
    (height, width), values = layer.grid, 0
    others = tuple(others)
    targets = {product_grid(layer.grid, other) for other in others}
    if layer.grid not in targets:  # the maps themselves are no factor
        values += layer.values
    if any(common_grid(layer.grid, other) != layer.grid for other in others):  # multiplied with their neighbours
        values += layer.values
    rows = max((y for y, _ in targets if y < height), default=0)  # pulled back along one axis, band by band
    return values + layer.channels * min(2 * rows, height) * width


def sums_bytes(units: int, threads: int, range_count: int) -> int:
    """Bytes of the sums of some pairs of units: in each task, and waiting in the tree to be added; the halves apart.

    Parameters
    ----------
    units
        How many pairs of units.
    range_count
        How many ranges of images there are.
    """
    waiting = range_count.bit_length() if range_count > 1 else 0
    return units * (_HALVES * (threads * SUM_BYTES + waiting * MOMENT_BYTES) + _SUMMED_UP * MOMENT_BYTES)


def side_factor_values(side: Side, layers: Sequence[Layer], others: Iterable[Grid]) -> int:
    """Numbers that an image takes in the factors of some layers of one panel."""
    others = tuple(others)
    values = sum(factor_values(layer, others) for layer in layers)
    if not side.stays_sparse(layers):
        return values
    # On their own grid these factors are the entries as they were read, put in order, and those of either half.
    own = sum(layer.values for layer in layers if any(product_grid(layer.grid, one) == layer.grid for one in others))
    return values - own + ceil(2 * _ENTRY_BYTES / 4 * own)


class _Panels:
    """One side, panel by panel."""

    def __init__(self, side: Side, other: tuple[Grid, ...]) -> None:
        self.side = side
        self.count = -(-len(side.units) // PANEL)
        parts = [side.units.cut(span).layers for span in ranges(len(side.units), PANEL)]
        self.factors = np.array([side_factor_values(side, part, other) for part in parts], dtype=np.int64)
        self.scratch = np.array([sum(scratch_values(layer, other) for layer in part) for part in parts], dtype=np.int64)
        if side.sparse:  # a panel made dense, and one that stands upright
            self.scratch += 2 * side.panel_values
        self._stored: dict[int, int] = {}

    @cached_property
    def tilings(self) -> list[int]:
        """Panels in a tile: for each number of tiles the smallest that makes no more."""
        return sorted({-(-self.count // tiles) for tiles in range(1, self.count + 1)})

    def units_in(self, panels: int) -> int:
        """Units in a tile of so many panels."""
        return min(panels * PANEL, len(self.side.units))

    def most(self, of_panels: Integers, panels: int) -> int:
        """The largest sum over the panels of one tile."""
        return max(int(of_panels[start : start + panels].sum()) for start in range(0, self.count, panels))

    def stored(self, panels: int, step: int, ahead: int) -> int:
        """Bytes of a tile's maps while they are read."""
        if panels not in self._stored:
            tiles = (self.side.units.cut(span).layers for span in ranges(len(self.side.units), panels * PANEL))
            images = max(step, self.side.block)
            self._stored[panels] = max(self.side.read_bytes(layers, images, ahead) for layers in tiles)
        return self._stored[panels]

    def bytes_read(self, panels: int) -> int:
        """Bytes of all chunks that the tiles of one pass read; a layer that two tiles share is read for each."""
        size = panels * PANEL
        return self.side.images * sum(
            4 * layer.values * ((span.stop - 1) // size - span.start // size + 1)
            for layer, span in self.side.units.spans()
        )
