"""Two disjoint halves of the images, to see whether what holds in one holds in the other."""

import numpy as np
import numpy.typing as npt

LEAST_IMAGES = 16
"""With fewer there are too few ways to exchange them, and halves of a handful."""
_RUNS = 4
"""At least so many runs of neighbouring images, dealt out in turn."""


def run_length(images: int) -> int:
    """Neighbouring images that stay together: the largest power of two that makes at least four runs."""
    return 1 << max(0, (images // _RUNS).bit_length() - 1)


def first_half(images: int) -> npt.NDArray[np.bool_]:
    """(image,) which images belong to the first half.

    Runs of neighbouring images go to the halves in turn. Single images in turn would put two frames of a film, or two
    shots of one thing, on either side; the front against the back would split an ordered collection by its order.
    (Images drawn from a folder are in no order, see :mod:`rosetta.mining.draw`; runs of them are as good as any.) And a
    run is whole chunks of a store, so half of the images is half of the reading.
    """
    return np.arange(images) // run_length(images) % 2 == 0
