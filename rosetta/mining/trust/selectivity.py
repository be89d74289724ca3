"""How selective a unit is."""

import numpy as np
import numpy.typing as npt


def half_share(mass: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The smallest share of images that carries half of a unit's activation.

    Parameters
    ----------
    mass
        (unit, image) each image's activation, no less than 0.

    Returns
    -------
    (unit,) float64
        Above 0, at most about a half (all images alike); NaN for a unit that is never active.
    """
    falling = -np.sort(-mass.astype(np.float64), axis=1)
    total = falling.sum(axis=1)
    # A hair below the half: rounding must not ask for one image more.
    enough = np.cumsum(falling, axis=1) >= (0.5 * total * (1 - 1e-12))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (enough.argmax(axis=1) + 1) / mass.shape[1], np.nan)
