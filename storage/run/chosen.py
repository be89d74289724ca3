"""Which images or units of a run someone asks for: numbers, ranges and lists as positions in its stores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError

Chosen = int | slice | Sequence[int] | npt.NDArray[np.integer]
"""Some of what is numbered from 0: one, a range, or a list."""
Images = Chosen
"""Some images of a run, by their index among all of its images."""


def indices(chosen: Chosen, count: int, what: str, where: str) -> npt.NDArray[np.intp]:
    """(index,) the numbers of what is chosen of `count`, in the order asked for.

    Parameters
    ----------
    what, where
        What is numbered, "image", and what has them, for the message.

    Raises
    ------
    UserError
        One of them is not there.
    """
    if isinstance(chosen, slice):
        return np.arange(count)[chosen]
    numbers = np.atleast_1d(np.asarray(chosen))
    if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
        raise UserError(f"{what} {numbers.flat[0]!r} is not in {where}; its {what}s have whole numbers from 0")
    for number in numbers.tolist():
        if not 0 <= number < count:
            raise UserError(f"{what} {number} is not in {where}; its {what}s are 0 to {count - 1}")
    return numbers.astype(np.intp)


def positions(
    asked: npt.NDArray[np.intp], kept: npt.NDArray[np.intp], seen: int, where: str, *, skip: bool
) -> npt.NDArray[np.intp]:
    """(image,) where images lie in the stores of a run that kept only some.

    Parameters
    ----------
    asked
        (image,) indices among all that the run has seen.
    kept
        (stored image,) those of the images that are stored, rising.
    where
        The run, for the message.
    skip
        Leave out images that were not kept.

    Raises
    ------
    UserError
        One of them was not kept.
    """
    found = np.searchsorted(kept, asked).clip(max=len(kept) - 1)
    there = kept[found] == asked
    if not skip and not there.all():
        image = int(asked[~there][0])
        near = sorted(kept[np.argsort(np.abs(kept - image), kind="stable")[:2]].tolist())
        raise UserError(
            f"image {image} of {where} was not kept (images.keep = {len(kept)} of {seen:,}); the nearest that were are"
            f" {' and '.join(map(str, near))}"
        )
    return found[there]
