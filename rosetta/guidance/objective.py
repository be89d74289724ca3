"""What an optimisation minimises: a weighted sum of terms, each one number for each image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta.guidance.activation import ActivationTarget
from rosetta.guidance.latent import Rendering, Space

Measure = Callable[[Rendering], Tensor]
"""(row, …) rendered images and maps → (row,) one number for each."""


@dataclass(frozen=True)
class Term:
    """One part of an objective."""

    name: str
    weight: float
    """What it counts; below 0 where more is better."""
    measure: Measure


@dataclass(frozen=True)
class Objective:
    """`Σ weight · term`, differentiable to the latents.

    Guided inversion is `L_rec + α L_reg − β(t) L_act`, with `L_act = Σ w_m r_m / Σ w_m` over all matches `m`: `r_m` is
    how a unit of G agrees with its buddy (:mod:`rosetta.guidance.activation`), `w_m` what the match counts
    (:mod:`rosetta.guidance.weights`), `β(t)` constant or fading (:mod:`rosetta.guidance.fade`).
    """

    space: Space
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("an objective needs at least one term")

    @classmethod
    def of(cls, space: Space, **terms: tuple[float, Measure | None]) -> "Objective":
        """Weights and measures by name; what has no measure or no weight is left out."""
        return cls(
            space, tuple(Term(name, weight, measure) for name, (weight, measure) in terms.items() if weight and measure)
        )

    def __call__(
        self, latents: Tensor, left: Mapping[str, float] | None = None, every: bool = True
    ) -> tuple[Tensor, Mapping[str, Tensor], Rendering]:
        """Render latents and weigh what comes out.

        Parameters
        ----------
        left
            By term, the share of its weight that is left; of one that is not named, all of it.
        every
            Measure terms of which no weight is left, too.

        Returns
        -------
        tuple
            (row,) the objective; each term's own value (row,), without its weight, NaN where it was not measured; and
            the rendering.
        """
        rendering = self.space.render(latents)
        total = torch.zeros(len(latents), dtype=latents.dtype, device=latents.device)
        values = {}
        for term in self.terms:
            weight = term.weight * (left or {}).get(term.name, 1.0)
            values[term.name] = term.measure(rendering) if weight or every else torch.full_like(total, torch.nan)
            if weight:
                total = total + weight * values[term.name]
        return total, values, rendering


def pixel_error(target: Tensor) -> Measure:
    """`L_rec` in pixels: the mean squared difference.

    Parameters
    ----------
    target
        (image, rgb, y, x) in 0…1. Rows are whole repeats of the images.
    """

    def measure(rendering: Rendering) -> Tensor:
        images = rendering.images.unflatten(0, (-1, len(target)))
        return (images - target).square().mean((-3, -2, -1)).flatten()

    return measure


def agreement(target: ActivationTarget | None) -> Measure | None:
    """`L_act` of a rendering; None without a target."""
    return None if target is None else lambda rendering: target(rendering.maps)


def prior(space: Space) -> Measure:
    """`L_reg`: mean squared distance of a latent from the middle of its space, which is 0 for z and the mean w else."""
    return lambda rendering: space.offsets(rendering.latents).square().flatten(1).mean(1)


def nearness(start: Tensor) -> Measure:
    """Mean squared distance of a latent from where it started: what keeps an edit small.

    Parameters
    ----------
    start
        (row, …).
    """
    return lambda rendering: (rendering.latents - start).square().flatten(1).mean(1)


def edit_objective(
    space: Space,
    start: Tensor,
    changed: ActivationTarget,
    stays: ActivationTarget | None,
    rest: float = 1.0,
    near: float = 0.01,
) -> Objective:
    """What an edit minimises: `near |z − z₀|² − L_changed − rest · L_stays`.

    Parameters
    ----------
    start
        (image, …) latents of the images before, in the space; of a conditional generator with their classes.
    changed
        The maps of the units that an edit means.
    stays
        The maps of all other units of the dictionary, as they were.
    rest
        What staying counts against changing.
    near
        What the squared distance from the start counts.
    """
    terms = {"edit": (-1.0, agreement(changed)), "rest": (-rest, agreement(stays)), "near": (near, nearness(start))}
    return Objective.of(space, **terms)
