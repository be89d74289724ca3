"""The matches steer the generator: inversion, and editing.

>>> space = space_of(generator, "z")
>>> act = observed_target(matches.only(models=["lite0"]), {"lite0": lite0}, images)
>>> found = invert(space, Guide(pixel_error(images), act), Starts(range(len(images))))
>>> found.latents, found.frames[:, -1]  # (image, z), (image, rgb, y, x)
"""

from rosetta.guidance.fade import Fade
from rosetta.guidance.invert import Guide, invert, observed_target
from rosetta.guidance.latent import space_of
from rosetta.guidance.objective import pixel_error
from rosetta.guidance.optimise import Descent
from rosetta.guidance.starts import Starts

__all__ = ["Descent", "Fade", "Guide", "Starts", "invert", "observed_target", "pixel_error", "space_of"]
