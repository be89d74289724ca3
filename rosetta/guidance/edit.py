"""Editing: from an image's latents to those whose maps are as the edits ask."""

from dataclasses import dataclass

from torch import Tensor

from rosetta.guidance.activation import ActivationTarget
from rosetta.guidance.latent import Space
from rosetta.guidance.objective import Objective, agreement, nearness
from rosetta.guidance.optimise import Descent, Optimised, Report, optimise


@dataclass(frozen=True)
class EditGuide:
    """What an edit is asked for."""

    changed: ActivationTarget
    """The maps of the units that an edit means."""
    stays: ActivationTarget | None
    """The maps of all other units of the dictionary, as they were."""
    rest: float = 1.0
    """What staying counts against changing."""
    near: float = 0.01
    """What the squared distance from the start counts."""

    def objective(self, space: Space, start: Tensor) -> Objective:
        """`near |z − z₀|² − L_changed − rest · L_stays`."""
        rest, near = (-self.rest, agreement(self.stays)), (self.near, nearness(start))
        return Objective.of(space, edit=(-1.0, agreement(self.changed)), rest=rest, near=near)


def edit(
    space: Space,
    guide: EditGuide,
    start: Tensor,
    descent: Descent = Descent(),
    report: Report = lambda losses: None,
) -> Optimised:
    """Find latents near given ones whose maps are as the edits ask.

    Parameters
    ----------
    start
        (image, …) latents of the images before, in the space; of a conditional generator with their classes.
    """
    return optimise(guide.objective(space, start), start, descent, report)
