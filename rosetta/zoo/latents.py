"""Random latents, drawn so that an image's latent never depends on how many others are drawn with it.

Row i comes from a generator of its own, seeded with (seed, i): a larger count begins with the rows of a smaller one,
and any range of rows can be drawn alone.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri


def standard_normal(count: int, length: int, seed: int) -> npt.NDArray[np.float32]:
    """(count, length) float32, independent standard normal."""
    latents = np.empty((count, length), np.float32)
    for image, row in enumerate(latents):
        np.random.default_rng((seed, image)).standard_normal(out=row, dtype=np.float32)
    return latents


def truncated_normal(count: int, length: int, seed: int, bound: float) -> npt.NDArray[np.float32]:
    """Standard normal given that it lies within ±bound, as if what lies outside were drawn again.

    It is drawn by the inverse of its distribution function, which takes one uniform number per value where drawing
    again would take an unknown number of them.

    Parameters
    ----------
    count, length
        Of the result, (count, length) float32.
    seed
        Of all rows.
    bound
        Greatest magnitude, in standard deviations.

    Raises
    ------
    ValueError
        The bound is not above 0.
    """
    if not bound > 0:
        raise ValueError(f"bound is {bound}; a normal can only be truncated at a number above 0")
    below = ndtr(-bound)
    greatest = np.nextafter(np.float32(bound), np.float32(0))  # rounding to float32 must not step over the bound
    latents = np.empty((count, length), np.float32)
    for image, row in enumerate(latents):
        uniform = np.random.default_rng((seed, image)).random(length)
        # Only the lower half is evaluated: near 1 the distribution function has no digits left to tell values apart.
        lower = ndtri(below + np.minimum(uniform, 1 - uniform) * (1 - 2 * below))
        row[:] = np.where(uniform < 0.5, lower, -lower).clip(-greatest, greatest)
    return latents
