"""Activation stores of random maps with the shapes of large models, for the benchmarks."""

from collections.abc import Sequence

import numpy as np

from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore, LayerBlock
from storage.artifacts.blocks import block_count, block_size, block_slice
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root

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


def write(root: Root, name: str, layers: Sequence[Layer], images: int, seed: int) -> None:
    """A finished float16 store in chunks of 16 MiB."""
    units = Units(tuple(layers))
    block = block_size(2 * max(layer.values for layer in layers), 16 << 20, images)
    store = ActivationStore.create(
        root,
        name,
        fingerprint("activations", of=name, images=f"{images} synthetic"),
        units=units,
        images=images,
        block=block,
        dtypes={layer.name: "float16" for layer in layers},
        attributes={"generator": False},
    )
    random = np.random.default_rng(seed)
    for number in range(block_count(images, block)):
        span = block_slice(number, block, images)
        parts = {}
        for layer in layers:
            maps = random.standard_normal((span.stop - span.start, layer.channels, *layer.grid), dtype=np.float32)
            stored = maps.astype(np.float16)
            flat = maps.transpose(1, 0, 2, 3).reshape(layer.channels, -1)
            mean = flat.mean(axis=1)
            parts[layer.name] = LayerBlock(
                stored,
                maps.max(axis=(2, 3)),
                mean.astype(np.float64),
                ((flat - mean[:, None]) ** 2).sum(axis=1).astype(np.float64),
            )
        store.write(number, parts)
    store.finish()
