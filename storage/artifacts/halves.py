"""The half that each image of a store belongs to (:mod:`rosetta.mining.halves`)."""

import numpy as np
import zarr

from rosetta.errors import UserError
from rosetta.mining.halves import Mask, run_halves
from storage.artifacts import layout

HALF = "half"
"""Array (image,) int8, 1 or 2; stores of earlier versions have none."""
HALF_OF_RUN = "half_of_run"
"""The same of all images of a run, where the store has only some of them."""
HALVES = "halves"
"""Key of the seed of drawn halves in the fingerprint of images."""
LONG_NAME = "half of the images"
DESCRIPTION = "1 or 2: drawn by seed, stratified by class"


def create_halves(group: zarr.Group, first: Mask, name: str = HALF, dimension: str = "image") -> None:
    """Write the halves of some images; replaces what is there."""
    if name in group:
        del group[name]
    layout.create_labels(group, name, numbers_of(first), dimension, LONG_NAME, description=DESCRIPTION)


def numbers_of(first: Mask) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """(image,) 1 or 2."""
    return np.where(first, 1, 2).astype(np.int8)


def first_half(group: zarr.Group, images: int, name: str = HALF) -> Mask:
    """(image,) whether each image belongs to the first half: as the store says, else as runs of neighbours.

    Raises
    ------
    UserError
        The store has other values than 1 and 2, or not one for each image.
    """
    if name not in group:
        return run_halves(images)
    array = group[name]
    assert isinstance(array, zarr.Array)
    values = np.asarray(array[...])
    if values.shape != (images,) or not np.isin(values, (1, 2)).all():
        raise UserError(f"{name} of {group.store_path} is no half, 1 or 2, of each of {images} images; rebuild it")
    return values == 1
