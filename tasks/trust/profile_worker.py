"""What a worker does to profile layers: their maps and the pixel features past each other, once.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rosetta.mining.plan import ranges
from rosetta.mining.trust.halves import first_half
from rosetta.mining.trust.pixels import FeatureProducts
from rosetta.mining.trust.profile import LayerProfiler
from rosetta.units import Grid, Layer
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.features import FeatureStore
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.stage.memory import keep_freed_memory

LEAST_READ = 16
"""Images that are read together at least: as many as a chunk of features holds."""
_STEP_BYTES = 16 * 2**20
"""Float32 maps of one step: long enough products, and short enough to stay near the caches."""


@dataclass(frozen=True)
class Piece:
    """One layer to profile."""

    model: str
    index: int
    """Of the layer in its model."""
    layer: Layer
    block: int
    """Images in a chunk of its store."""
    run: int
    """Neighbouring images that belong to one half."""
    commons: tuple[Grid, ...]
    """Its common grids with its partners."""

    @property
    def read(self) -> int:
        """Images that are read together; a power of two, and no chunk is decoded twice."""
        return max(self.block, LEAST_READ)

    @property
    def step(self) -> int:
        """Images that are multiplied at once; a power of two, so that steps, blocks and halves nest."""
        most = max(1, _STEP_BYTES // (4 * self.layer.values))
        return 1 << (min(64, self.read, self.run, most).bit_length() - 1)


def profile_layers(root: Root, pieces: Sequence[Piece]) -> None:
    """Profile some layers, of whichever models, and write each; those of one grid share what is made of features."""
    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    features = FeatureStore.read(root)
    stores = {piece.model: ActivationStore.read(root, piece.model) for piece in pieces}
    profilers = [_profiler(stores[piece.model], piece, device) for piece in pieces]
    ways = {
        (piece.layer.grid, piece.commons): FeatureProducts(piece.layer.grid, features.shape[2], piece.commons, device)
        for piece in pieces
    }
    for images in ranges(features.shape[0], max(piece.read for piece in pieces)):
        seen = torch.from_numpy(features.features(images)).to(device).float()
        # As many at once whoever else is in the group: the shape of a product decides how it is rounded.
        parts = seen.split(LEAST_READ)
        rows = {
            key: [torch.cat(held, dim=1) for held in zip(*map(way.rows, parts), strict=True)]
            for key, way in ways.items()
        }
        for piece, profiler in zip(pieces, profilers, strict=True):
            held, way = rows[piece.layer.grid, piece.commons], ways[piece.layer.grid, piece.commons]
            for part in ranges(images.stop - images.start, piece.read):
                span = slice(images.start + part.start, images.start + part.stop)
                maps = torch.from_numpy(stores[piece.model].maps(piece.layer.name, span))
                for step in ranges(len(maps), piece.step):
                    here = slice(part.start + step.start, part.start + step.stop)
                    profiler.add(maps[step], way, [row[:, here] for row in held])
                del maps  # before the next ones are read
    for piece, profiler in zip(pieces, profilers, strict=True):
        store = ProfileStore.read_begun(root, piece.model)
        moments = [store.features_on(common) for common in piece.commons]
        found = profiler.profile([(one.mean, np.sqrt(np.diagonal(one.covariance))) for one in moments])
        store.write(piece.index, found, piece.commons, _dead(stores[piece.model], piece.layer))
    part_done()


def _profiler(store: ActivationStore, piece: Piece, device: torch.device) -> LayerProfiler:
    span = store.units.span(piece.layer.name)
    return LayerProfiler(
        piece.layer, store.mean()[span], store.std()[span], store.images, piece.commons, len(INDEPENDENT), device
    )


def _dead(activations: ActivationStore, layer: Layer) -> npt.NDArray[np.bool_]:
    """(channel, half) whether a unit holds one single value in a half of the images.

    Such a unit has the same peak in all of them: only those that have are looked at closer.
    """
    peaks, first = activations.peaks(layer.name), first_half(activations.images)
    dead = np.zeros((layer.channels, 2), dtype=bool)
    for half, images in enumerate((first, ~first)):
        dead[:, half] = np.ptp(peaks[images], axis=0) == 0 if images.any() else True
        for start in range(0, activations.images, activations.chunk):
            held = images[start : start + activations.chunk]
            suspects = np.flatnonzero(dead[:, half])
            if not held.any() or not len(suspects):
                continue
            maps = activations.maps(layer.name, slice(start, start + len(held)))[held][:, suspects]
            dead[suspects, half] &= (maps == peaks[images][0, suspects][:, None, None]).all(axis=(0, 2, 3))
    return dead
