"""The images of a block: made by a generator, or read from files."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.plan import ranges
from rosetta.recipe import Images
from rosetta.zoo import Model
from rosetta.zoo.image_arrays import to_pixels
from storage.artifacts.source_images import LeftOut
from tasks.source.image_file import ImageFile
from tasks.source.squares import read_squares

Pixels = npt.NDArray[np.uint8]
Take = Callable[[slice, str, Tensor], None]
"""Takes maps (image, channel, y, x): where in the block their images are, and the layer."""


@dataclass(frozen=True)
class Batch:
    """Some images of a block, as models see them."""

    images: slice
    """Where they are in the block."""
    pixels: Pixels
    """(image, y, x, rgb)"""


def made(model: Model, images: range, seed: int, size: int, take: Take) -> Iterator[Batch]:
    """Make images batch by batch, from latents that depend on the seed and the index of each alone."""
    latents, classes = model.draw_latents(images, seed), model.draw_classes(images, seed)
    for batch in ranges(len(images), size):
        asked = None if classes is None else torch.from_numpy(classes[batch])

        def keep(layer: str, maps: Tensor, batch: slice = batch) -> None:
            take(batch, layer, maps)

        generated, _ = model.generate(torch.from_numpy(latents[batch]), asked, take=keep)
        yield Batch(batch, to_pixels(generated))


def read(files: Sequence[ImageFile], source: Images, pool: Executor) -> tuple[Pixels, list[LeftOut]]:
    """The images of files as squares, without gaps, and those that are bad.

    Raises
    ------
    UserError
        The disk or the network fails.
    """
    good, bad = [], []
    for one in read_squares(files, source, pool):
        if isinstance(one, LeftOut):
            bad.append(one)
        else:
            good.append(one[1].pixels)
    pixels = np.stack(good) if good else np.empty((0, source.size, source.size, 3), np.uint8)
    return pixels, bad
