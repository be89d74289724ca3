"""What a dump holds in memory, known before it begins: buffers, encoded chunks, and what its threads work on."""

from dataclasses import dataclass, replace
from math import ceil

from dask.system import cpu_count

from rosetta.mining.plan import too_little
from rosetta.recipe import Compute
from rosetta.units import Units
from storage.artifacts.blocks import Blocks, model_blocks
from storage.artifacts.shards import Shards
from tasks.dump.rounding import GROUP_BYTES

_ENCODED = {"float16": 0.65, "float32": 1.02}
"""What is left of maps once they are encoded, at most: rounded ones keep 19 of 32 bits and some more."""
_ROOMS = 6
"""Groups of maps that a thread works on: two rooms in float32, or in float64 where scales are extreme."""

PROCESS_BYTES = 128 * 2**20
"""Of what comes with the first use of anything: threads, arenas, libraries, progress."""


@dataclass(frozen=True)
class Holding:
    """What the dump of one model holds beside the model itself, in bytes, at most."""

    blocks: Blocks
    sets: int
    """Of buffers; as many blocks are under way. Two, or one where memory is short: then the model waits for writers."""
    buffers: int
    """One set: a chunk of all layers, float32."""
    encoded: int
    """One block of all layers."""
    working: int
    """What writers round, and the file that is put together."""

    @property
    def peak(self) -> int:
        """All of it."""
        return self.sets * (self.buffers + self.encoded) + self.working


def writers(compute: Compute) -> int:
    """Threads that round and encode."""
    return compute.writers or cpu_count()


def holding(units: Units, blocks: Blocks, compute: Compute) -> Holding:
    """With two sets of buffers, or one where two do not fit into the recipe's memory."""
    rooms = [Shards(layer.channels, layer.grid, blocks.chunk, 1) for layer in units.layers]
    chunks = [4 * one.columns * one.images * one.width * one.grid[0] * one.grid[1] for one in rooms]
    shards = [ceil(_ENCODED[compute.dtype] * size * (blocks.shard // blocks.chunk)) for size in chunks]
    column = max(size // one.columns for size, one in zip(chunks, rooms, strict=True))
    # A file is joined from its chunks, and written from there.
    working = _ROOMS * writers(compute) * max(GROUP_BYTES, column) + 2 * max(shards)
    two = Holding(blocks, 2, sum(chunks), sum(shards), working)
    return two if two.peak <= compute.memory_bytes else replace(two, sets=1)


def fitted(model: str, units: Units, images: int, compute: Compute) -> Holding:
    """How to cut a model's store so that its dump fits into the recipe's memory: in smaller files where it must, and in
    smaller chunks.

    Raises
    ------
    UserError
        Not even the smallest chunks do.
    """
    target = compute.chunk_mib
    while True:
        blocks = model_blocks(units, images, target)
        while (held := holding(units, blocks, compute)).peak > compute.memory_bytes and blocks.shard > blocks.chunk:
            blocks = blocks.of(blocks.shard // 2)
        if held.peak <= compute.memory_bytes:
            return held
        if target <= 1 or blocks.chunk == 1:
            break
        target //= 2
    raise too_little(compute.memory_bytes, held.peak, f"dumping {model}")
