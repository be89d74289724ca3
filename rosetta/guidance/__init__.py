"""The matches steer the generator: inversion, and editing.

>>> space = space_of(generator, "z")
>>> act = observed_target(matches.only(models=["lite0"]), {"lite0": lite0}, images)
>>> found = invert(space, Guide(pixel_error(images), act), Starts(range(len(images))))
>>> found.latents, found.frames[:, -1]  # (image, z), (image, rgb, y, x)
"""

from rosetta.guidance.activation import ActivationTarget, matched_target, wished_target
from rosetta.guidance.edit import EditGuide, edit
from rosetta.guidance.edited_maps import EditedMaps, edited_maps
from rosetta.guidance.invert import Guide, Starts, high_target, invert, observed_target
from rosetta.guidance.judge import Judgement, judge
from rosetta.guidance.latent import Space, space_of
from rosetta.guidance.matches import Matches, Statistics
from rosetta.guidance.objective import Objective, Term, pixel_error
from rosetta.guidance.optimise import Descent, Optimised, optimise

__all__ = [
    "ActivationTarget",
    "Descent",
    "EditGuide",
    "EditedMaps",
    "Guide",
    "Judgement",
    "Matches",
    "Objective",
    "Optimised",
    "Space",
    "Starts",
    "Statistics",
    "Term",
    "edit",
    "edited_maps",
    "high_target",
    "invert",
    "judge",
    "matched_target",
    "observed_target",
    "optimise",
    "pixel_error",
    "space_of",
    "wished_target",
]
