"""The images that a search is about: of the run, new ones of its generator, or files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from fsspec.core import url_to_fs

from rosetta.errors import UserError
from rosetta.zoo.model import Model
from storage.images import PATH as IMAGES
from storage.images import ImageStore
from storage.location import Root
from storage.zarrs import open_complete
from tasks.dump import to_pixels
from tasks.images import is_image, square

NEW = 1_000_003
"""Added to a run's seed: images of G that mining never saw."""
TUNING = 2_000_003
"""Added to a run's seed: images of G that coefficients are chosen on, and that nothing is reported on."""

_INDEX = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+):(\d+)")
_NEW = re.compile(r"new:(\d+)")


@dataclass(frozen=True)
class Subjects:
    """Images, each with a name; those of the generator with their latents."""

    sources: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    """(image, y, x, rgb) in the generator's size."""
    latents: npt.NDArray[np.float32]
    """(image, z); NaN for files."""

    def __len__(self) -> int:
        return len(self.sources)


def subjects(root: Root, generator: Model, seed: int, texts: Sequence[str]) -> Subjects:
    """Read all images that some texts name.

    Parameters
    ----------
    seed
        Of the run's images.
    texts
        An index of the run, `7`; a range, `0:32`; `new:32`; a path or an fsspec glob.

    Raises
    ------
    UserError
        An index beyond the run, or a file that is missing or no image.
    """
    found = [_subjects(root, generator, seed, text) for text in texts]
    return Subjects(
        tuple(name for part in found for name in part.sources),
        np.concatenate([part.pixels for part in found]),
        np.concatenate([part.latents for part in found]),
    )


def new_images(generator: Model, count: int, seed: int) -> Subjects:
    """Images of a generator from latents of their own."""
    latents = generator.draw_latents(count, seed)
    images, _ = generator.generate(torch.from_numpy(latents))
    return Subjects(tuple(f"new {number}" for number in range(count)), to_pixels(images), latents)


def _subjects(root: Root, generator: Model, seed: int, text: str) -> Subjects:
    if match := _NEW.fullmatch(text):
        if not 0 < int(match[1]) <= 100_000:
            raise UserError(f"images {text!r}: give how many new images to make, from 1 to 100000, like new:32")
        return new_images(generator, int(match[1]), seed + NEW)
    if match := _RANGE.fullmatch(text):
        return _of_run(root, range(int(match[1]), int(match[2])), text)
    if _INDEX.fullmatch(text):
        return _of_run(root, range(int(text), int(text) + 1), text)
    return _from_files(generator, text)


def _of_run(root: Root, indices: range, text: str) -> Subjects:
    store = ImageStore(open_complete(root, IMAGES))
    if not indices or indices.stop > store.count:
        raise UserError(f"image {text!r} is not in the run, whose images are 0 to {store.count - 1}; give one of them")
    span = slice(indices.start, indices.stop)
    return Subjects(tuple(f"image {index}" for index in indices), store.pixels(span), store.latents(span))


def _from_files(generator: Model, text: str) -> Subjects:
    try:
        filesystem, path = url_to_fs(text)
        files = sorted(str(filesystem.unstrip_protocol(file)) for file in filesystem.glob(path))
    except (ValueError, ImportError, OSError) as error:
        raise UserError(
            f"image {text!r} cannot be read: {error}; give a path or an installed fsspec protocol"
        ) from None
    if not files:
        raise UserError(f"image {text!r}: there is no such file; give an index of the run, new:N, a path or a glob")
    for file in files:
        if not is_image(file):
            raise UserError(f"image {file.removeprefix('file://')!r} is no image; give a JPEG, PNG or WebP file, say")
    assert generator.image_size is not None
    assert generator.latent is not None
    side = max(generator.image_size)
    pixels = np.stack([square(file, side) for file in files])
    names = tuple(file.rpartition("/")[2] for file in files)
    return Subjects(names, pixels, np.full((len(files), generator.latent), np.nan, np.float32))
