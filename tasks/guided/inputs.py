"""The images that a search is about: of the run, new ones of its generator, or files; and, of a conditional generator,
their classes.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rosetta.errors import UserError
from rosetta.recipe import Images
from rosetta.zoo.image_arrays import to_pixels
from rosetta.zoo.model import Model
from storage.run.data import RunData
from tasks.source.files import find_images
from tasks.source.pixels import content_of, square

Classes = npt.NDArray[np.int64]
"""(image,)"""
NEW = 1_000_003
"""Added to a run's seed: images of G that mining never saw."""
TUNING = 2_000_003
"""Added to a run's seed: images of G that coefficients are chosen on, and that nothing is reported on."""

_INDEX = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+):(\d+)")
_NEW = re.compile(r"new:(\d+)")


@dataclass(frozen=True)
class Inputs:
    """Images, each with a name; those of the generator with their latents."""

    sources: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    """(image, y, x, rgb) in the generator's size."""
    latents: npt.NDArray[np.float32]
    """(image, z); NaN for files."""
    classes: Classes | None
    """(image,) of a conditional generator, else None."""

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def files(self) -> npt.NDArray[np.bool_]:
        """(image,) which are files, and so have no latents."""
        return np.asarray(np.isnan(self.latents).any(axis=1))

    @property
    def sha256(self) -> str:
        """Of all that a search sees of them."""
        classes = b"" if self.classes is None else self.classes.tobytes()
        return hashlib.sha256(self.pixels.tobytes() + classes).hexdigest()


def read_inputs(run: RunData, generator: Model, texts: Sequence[str], file_class: int | None = None) -> Inputs:
    """Read all images that some texts name.

    Parameters
    ----------
    texts
        An index of the run, `7`; a range, `0:32`, of which those that were kept are taken; `new:32`; a path or an
        fsspec glob.
    file_class
        The class of all files, of a conditional generator; left out: see :func:`class_of`.

    Raises
    ------
    UserError
        An index beyond the run, a file that is missing or no image, or one whose class is not known.
    """
    parts = [_read(run, generator, text, file_class) for text in texts]
    classes = [part.classes for part in parts if part.classes is not None]
    return Inputs(
        tuple(name for part in parts for name in part.sources),
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.latents for part in parts]),
        np.concatenate(classes) if classes else None,
    )


def new_images(generator: Model, count: int, seed: int) -> Inputs:
    """Images of a generator from latents of their own, of the classes that a run with that seed would have."""
    latents, classes = generator.draw_latents(range(count), seed), generator.draw_classes(range(count), seed)
    images, _ = generator.generate(torch.from_numpy(latents), class_tensor(classes))
    return Inputs(tuple(f"new {number}" for number in range(count)), to_pixels(images), latents, classes)


def require_files(images: Sequence[Inputs], given: int | None) -> None:
    """
    Raises
    ------
    UserError
        A class is given for files, but there are none: images of G have their own.
    """
    if given is not None and not any(part.files.any() for part in images):
        raise UserError(f"--class {given} is for files, and no file is named; leave it out")


def class_tensor(classes: Classes | None) -> torch.Tensor | None:
    """(image,) classes as a generator takes them."""
    return None if classes is None else torch.from_numpy(classes)


def class_of(generator: Model, what: str, given: int | None) -> int | None:
    """The class of what does not say it itself; None where the generator has no classes.

    Parameters
    ----------
    what
        What an error calls it.
    given
        By the user; left out, it is the only class that the recipe names.

    Raises
    ------
    UserError
        The recipe names no class, or several.
    """
    if generator.classes is None or given is not None:
        return given
    named = set(generator.spec.condition.classes or ())
    if len(named) != 1:
        raise UserError(
            f"{what}: the generator {generator.spec.name!r} makes images of {generator.classes} classes; "
            "say which with --class"
        )
    return named.pop()


def require_class(generator: Model, given: int | None) -> None:
    """
    Raises
    ------
    UserError
        The generator has no such class.
    """
    if given is None:
        return
    name = generator.spec.name
    if generator.classes is None:
        raise UserError(f"--class {given}: the generator {name!r} knows no classes; leave it out")
    if given >= generator.classes:
        raise UserError(f"--class {given}: the classes of the generator {name!r} are 0 to {generator.classes - 1}")


def _read(run: RunData, generator: Model, text: str, file_class: int | None) -> Inputs:
    if match := _NEW.fullmatch(text):
        if not 0 < int(match[1]) <= 100_000:
            raise UserError(f"images {text!r}: give how many new images to make, from 1 to 100000, like new:32")
        return new_images(generator, int(match[1]), run.recipe.images.seed + NEW)
    if match := _RANGE.fullmatch(text):
        return _of_run(run, slice(int(match[1]), int(match[2])), text)
    if _INDEX.fullmatch(text):
        return _of_run(run, int(text), text)
    return _from_files(generator, text, file_class)


def _of_run(run: RunData, asked: int | slice, text: str) -> Inputs:
    """Images by their index among all of the run; of a range those that were kept."""
    first, stop = (asked.start, asked.stop) if isinstance(asked, slice) else (asked, asked + 1)
    if first >= stop or stop > run.seen:
        raise UserError(f"image {text!r} is not in the run, whose images are 0 to {run.seen - 1}; give one of them")
    chosen, store = run.chosen(asked), run.pictures
    if not len(chosen):
        run.chosen(first)  # none of the range was kept, and the error names those nearest to its start
    span = slice(int(chosen[0]), int(chosen[-1]) + 1)
    names = tuple(f"image {index}" for index in run.image_indices[span])
    return Inputs(names, store.pixels(span), store.latents(span), store.classes(span))


def _from_files(generator: Model, text: str, file_class: int | None) -> Inputs:
    files = find_images(text, "image", "an index of the run, new:N, a path or a glob").files
    index = class_of(generator, f"image {text!r}", file_class)
    assert generator.image_size is not None
    assert generator.latent is not None
    decoded = Images().model_copy(update={"size": max(generator.image_size)})
    pixels = np.stack([square(file, content_of(file), decoded).pixels for file in files])
    names = tuple(file.source for file in files)
    classes = None if index is None else np.full(len(files), index, np.int64)
    return Inputs(names, pixels, np.full((len(files), generator.latent), np.nan, np.float32), classes)
