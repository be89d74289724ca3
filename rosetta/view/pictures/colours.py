"""The heat colours, and how much of the image they let through."""

from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

MAP = "inferno"
"""A perceptual map: equal steps of strength look like equal steps."""

START = 0.2
"""Where on the map strength 0 lies. Its darkest fifth would read as a shadow of the image, not as heat."""

Strength = npt.NDArray[np.floating]


@cache
def _table() -> npt.NDArray[np.float32]:
    """(256, 3) float32 in 0…1, the heat colours from weak to strong; shared and read-only."""
    table = np.asarray(colormaps[MAP](np.linspace(START, 1.0, 256)), dtype=np.float32)[:, :3]
    table.flags.writeable = False
    return table


def heat(strength: Strength) -> npt.NDArray[np.float32]:
    """Heat colours of strengths.

    Parameters
    ----------
    strength
        (…) in 0…1, finite.

    Returns
    -------
    (…, 3) float32
        Red, green and blue in 0…1.
    """
    return _table()[np.rint(np.clip(strength, 0.0, 1.0) * 255.0).astype(np.intp)]


def opacity(strength: Strength) -> npt.NDArray[np.float32]:
    """How much a heat colour covers the image.

    Parameters
    ----------
    strength
        (…) in 0…1.

    Returns
    -------
    (…) float32
        0 at strength 0, 1 at strength 1. The power keeps middling strengths visible against a bright photograph.
    """
    return np.power(np.clip(strength, 0.0, 1.0), 0.8).astype(np.float32)


def stops(steps: int) -> list[list[int]]:
    """Red, green and blue in 0…255 of so many heat colours, from weak to strong."""
    return [[round(float(value) * 255) for value in colour] for colour in heat(np.linspace(0.0, 1.0, steps))]


def gradient(steps: int = 17) -> str:
    """The heat colours with their opacity as a CSS gradient from weak to strong: the legend of every picture."""
    strengths = np.linspace(0.0, 1.0, steps)
    parts = [
        f"rgb({red} {green} {blue} / {float(cover):.3f}) {100 * float(strength):.2f}%"
        for strength, (red, green, blue), cover in zip(strengths, stops(steps), opacity(strengths), strict=True)
    ]
    return f"linear-gradient(to right, {', '.join(parts)})"
