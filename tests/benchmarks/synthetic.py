"""Activation stores of random maps with the shapes of large models, for the benchmarks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from rosetta.mining.plan import ranges
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_count, block_slice, model_blocks
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.dump.maps import MapBuffers, layer_block
from tasks.dump.rounding import Statistics

WIDE = {
    "wide": [Layer(f"block.{i}", 1536, (14, 14)) for i in range(24)],
    "narrow": [Layer(f"block.{i}", 1024, (14, 14)) for i in range(4)],
}
"""36,864 and 4,096 units on 14 × 14 grids: the residual stream of a large vision transformer against a smaller one."""

MIXED = {
    "generator": [Layer(f"g{side}", 2048 // side, (side, side)) for side in (4, 8, 16, 32, 64)],
    "classifier": [
        Layer(f"c{side}", channels, (side, side))
        for side, channels in ((112, 16), (56, 24), (28, 40), (14, 112), (7, 320))
    ],
}
"""Grids 4…64 against 7…112: a small generator and the five stages of EfficientNet-Lite0."""


def write(root: Root, name: str, layers: Sequence[Layer], images: int, seed: int, blocks: Blocks | None = None) -> None:
    """A finished store of rounded noise, by default in chunks of 16 MiB."""
    units = Units(tuple(layers))
    blocks = blocks or model_blocks(units, images, 16)
    store = ActivationStore.create(
        root,
        name,
        fingerprint("activations", of=name, images=f"{images} synthetic"),
        units=units,
        images=images,
        block=blocks.shard,
        chunk=blocks.chunk,
        codecs={layer.name: "lz4" for layer in layers},
        labels={},
        attributes={"generator": False},
    )
    random = np.random.default_rng(seed)
    buffers = MapBuffers(units, blocks.chunk)
    with ThreadPoolExecutor(2) as pool:
        for number in range(block_count(images, blocks.shard)):
            span = block_slice(number, blocks.shard, images)
            rows: dict[str, list[list[bytes]]] = {layer.name: [] for layer in layers}
            parts: dict[str, list[Statistics]] = {layer.name: [] for layer in layers}
            for chunk in ranges(span.stop - span.start, blocks.chunk):
                count = chunk.stop - chunk.start
                maps = {
                    layer.name: random.standard_normal((count, layer.channels, *layer.grid), dtype=np.float32)
                    for layer in layers
                }
                buffers.put(slice(0, count), {layer: torch.from_numpy(values) for layer, values in maps.items()})
                for layer, statistics in buffers.round(count, rounded=True).items():
                    parts[layer].append(statistics)
                for layer, encoded in buffers.encode(store.codecs, pool).items():
                    rows[layer].append(encoded)
            positions = {layer.name: layer.grid[0] * layer.grid[1] for layer in layers}
            store.write(number, {name: layer_block(rows[name], parts[name], positions[name]) for name in rows})
    store.finish()
