"""Small activation stores of random maps, for tests of what reads them."""

from collections.abc import Mapping, Sequence

import numpy as np

from rosetta.errors import UserError
from rosetta.mining.halves import drawn_halves
from rosetta.mining.plan import Side, plan_pair
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore, LayerBlock
from storage.artifacts.blocks import block_slice
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.halves import numbers_of
from storage.artifacts.shards import Shards, encode
from storage.filesystem.root import Root

IMAGES = 22
LAYERS = {
    "a": (Layer("low", 40, (3, 5)), Layer("high", 30, (9, 4))),
    "b": (Layer("x", 25, (6, 6)), Layer("y", 20, (2, 2)), Layer("z", 5, (12, 7))),
}
BLOCKS = {"a": 8, "b": 4}


def side(name: str, layers: Sequence[Layer] | None = None, count: int = IMAGES) -> Side:
    """What a plan knows of such a store."""
    units = Units(tuple(layers or LAYERS[name]))
    return Side(units, count, BLOCKS[name])


def least(a: Side, b: Side) -> int:
    """The memory that holds the smallest tile on one thread."""
    memory = 1 << 40
    while True:
        try:
            memory = plan_pair(a, b, memory=memory - 1, threads=1).peak_bytes
        except UserError:
            return memory


def begin(
    root: Root,
    name: str,
    made: Fingerprint,
    units: Units,
    *,
    images: int,
    block: int,
    labels: Mapping[str, np.ndarray] | None = None,
    codec: str = "lz4",
    indices: np.ndarray | None = None,
    **attributes: object,
) -> ActivationStore:
    """A store that is laid out, with shards of one chunk."""
    return ActivationStore.create(
        root,
        name,
        made,
        units=units,
        images=images,
        block=block,
        chunk=block,
        codecs={layer.name: codec for layer in units.layers},
        indices=indices,
        labels=labels or {},
        attributes=attributes,
    )


def fill(
    root: Root, name: str, *, images: str = "these", layers: Sequence[Layer] | None = None, count: int = IMAGES
) -> dict[str, np.ndarray]:
    """A store of random maps that share a brightness, with one dead unit; its maps by layer."""
    random = np.random.default_rng(ord(name))
    units = Units(tuple(layers or LAYERS[name]))
    made = fingerprint("activations", of=name, images=images)
    labels = {"half": numbers_of(drawn_halves(map(str, range(count)), 0, None))}
    store = begin(root, name, made, units, images=count, block=BLOCKS[name], labels=labels)
    scene = random.normal(size=(count, 1, 1, 1))
    maps = {
        layer.name: (scene * random.normal(size=(1, layer.channels, 1, 1)) + random.normal(
            size=(count, layer.channels, *layer.grid)
        )).astype(np.float16).astype(np.float32)
        for layer in units.layers
    }  # fmt: skip
    maps[units.layers[0].name][:, 7] = 2.5
    write_blocks(store, maps)
    return maps


def write_blocks(store: ActivationStore, maps: Mapping[str, np.ndarray]) -> None:
    """Write maps (image, channel, y, x) by layer as they are, and finish the store."""
    for number in range(len(store.written())):
        span = block_slice(number, store.block, store.images)
        store.write(
            number, {layer.name: layer_block(store, layer, maps[layer.name][span]) for layer in store.units.layers}
        )
    store.finish()


def layer_block(store: ActivationStore, layer: Layer, maps: np.ndarray) -> LayerBlock:
    """A block of a layer, with what a dump keeps of it."""
    shards = Shards(layer.channels, layer.grid, store.chunk, store.block // store.chunk)
    flat = maps.astype(np.float64).transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
    mean = flat.mean(axis=1)
    rows = [
        [encode(chunk, store.codecs[layer.name]) for chunk in shards.split(maps[start : start + store.chunk])]
        for start in range(0, len(maps), store.chunk)
    ]
    square = ((flat - mean[:, None]) ** 2).sum(axis=1)
    return LayerBlock(rows, maps.max(axis=(2, 3)).astype(np.float32), mean, square, np.zeros_like(mean))
