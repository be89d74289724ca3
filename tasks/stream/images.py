"""The images of a block: made by a generator, or read from files."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.plan import ranges
from rosetta.recipe import Images
from rosetta.zoo import Model
from rosetta.zoo.image_arrays import to_pixels
from tasks.source.image_file import ImageFile
from tasks.source.pixels import BadImageError, content_of, square
from tasks.source.reading import read_in_place

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


def read(files: Sequence[ImageFile], source: Images, pool: ThreadPoolExecutor) -> tuple[Pixels, list[BadImageError]]:
    """The images of files as squares, without gaps, and what is wrong with the others.

    Raises
    ------
    UserError
        The disk or the network fails.
    """

    def decode(file: ImageFile) -> Pixels | BadImageError:
        try:
            return square(file, content_of(file), source).pixels
        except BadImageError as error:
            return error

    found = read_in_place(decode, files, pool)
    good = [one for one in found if not isinstance(one, BadImageError)]
    pixels = np.stack(good) if good else np.empty((0, source.size, source.size, 3), np.uint8)
    return pixels, [one for one in found if isinstance(one, BadImageError)]
