"""The images of a block: made by a generator, or read from files."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

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


def made(model: Model, images: range, seed: int, size: int, take: Take) -> Pixels:
    """(image, y, x, rgb) images out of latents that depend on the seed and the index of each alone, in batches."""
    pixels = []
    latents, classes = model.draw_latents(images, seed), model.draw_classes(images, seed)
    for batch in ranges(len(images), size):
        asked = None if classes is None else torch.from_numpy(classes[batch])

        def keep(layer: str, maps: Tensor, batch: slice = batch) -> None:
            take(batch, layer, maps)

        generated, _ = model.generate(torch.from_numpy(latents[batch]), asked, take=keep)
        pixels.append(to_pixels(generated))
    return np.concatenate(pixels)


def read(
    files: Sequence[ImageFile], source: Images, pool: Executor
) -> tuple[Pixels, npt.NDArray[np.bool_], list[LeftOut]]:
    """The images of files as squares, without gaps; (file,) which files these are of; and those that are bad.

    Raises
    ------
    UserError
        The disk or the network fails.
    """
    good, bad, are_good = [], [], np.ones(len(files), bool)
    for place, one in enumerate(read_squares(files, source, pool)):
        if isinstance(one, LeftOut):
            bad.append(one)
            are_good[place] = False
        else:
            good.append(one[1].pixels)
    pixels = np.stack(good) if good else np.empty((0, source.side, source.side, 3), np.uint8)
    return pixels, are_good, bad
