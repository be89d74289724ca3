"""What a worker does to profile layers: their maps and the pixel features past each other, once.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from rosetta.mining.halves import Mask
from rosetta.mining.plan import ranges
from rosetta.mining.room import Room
from rosetta.mining.trust.layer_sums import LayerSums
from rosetta.mining.trust.pixels import FEATURE_BLOCK, FeatureProducts, FeatureSpan
from rosetta.mining.trust.standardised import dead_in_halves, layer_profile
from rosetta.units import Grid, Layer
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.features import SIDE, FeatureStore
from storage.artifacts.profiles import ProfileStore
from storage.artifacts.shards import Shards
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import ContextThreads

Float32 = npt.NDArray[np.float32]
Read = TypeVar("Read")


@dataclass(frozen=True)
class Piece:
    """One layer to profile."""

    model: str
    index: int
    """Of the layer in its model."""
    layer: Layer
    chunk: int
    """Images in a chunk of its store."""
    commons: tuple[Grid, ...]
    """Its common grids with its partners."""
    device: str = "auto"
    """Where its sums are; `auto` is what the worker has."""

    @property
    def torch_device(self) -> torch.device:
        """The device of the worker that asks."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found if self.device == "auto" else self.device)

    def sums(self, first: Mask) -> LayerSums:
        """Sums of the layer at zero, given (image,) whether each belongs to the first half."""
        width = Shards(self.layer.channels, self.layer.grid, self.chunk, 1).width
        return LayerSums(self.layer, first, self.commons, len(INDEPENDENT), width=width, device=self.torch_device)

    def products(self) -> FeatureProducts:
        """Of its maps with the features."""
        return FeatureProducts(self.layer.grid, SIDE, self.commons, self.torch_device)


def profile_layers(root: Root, pieces: Sequence[Piece]) -> None:
    """Profile some layers, of whichever models, and write each."""
    keep_freed_memory()
    torch.set_num_threads(1)
    features = FeatureStore.read(root)
    stores = {piece.model: ActivationStore.read(root, piece.model) for piece in pieces}
    images, room = features.shape[0], Room()
    sums = [piece.sums(stores[piece.model].first_half()) for piece in pieces]
    products = [piece.products() for piece in pieces]
    longest = max(FEATURE_BLOCK, *(piece.chunk for piece in pieces))

    def reads() -> Iterator[Callable[[], Float32]]:
        for span in ranges(images, longest):
            yield partial(features.features, span)
            for piece in pieces:
                for chunk in chunks_of(span, piece.chunk):
                    yield partial(stores[piece.model].maps, piece.layer.name, chunk)

    arrays = ahead(reads())
    for span in ranges(images, longest):
        seen = FeatureSpan.of(torch.from_numpy(next(arrays)).to(pieces[0].torch_device))
        for piece, of_piece, way in zip(pieces, sums, products, strict=True):
            for chunk in chunks_of(span, piece.chunk):
                of_piece.add(torch.from_numpy(next(arrays)), way, seen.at(chunk.start - span.start), room)
    profiles = {model: ProfileStore.read_begun(root, model) for model in stores}
    for piece, of_piece in zip(pieces, sums, strict=True):
        write_profile(profiles[piece.model], stores[piece.model], piece, of_piece)
    part_done()


def chunks_of(span: slice, size: int) -> list[slice]:
    """Some images, which begin with a chunk, chunk by chunk."""
    return [slice(span.start + part.start, span.start + part.stop) for part in ranges(span.stop - span.start, size)]


def ahead(reads: Iterable[Callable[[], Read]]) -> Iterator[Read]:
    """What each read gives; the next one runs beside the work on this one."""
    with ContextThreads(1) as thread:
        waiting: Future[Read] | None = None
        for read in reads:
            before, waiting = waiting, thread.submit(read)
            if before is not None:
                yield before.result()
        if waiting is not None:
            yield waiting.result()


def write_profile(profiles: ProfileStore, activations: ActivationStore, piece: Piece, sums: LayerSums) -> None:
    """Write the profile of a layer whose sums hold all images."""
    mean, std = (activations.of_layer(piece.layer.name, name) for name in ("mean", "std"))
    moments = [profiles.features_on(common) for common in piece.commons]
    of_features = [(one.mean, np.sqrt(np.diagonal(one.covariance))) for one in moments]
    found = layer_profile(sums, mean, std, of_features)
    profiles.write(piece.index, found, piece.commons, _dead(activations, piece.layer, *dead_in_halves(sums, std)))


def _dead(
    activations: ActivationStore, layer: Layer, dead: npt.NDArray[np.bool_], doubtful: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """(channel, half) whether a unit holds one single value in a half of the images; looks at those in doubt."""
    peaks, first = activations.peaks(layer.name), activations.first_half()
    for half, images in enumerate((first, ~first)):
        for channel in np.flatnonzero(doubtful[:, half]):
            # Such a unit has the same peak in all of them.
            single = np.ptp(peaks[images, channel]) == 0
            for start in range(0, activations.images, activations.chunk) if single else ():
                held = images[start : start + activations.chunk]
                maps = activations.maps(layer.name, slice(start, start + len(held)), slice(channel, channel + 1))
                single &= bool((maps[held] == peaks[images, channel][0]).all())
            dead[channel, half] = single
    return dead
