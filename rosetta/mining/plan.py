"""How a pair of models is cut up so that one worker's memory holds, found out before any work.

The matrix of units × units is cut into *tiles*, each a whole number of panels a side; images are cut into *ranges*,
one task each, and ranges into *steps* that are multiplied at once. A tile's sums stay in memory while all images pass
by, so every tile reads its rows of A and its columns of B once: few large tiles read least.

Steps and ranges follow from the shapes of the stores alone, and so does the tree in which partial sums are added.
Memory and workers only decide how many panels make a tile: they change how long it takes, and not one bit of what comes
out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL, factor_values
from rosetta.mining.grid import product_grid
from rosetta.units import Grid, Layer, Units

_STEP_BYTES = 32 * 2**20
"""Float32 maps of two panels in one step: long enough products, and short enough to stay near the caches."""
_MOST_RANGES = 16
"""Each range ends in an addition as large as its tile; more ranges spread further but add more."""

Tile = tuple[slice, slice]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """What a plan needs to know of one activation store."""

    units: Units
    images: int
    block: int
    """Images in a chunk; a power of two."""

    def stored(self, layer: Layer) -> int:
        """Bytes of a layer's maps of one image, decoded."""
        return 4 * layer.values

    def read_bytes(self, per_image: int, images: int) -> int:
        """Bytes held while maps are read, so many of each image: those, and what a block is decoded from."""
        return (images + self.block) * per_image


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
    a: Side, b: Side, *, memory: int, threads: int, workers: int = 1, fewer: bool = False, pair: str = "the pair"
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
    pair
        What an error calls it.

    Raises
    ------
    UserError
        The memory does not hold the smallest tile; names what would.
    """
    cuts = _Cuts(a, b)
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


class _Cuts:
    """All sensible ways to cut a pair, with what each costs."""

    def __init__(self, a: Side, b: Side) -> None:
        self.sides = _Panels(a, b.units.grids()), _Panels(b, a.units.grids())
        values = sum(int(side.values.max()) for side in self.sides)
        limit = min(_STEP_BYTES // (4 * values), 64, a.images)
        self.step = 1 << (max(1, limit).bit_length() - 1)
        self.range_images = max(a.block, b.block, 2 * self.step)
        while self.range_images * _MOST_RANGES < a.images:
            self.range_images *= 2
        self.range_count = -(-a.images // self.range_images)

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
        sums = 8 * self.sides[0].units_in(panels_a) * self.sides[1].units_in(panels_b)
        stored = sum(side.stored(panels, self.step) for side, panels in pairs)
        factors = sum(4 * self.step * side.most(side.factors, panels) for side, panels in pairs)
        # Maps that only pass, halfway pulled back, or multiplied with their neighbours.
        scratch = 3 * 4 * self.step * max(int(side.values.max()) for side in self.sides)
        product = 4 * PANEL * PANEL
        waiting = self.range_count.bit_length() if self.range_count > 1 else 0
        return threads * (sums + stored + factors + scratch + product) + waiting * sums


class _Panels:
    """One side, panel by panel."""

    def __init__(self, side: Side, other: tuple[Grid, ...]) -> None:
        self.side = side
        self.count = -(-len(side.units) // PANEL)
        parts = [side.units.cut(span).layers for span in ranges(len(side.units), PANEL)]

        def per_panel(values: Callable[[Layer], int]) -> Integers:
            return np.array([sum(map(values, part)) for part in parts], dtype=np.int64)

        self.values = per_panel(lambda layer: layer.values)
        self.factors = per_panel(lambda layer: factor_values(layer, other))
        self.bytes = per_panel(side.stored)

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

    def stored(self, panels: int, step: int) -> int:
        """Bytes of a tile's maps as stored, while they are read: the maps, and the chunks that are being decoded."""
        return self.side.read_bytes(self.most(self.bytes, panels), max(step, self.side.block))

    def bytes_read(self, panels: int) -> int:
        """Bytes of all chunks that the tiles of one pass read; a layer that two tiles share is read for each."""
        size = panels * PANEL
        return self.side.images * sum(
            self.side.stored(layer) * ((span.stop - 1) // size - span.start // size + 1)
            for layer, span in self.side.units.spans()
        )
