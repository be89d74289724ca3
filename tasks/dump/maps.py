"""The maps of a few images on their way from a model to its store: gathered, rounded, summed up and encoded."""

from collections.abc import Mapping
from concurrent.futures import Executor

import numpy as np
import torch
from torch import Tensor

from rosetta.units import Units
from storage.artifacts.activations import LayerBlock, combine_moments
from storage.artifacts.shards import Shards, best_codec, encode
from tasks.dump.rounding import Statistics, round_maps


class MapBuffers:
    """Room for the maps of all layers of a model over the images of one chunk; used again for the next."""

    def __init__(self, units: Units, images: int) -> None:
        self._units = units
        self._shards = {layer.name: Shards(layer.channels, layer.grid, images, 1) for layer in units.layers}
        self._rooms = {name: torch.from_numpy(shards.room()) for name, shards in self._shards.items()}
        self._filled = images

    def put(self, batch: slice, maps: Mapping[str, Tensor]) -> None:
        """Take the maps of some images, by layer (image, channel, y, x), on whatever device."""
        for name, values in maps.items():
            room, width = self._rooms[name], self._shards[name].width
            whole = values.shape[1] // width
            # Widens, goes to host memory and sorts by chunks, in one pass.
            room[:whole, batch].copy_(values[:, : whole * width].unflatten(1, (whole, width)).transpose(0, 1))
            if rest := values[:, whole * width :].shape[1]:
                room[whole, batch, :rest].copy_(values[:, whole * width :])

    def round(self, images: int, rounded: bool) -> dict[str, Statistics]:
        """Round the maps of the first images; by layer what they come to."""
        for room in self._rooms.values():
            room[:, images:] = 0  # of the block before
        return {
            layer.name: round_maps(self._rooms[layer.name][:, :images], layer.channels, rounded)
            for layer in self._units.layers
        }

    def bad(self, layer: str, images: int) -> Tensor:
        """(image, channel) which maps of a layer are not finite."""
        finite = torch.isfinite(self._rooms[layer][:, :images]).flatten(3).all(dim=3)
        return ~finite.transpose(0, 1).flatten(1)

    def codecs(self) -> dict[str, str]:
        """By layer, the codec that suits what is here now."""
        return {name: best_codec(room[len(room) // 2].numpy()) for name, room in self._rooms.items()}

    def encode(self, codecs: Mapping[str, str], pool: Executor) -> dict[str, list[bytes]]:
        """By layer, the encoded chunks."""
        waiting = {
            name: [pool.submit(encode, chunk.numpy(), codecs[name]) for chunk in room]
            for name, room in self._rooms.items()
        }
        return {name: [chunk.result() for chunk in chunks] for name, chunks in waiting.items()}


def layer_block(rows: list[list[bytes]], parts: list[Statistics], positions: int) -> LayerBlock:
    """A layer's block from what its chunks come to, in their order.

    Parameters
    ----------
    positions
        Of a map.
    """
    counts = np.array([len(part.peak) for part in parts])
    means, squares = np.stack([part.mean for part in parts]), np.stack([part.square for part in parts])
    mean, variance = combine_moments(counts, means, squares, positions)
    return LayerBlock(
        rows,
        np.concatenate([part.peak for part in parts]),
        mean,
        variance * (counts.sum() * positions),
        np.sum([part.noise for part in parts], axis=0),
    )
