"""The dump against the disk: maps of a model whose forward pass costs nothing, over encoding and writing them bare."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from dask.system import cpu_count
from figures import BENCH, clear, figure, in_turn, report, timed
from torch import Tensor, nn

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.units import Layer
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.shards import Shards, encode
from storage.filesystem.root import Root
from tasks.dump.activations import dump

SHAPES = {
    "vit": [(3072, 14)] * 12,
    "resnet": [(64, 56)] * 2 + [(256, 56)] * 3 + [(512, 28)] * 4 + [(1024, 14)] * 6 + [(2048, 7)] * 3,
}
"""Channels and side of each layer: hidden units of a ViT-B's twelve MLPs, and outputs of a ResNet-50's blocks."""
IMAGES, REPEATS, SIDE = 128, 3, 16
THREADS = cpu_count()
IMAGES_MADE, MAPS_MADE = fingerprint("images"), fingerprint("bench")


class _Free(nn.Module):
    """Gives maps that are there already."""

    def __init__(self, channels: int, side: int, sparse: bool) -> None:
        super().__init__()
        maps = torch.randn(4, channels, side, side)
        self.maps = maps.relu() if sparse else nn.functional.gelu(maps)

    def forward(self, images: Tensor) -> Tensor:
        return self.maps[: len(images)]


class Model(nn.Module):
    """One module a layer."""

    image_size = (SIDE, SIDE)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Free(channels, side, name == "resnet") for channels, side in SHAPES[name])
        self.default_layers = ["layers.*"]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [layer(images) for layer in self.layers]


vit, resnet = partial(Model, "vit"), partial(Model, "resnet")


def dumped(root: Root, name: str, writers: int) -> float:
    """Seconds to dump all images."""
    root.remove("activations")
    spec = ModelSpec(name=name, model=f"python:dump_rate:{name}", weights="random:0")
    return timed(lambda: dump(root, MAPS_MADE, IMAGES_MADE, spec, Compute(writers=writers), "cpu"))


def written(root: Root, name: str) -> float:
    """Seconds to encode, checksum and write the same chunks and files, with as many threads and nothing else."""
    store = ActivationStore.read(root, name)
    folder = BENCH / "dump" / "bare"
    shutil.rmtree(folder, ignore_errors=True)
    maps = {layer.name: store.maps(layer.name, slice(0, store.chunk)) for layer in store.units.layers}
    shards = {
        layer.name: Shards(layer.channels, layer.grid, store.chunk, store.block // store.chunk)
        for layer in store.units.layers
    }
    chunks = {name: shards[name].split(values) for name, values in maps.items()}

    def write(job: tuple[int, Layer]) -> None:
        block, layer = job
        encoded = [encode(chunk, store.codecs[layer.name]) for chunk in chunks[layer.name]]
        place = folder / layer.name / str(block)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(shards[layer.name].join([encoded]))

    jobs = [(block, layer) for block in range(IMAGES // store.chunk) for layer in store.units.layers]
    with ThreadPoolExecutor(THREADS) as pool:
        return timed(lambda: list(pool.map(write, jobs)))


def main() -> None:
    """Measure, add to bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    clear("dump")
    sys.path.insert(0, str(Path(__file__).parent))
    root = Root(str(BENCH / "dump" / "run"))
    images = ImageStore.create(root, IMAGES_MADE, images=IMAGES, size=(SIDE, SIDE), block=IMAGES, latents=None)
    images.write(0, np.zeros((IMAGES, SIDE, SIDE, 3), np.uint8))
    images.finish()
    figures = {}
    for name, shapes in SHAPES.items():
        size = 2 * IMAGES * sum(channels * side**2 for channels, side in shapes)
        dumped(root, name, THREADS)
        ours, bare = in_turn(REPEATS, partial(dumped, root, name, THREADS), partial(written, root, name))
        figures |= {
            f"dump_rate_{name}": figure(size / ours / 1e6, "MB/s"),
            f"dump_over_bare_write_{name}": figure(bare / ours, "ratio", "≥ 0.5", bare / ours >= 0.5),
        }
    worst = min(entry["value"] for key, entry in figures.items() if "over" in key)
    figures["dump_over_bare_write"] = figure(worst, "ratio", "≥ 0.5", worst >= 0.5)
    report(f"dumping {IMAGES} images of maps that cost nothing, {THREADS} threads; MB of float16", figures)
    clear("dump")


if __name__ == "__main__":
    main()
