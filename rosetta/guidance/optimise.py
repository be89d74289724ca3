"""Gradient descent on latents: the schedule, the loop, and what it leaves."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rosetta.guidance.fade import CONSTANT, Fade
from rosetta.guidance.objective import Objective

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises from 0."""
RAMP_DOWN = 0.25
"""Share of the steps at the end over which it falls to 0, along a cosine."""
Report = Callable[[Mapping[str, float]], None]
"""Takes each measured term's mean over the rows."""


@dataclass(frozen=True)
class Descent:
    """How far an optimisation goes."""

    steps: int = 300
    learning_rate: float = 0.05
    """Of Adam, at its highest."""
    frames: int = 8
    """Images kept on the way, evenly spread, the first and the last among them."""
    fade: Fade = CONSTANT
    """Of β, the weight of the term `act`. Once none is left, steps do without that term."""


@dataclass(frozen=True)
class Optimised:
    """What an optimisation leaves."""

    latents: Tensor
    """(row, …) where it ended."""
    start: Tensor
    """(row, …) where it began."""
    losses: Tensor
    """(row, steps + 1, term): each term's value before each step and at the end, without its weight; NaN in steps in
    which no weight was left of it, where it is measured at the end alone."""
    terms: tuple[str, ...]
    """Names of the terms."""
    objective: Tensor
    """(row,) the weighted sum at the end, with the weights that are left there."""
    frames: Tensor
    """(row, frame, rgb, y, x) in 0…1: the images on the way."""
    frame_steps: tuple[int, ...]
    """(frame,) after how many steps."""

    def best(self, images: int) -> "Optimised":
        """Of rows that are whole repeats of `images`, keep each image's best by the objective; ties to the first."""
        repeat = self.objective.nan_to_num(nan=torch.inf).view(-1, images).argmin(0)
        rows = repeat * images + torch.arange(images, device=repeat.device)
        by_row = ("latents", "start", "losses", "objective", "frames")
        return replace(self, **{name: getattr(self, name)[rows] for name in by_row})


def learning_rate(step: int, steps: int) -> float:
    """Share of the highest learning rate at a step: a linear rise, a plateau, half a cosine down.

    The schedule of StyleGAN2's projector (Karras et al., 2020, appendix D), which the paper's code takes over.
    """
    t = step / steps
    down = min(1.0, (1.0 - t) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, (step + 1) / (WARM_UP * steps))


def optimise(
    objective: Objective,
    start: Tensor,
    descent: Descent,
    report: Report = lambda losses: None,
) -> Optimised:
    """Follow the gradient from a start.

    Parameters
    ----------
    objective
        What is minimised. It must be a sum over rows for rows to be independent, as all of this package are: Adam
        works element by element, so a batch ends where its rows would by themselves, but for rounding.
    start
        (row, …) latents in the objective's space.
    report
        Called after each step.
    """
    latents = start.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([latents], lr=descent.learning_rate)
    kept = frame_steps(descent)
    traces: list[Tensor] = []
    frames: list[Tensor] = []
    for step in range(descent.steps + 1):
        last = step == descent.steps
        with torch.set_grad_enabled(not last):
            total, values, rendering = objective(latents, {"act": descent.fade(step / max(1, descent.steps))}, last)
        traces.append(torch.stack([value.detach() for value in values.values()], dim=1))
        if step in kept:
            frames.append(rendering.images.detach().clamp(0, 1))
        if last:
            break
        (latents.grad,) = torch.autograd.grad(total.sum(), latents)
        for group in adam.param_groups:
            group["lr"] = descent.learning_rate * learning_rate(step, descent.steps)
        adam.step()
        means = traces[-1].mean(0).tolist()
        report({name: mean for name, mean in zip(values, means, strict=True) if mean == mean})
    return Optimised(
        latents.detach(),
        start.detach(),
        torch.stack(traces, dim=1),
        tuple(values),
        total.detach(),
        torch.stack(frames, dim=1),
        kept,
    )


def frame_steps(descent: Descent) -> tuple[int, ...]:
    """(frame,) the steps whose images are kept."""
    count = max(2, min(descent.frames, descent.steps + 1))
    return tuple(sorted({round(descent.steps * frame / (count - 1)) for frame in range(count)}))
