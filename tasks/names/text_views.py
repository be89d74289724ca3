"""What a model of images and texts makes of concepts: images where they are strong and silent, whole and masked."""

from collections.abc import Iterator
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.naming.masking import masked
from rosetta.naming.names import Views
from rosetta.naming.soft_wpmi import membership
from rosetta.zoo.image_arrays import Pixels
from rosetta.zoo.image_text import Float32, ImageText
from storage.run.data import RunData
from storage.run.layer_maps import read_maps
from tasks.stage.progress import track

TOP = 16
"""Images where a concept is strong, at most, and as many where it is silent."""
_SHARE = 4
"""One image in so many is strong, at most, and one is silent."""

Index = npt.NDArray[np.intp]


def images_of(run: RunData) -> int:
    """How many images stand for a concept.

    Raises
    ------
    UserError
        The run has too few.
    """
    count = min(TOP, run.pictures.count // _SHARE)
    if count < 2:
        raise UserError(
            f"{run.root.shown} has {run.pictures.count} images; names need {2 * _SHARE}, to tell strong from silent"
        )
    return count


def views_of(run: RunData, subjects: pd.DataFrame, model: ImageText, batch: int) -> Views:
    """Show the images of some concepts or units to a model.

    Parameters
    ----------
    subjects
        See :mod:`tasks.names.subjects`.
    batch
        Images at once.
    """
    count = images_of(run)
    chosen = np.empty((len(subjects), 2 * count), np.intp)
    member = np.empty((len(subjects), count), np.float32)
    for number, row in enumerate(subjects.itertuples()):
        peaks = run.stores[row.model].peaks(row.layer, slice(row.channel, row.channel + 1))[:, 0]
        seed = [run.recipe.images.seed, crc32(row.model.encode()), row.unit]
        chosen[number] = _strong_and_silent(peaks, count, np.random.default_rng(seed))
        member[number] = membership(peaks[chosen[number, :count]])
    which, place = np.unique(chosen, return_inverse=True)
    whole = _whole(run, which, model, batch)
    return Views(whole[place.reshape(chosen.shape)], _masked(run, subjects, chosen, model, batch), member)


def _strong_and_silent(peaks: Float32, count: int, random: np.random.Generator) -> Index:
    """(image,) where a unit peaks highest, highest first, then as many where it peaks lowest; ties by chance there."""
    strong = np.argsort(-peaks, kind="stable")[:count]
    rising = np.lexsort((random.permutation(len(peaks)), peaks))
    return np.concatenate([strong, rising[~np.isin(rising, strong)][:count]])


def _pixels(run: RunData, positions: Index) -> Pixels:
    return run.pixels(run.image_indices[positions])


def _whole(run: RunData, positions: Index, model: ImageText, batch: int) -> Float32:
    """(image, embedding) of whole images."""
    parts = []
    with track("see images", len(positions)) as advance:
        for first in range(0, len(positions), batch):
            part = positions[first : first + batch]
            parts.append(model.images(_pixels(run, part)))
            advance(len(part))
    return np.concatenate(parts)


def _masked(run: RunData, subjects: pd.DataFrame, chosen: Index, model: ImageText, batch: int) -> Float32:
    """(subject, image, embedding) of images masked but where each subject is."""
    found = []
    with track("see masked images", len(subjects)) as advance:
        for pixels in _masked_images(run, subjects, chosen):
            parts = [model.images(pixels[first : first + batch]) for first in range(0, len(pixels), batch)]
            found.append(np.concatenate(parts))
            advance(1)
    return np.stack(found)


def _masked_images(run: RunData, subjects: pd.DataFrame, chosen: Index) -> Iterator[Pixels]:
    """Subject by subject its masked images (image, y, x, rgb); a silent image has the mask of the strong one."""
    means = {model: store.mean() for model, store in run.stores.items()}
    for row, positions in zip(subjects.itertuples(), chosen, strict=True):
        strong = positions[: len(positions) // 2]
        maps = read_maps(run.stores[row.model], row.layer, strong, np.array([row.channel]))[:, 0]
        floor = float(means[row.model][row.unit])
        yield masked(_pixels(run, positions), np.concatenate([maps, maps]), floor)
