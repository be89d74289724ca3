"""The maps of a few images on their way from a model to its store: gathered, rounded, summed up and encoded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.units import Layer, Units
from storage.artifacts.activations import LayerBlock, combine_moments
from storage.artifacts.shards import Shards, best_codec, encode
from tasks.dump.beside import Streams
from tasks.dump.rounding import Statistics, round_maps, round_units


@dataclass(frozen=True)
class Encoded:
    """One layer over the images of one chunk."""

    statistics: Statistics
    chunks: list[bytes]
    """Column by column, see :class:`storage.artifacts.shards.Shards`."""
    codec: str
    """That they are compressed with."""


class MapBuffers:
    """Room for the maps of all layers of a model over the images of one chunk; used again for others.

    Parameters
    ----------
    beside
        Of a model on a GPU: maps stay in rooms there and are rounded and summed up there, beside the model.
    """

    def __init__(self, units: Units, images: int, beside: Streams | None = None) -> None:
        self._channels = {layer.name: layer.channels for layer in units.layers}
        self._shards = {layer.name: Shards(layer.channels, layer.grid, images, 1) for layer in units.layers}
        self._hosted = {name: torch.from_numpy(shards.room()) for name, shards in self._shards.items()}
        self._rooms, self._beside = self._hosted, beside
        if beside is not None:
            self._hosted = {name: beside.pinned(room.shape, room.dtype) for name, room in self._hosted.items()}
            self._rooms = {name: torch.zeros_like(room, device=beside.device) for name, room in self._hosted.items()}

    def put(self, batch: slice, layer: str, maps: Tensor) -> None:
        """Take maps of some images (image, channel, y, x), on whatever device."""
        room, width = self._rooms[layer], self._shards[layer].width
        whole = maps.shape[1] // width
        _copy(maps[:, : whole * width].unflatten(1, (whole, width)).transpose(0, 1), room[:whole, batch])
        if rest := maps.shape[1] - whole * width:
            _copy(maps[:, whole * width :], room[whole, batch, :rest])

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Maps are taken in this context; they are encoded after it."""
        if self._beside is not None:
            self._beside.emptied()
        yield
        if self._beside is not None:
            self._filled = self._beside.filled()

    def encode(
        self,
        layer: str,
        images: int,
        rounded: bool,
        codec: str | None,
        about: tuple[str, int],
        show: Callable[[Tensor], None] | None = None,
    ) -> Encoded:
        """Round and encode the maps of the first images of a layer.

        Parameters
        ----------
        codec
            How to compress them; None takes what suits them.
        about
            For errors: the model's name, and the index of the first image.
        show
            Is given the rounded maps (column, image, channel, y, x), where they are.

        Raises
        ------
        UserError
            They are not finite; names model, layer, channels and images.
        """
        room, hosted = self._rooms[layer], self._hosted[layer]
        maps = room[:, :images]
        statistics = self._rounded(layer, images, rounded)
        if not statistics.finite:
            raise not_finite(self._bad(layer, images), layer, *about)
        if show is not None:
            with nullcontext() if self._beside is None else self._beside.working():
                show(maps)
        chosen = codec or best_codec(hosted[len(hosted) // 2].numpy())
        return Encoded(statistics, [encode(chunk, chosen) for chunk in hosted.numpy()], chosen)

    def _rounded(self, layer: str, images: int, rounded: bool) -> Statistics:
        """Round the maps of a layer where they are, and have them in host memory."""
        room, channels = self._rooms[layer], self._channels[layer]
        if self._beside is None:
            room[:, images:] = 0  # of other images
            return round_maps(room[:, :images], channels, rounded)
        with self._beside.working(self._filled):
            room[:, images:] = 0
            sums = round_units(room[:, :images].flatten(3), rounded)
            copied = self._beside.to_host(room, self._hosted[layer], sums)
        copied.wait()
        peak, mean, square, noise = copied.parts
        return Statistics.of((peak, mean, square, noise), channels)

    def _bad(self, layer: str, images: int) -> Tensor:
        """(image, channel) which maps are not finite."""
        finite = torch.isfinite(self._hosted[layer][:, :images]).flatten(3).all(dim=3)
        return ~finite.transpose(0, 1).flatten(1)


def _copy(maps: Tensor, room: Tensor) -> None:
    """Widen maps, bring them to the room's memory and sort them by chunks, in one pass."""
    if maps.device.type == "cpu" and maps.dtype == torch.float32 and maps.stride(-1) == 1:
        # One thread is as fast as memory here. Those of torch would wait for each other, on cores that writers need.
        np.copyto(room.numpy(), maps.numpy())
    else:
        room.copy_(maps)


def not_finite(bad: Tensor, layer: str, model: str, first_image: int) -> UserError:
    """The error where maps of some images, counted from the first, are not finite: (image, channel) says which."""
    images = [first_image + int(i) for i in bad.any(dim=1).nonzero().flatten()]
    channels = [int(i) for i in bad.any(dim=0).nonzero().flatten()]
    return UserError(
        f"model {model}, layer {layer}: NaN or infinity in channels {_few(channels)} for images {_few(images)};"
        " check its weights and preprocessing, or leave the layer out"
    )


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{shown} and more" if len(numbers) > 4 else shown


def layer_block(parts: Sequence[Encoded], layer: Layer) -> LayerBlock:
    """A layer's block from its encoded chunks, in their order."""
    statistics, positions = [part.statistics for part in parts], layer.grid[0] * layer.grid[1]
    counts = np.array([len(one.peak) for one in statistics])
    means, squares = np.stack([one.mean for one in statistics]), np.stack([one.square for one in statistics])
    mean, variance = combine_moments(counts, means, squares, positions)
    return LayerBlock(
        [part.chunks for part in parts],
        np.concatenate([one.peak for one in statistics]),
        mean,
        variance * (counts.sum() * positions),
        np.sum([one.noise for one in statistics], axis=0),
    )
