"""Activation stores of random maps with the shapes of large models, for the benchmarks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from dask.system import cpu_count

from rosetta.mining.halves import drawn_halves
from rosetta.mining.plan import ranges
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_count, block_slice, model_blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.halves import numbers_of
from storage.filesystem.root import Root
from tasks.dump.maps import Encoded, MapBuffers, layer_block

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


def write(
    root: Root,
    name: str,
    layers: Sequence[Layer],
    images: int,
    seed: int,
    blocks: Blocks | None = None,
    *,
    active: float | None = None,
    codec: str = "lz4",
) -> None:
    """A finished store of rounded noise, by default in chunks of 16 MiB.

    Parameters
    ----------
    active
        The share of values that are not 0, of features that are never negative; left out, none is 0.
    """
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
        codecs={layer.name: codec for layer in layers},
        labels={"half": numbers_of(drawn_halves(map(str, range(images)), 0, None))},
        attributes={"generator": False},
    )
    random = dict(zip(units.layers, np.random.default_rng(seed).spawn(len(units.layers)), strict=True))
    buffers = MapBuffers(units, blocks.chunk)

    def encoded(count: int, first: int, layer: Layer) -> Encoded:
        maps = random[layer].standard_normal((count, layer.channels, *layer.grid), dtype=np.float32)
        if active is not None:
            maps = np.where(random[layer].random(maps.shape, dtype=np.float32) < active, np.abs(maps), np.float32(0))
        buffers.put(slice(0, count), layer.name, torch.from_numpy(maps))
        return buffers.encode(layer.name, count, True, codec, (name, first))

    # Each thread rounds with one thread of torch: with all of them, on 16 cores, 256 wait for each other.
    with ThreadPoolExecutor(cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for number in range(block_count(images, blocks.shard)):
            span = block_slice(number, blocks.shard, images)
            parts = [
                list(pool.map(partial(encoded, chunk.stop - chunk.start, chunk.start), units.layers))
                for chunk in ranges(span.stop - span.start, blocks.chunk)
            ]
            of_layers = zip(units.layers, zip(*parts, strict=True), strict=True)
            store.write(number, {layer.name: layer_block(of_layer, layer) for layer, of_layer in of_layers})
    store.finish()
