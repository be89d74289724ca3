"""Random latents, drawn so that an image's latent never depends on which others are drawn with it.

That of image i comes from a generator of its own, seeded with (seed, i): any images can be drawn alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Latents = npt.NDArray[np.float32]
Indices = Sequence[int] | npt.NDArray[np.integer]
"""(image,) of images in their run: a range, say."""
_CLASSES = 2
"""Sets the numbers that classes come from apart from those of latents: a seed's trailing zeros do not count."""
_NOISE = 3
"""And those of noise."""


@dataclass(frozen=True)
class Prior:
    """What a generator's latents are drawn from.

    Raises
    ------
    ValueError
        The bound is not above 0.
    """

    length: int
    """Of a latent."""
    bound: float | None = None
    """Greatest magnitude of the normal, in standard deviations, as if what lies outside were drawn again; None: all."""
    scale: float = 1.0
    """What is drawn is multiplied with it."""

    def __post_init__(self) -> None:
        if self.bound is not None and not self.bound > 0:
            raise ValueError(f"bound is {self.bound}; a normal can only be truncated at a number above 0")

    def draw(self, images: Indices, seed: int) -> Latents:
        """(image, length) float32; a row depends on the seed and the image's index alone."""
        latents = np.empty((len(images), self.length), np.float32)
        for image, row in zip(images, latents, strict=True):
            row[:] = self.row((seed, int(image)))
        return latents

    def row(self, seed: tuple[int, ...]) -> Latents:
        """(length,) float32 of a seed."""
        random = np.random.default_rng(seed)
        if self.bound is None:
            drawn = random.standard_normal(self.length, dtype=np.float32)
        else:
            drawn = _truncated(random, self.length, self.bound)
        return drawn if self.scale == 1 else drawn * np.float32(self.scale)


def draw_classes(images: Indices, classes: int, seed: int) -> npt.NDArray[np.int64]:
    """(image,) int64 below `classes`, all as likely; an image's depends on the seed and its own index alone."""
    drawn = [np.random.default_rng((seed, int(image), _CLASSES)).integers(classes) for image in images]
    return np.array(drawn, np.int64)


def draw_noise(index: int, length: int) -> Latents:
    """(length,) float32 standard normal, which depends on an image's index alone."""
    return np.random.default_rng((index, 0, _NOISE)).standard_normal(length, dtype=np.float32)


def _truncated(random: np.random.Generator, length: int, bound: float) -> Latents:
    """A truncated normal by the inverse of its distribution function.

    That takes one uniform number per value, where drawing again would take an unknown number of them.
    """
    from scipy.special import ndtr, ndtri  # slow to import

    below = ndtr(-bound)
    greatest = np.nextafter(np.float32(bound), np.float32(0))  # rounding to float32 must not step over the bound
    uniform = random.random(length)
    # Only the lower half is evaluated: near 1 the distribution function has no digits left to tell values apart.
    lower = ndtri(below + np.minimum(uniform, 1 - uniform) * (1 - 2 * below))
    drawn: Latents = np.where(uniform < 0.5, lower, -lower).astype(np.float32).clip(-greatest, greatest)
    return drawn
