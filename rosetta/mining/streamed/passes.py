"""How often the images of a streamed run pass by, so that one worker's memory holds the sums of each pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from rosetta.mining.factors import PANEL, factor_values
from rosetta.mining.groups import Pair, met_grids
from rosetta.mining.plan import Tile, ranges, scratch_values, too_little
from rosetta.units import Units

PAIR_BYTES = 24
"""Of a pair of units: products in float64, and the last few thousand terms in float32, of either half of the images."""
_BLOCK_BYTES = {"cpu": 256 * 2**20}
_BLOCK_BYTES_BESIDE = 2 * 2**30
"""Float32 maps of all models over a block of images, at most, by kind of device."""
_BLOCK_IMAGES, _BLOCKS = 64, 4
"""Images of a block at most, and blocks at least."""
_BUFFERS = 2
"""Blocks in memory: one is filled while the other is added to the sums."""


@dataclass(frozen=True)
class Pass:
    """What is summed up while the images pass by once."""

    profiled: tuple[str, ...]
    """Models of whose layers sums are taken."""
    tiles: tuple[tuple[Pair, Tile], ...]
    """Units of two models whose products are."""
    sums_bytes: int
    """Of these sums."""

    @property
    def models(self) -> set[str]:
        """Models whose maps it needs; a generator that makes the images runs in any case."""
        return {*self.profiled, *(model for pair, _ in self.tiles for model in pair)}


def block_images(units: Sequence[Units], images: int, device: str) -> int:
    """Images of a block, a power of two.

    It follows from shapes and the kind of device alone: in which blocks images are added decides about the last bits.
    """
    values = sum(layer.values for model in units for layer in model.layers)
    most = min(_BLOCK_IMAGES, images // _BLOCKS, _BLOCK_BYTES.get(device, _BLOCK_BYTES_BESIDE) // (4 * values))
    return 1 << (max(1, most).bit_length() - 1)


def passing_bytes(units: Mapping[str, Units], pairs: Sequence[Pair], block: int) -> int:
    """What a worker holds beside models and sums: maps of the blocks in memory, and their factors."""
    values, scratch = 0, 0
    met = met_grids(units, pairs)
    for model in units:
        grids = met.get(model, ())  # none of one that is only to be profiled again
        for layer in units[model].layers:
            values += _BUFFERS * layer.values + factor_values(layer, grids)
        panels = (units[model].cut(span).layers for span in ranges(len(units[model]), PANEL))
        scratch = max(scratch, *(sum(scratch_values(layer, grids) for layer in panel) for panel in panels))
    return 4 * block * (values + scratch)


def plan_passes(
    units: Mapping[str, Units], pairs: Sequence[Pair], profiles: Mapping[str, int], block: int, memory: int
) -> list[Pass]:
    """As few passes as the memory allows, in the order of models and pairs.

    Parameters
    ----------
    units
        By model.
    profiles
        By model: bytes of the sums of its layers, of those that are to be profiled.
    memory
        Bytes that a worker may hold beside the models.

    Raises
    ------
    UserError
        It holds neither a model's sums nor two panels of units; names what would.
    """
    beside = passing_bytes(units, pairs, block)
    room = memory - beside
    passes: list[Pass] = []
    profiled: list[str] = []
    tiles: list[tuple[Pair, Tile]] = []
    used = 0

    def end() -> None:
        nonlocal used
        if profiled or tiles:
            passes.append(Pass(tuple(profiled), tuple(tiles), used))
        profiled.clear()
        tiles.clear()
        used = 0

    for model, size in profiles.items():
        if size > room:
            raise too_little(memory, size + beside, f"summing up the layers of {model}")
        if used + size > room:
            end()
        profiled.append(model)
        used += size
    for pair in pairs:
        for tile, size in _tiles(pair, (len(units[pair[0]]), len(units[pair[1]])), memory, beside):
            if used + size > room:
                end()
            tiles.append((pair, tile))
            used += size
    end()
    return passes


def _tiles(pair: Pair, units: tuple[int, int], memory: int, beside: int) -> Iterator[tuple[Tile, int]]:
    """A pair in as few bands of whole panels as fit, and the bytes of each."""
    (rows, columns), room = units, memory - beside
    high, wide = rows, columns
    if PAIR_BYTES * rows * columns > room:
        wide = columns if PAIR_BYTES * min(PANEL, rows) * columns <= room else PANEL
        panels = room // (PAIR_BYTES * PANEL * wide)
        if panels == 0:
            need = PAIR_BYTES * min(PANEL, rows) * min(PANEL, wide) + beside
            raise too_little(memory, need, f"correlating {'~'.join(pair)}")
        bands = ceil(rows / (panels * PANEL))
        high = PANEL * ceil(rows / PANEL / bands)
    for row in ranges(rows, high):
        for column in ranges(columns, wide):
            yield (row, column), PAIR_BYTES * (row.stop - row.start) * (column.stop - column.start)
