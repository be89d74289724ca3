"""Guided inversion: from images to the latents that make them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta.guidance.activation import ActivationTarget, matched_target, wished_target
from rosetta.guidance.edits import Box
from rosetta.guidance.latent import Space
from rosetta.guidance.matches import Index, Matches, Statistics
from rosetta.guidance.objective import Measure, Objective, agreement, prior
from rosetta.guidance.optimise import Descent, Optimised, Report, optimise
from rosetta.guidance.starts import Starts
from rosetta.zoo.model import Model


@dataclass(frozen=True)
class Guide:
    """What an inversion is asked for: `L_rec + α L_reg − β(t) L_act` (docs/guidance.md)."""

    rec: Measure | None = None
    """`L_rec`; None leaves the reconstruction out."""
    act: ActivationTarget | None = None
    """`L_act`; None leaves the matches out."""
    alpha: float = 0.001
    beta: float = 0.03

    def objective(self, space: Space) -> Objective:
        """The weighted sum, over a space."""
        reg, act = (self.alpha, prior(space)), (-self.beta, agreement(self.act))
        return Objective.of(space, rec=(1.0, self.rec), reg=reg, act=act)


def observed_target(matches: Matches, models: Mapping[str, Model], images: Tensor) -> ActivationTarget:
    """`L_act` for images: every model looks at them once, before the first step.

    Parameters
    ----------
    models
        The discriminative models of the matches, by name.
    images
        (image, rgb, y, x) in 0…1.
    """
    used = sorted(set(matches.model))
    maps = {name: models[name].observe(images) for name in used}
    return matched_target(matches, maps, images.device)


def high_target(generator: Statistics, units: Index, box: Box, device: torch.device | str = "cpu") -> ActivationTarget:
    """`L_act` with no image behind it: one image on which units are high inside a box and low outside."""
    layers = []
    for layer, _, mine in generator.by_layer(units):
        share = box.coverage(*layer.grid).float()
        low, high = (torch.from_numpy(level[mine]).float()[:, None, None] for level in (generator.low, generator.peak))
        layers.append(wished_target(generator, layer.name, mine, (low + (high - low) * share)[None], device=device))
    return ActivationTarget(tuple(layers), len(units))


def invert(
    space: Space,
    guide: Guide,
    starts: Starts,
    descent: Descent = Descent(learning_rate=0.1),
    report: Report = lambda losses: None,
) -> Optimised:
    """Find latents whose images and maps are as wished.

    Parameters
    ----------
    space
        The generator's space that is searched: `space_of(model, "z")`; of a conditional generator with the images'
        classes.
    guide
        What is wished for, for as many images as `starts` has.
    starts
        Where the search begins.

    Returns
    -------
    Optimised
        One row for each image: of its restarts the best by the objective.
    """
    objective = guide.objective(space)
    start = starts.chosen(space, objective, descent.learning_rate, report)
    return optimise(objective, start, descent, report).best(len(starts.images))
