"""Where a search begins: many cheap starts, told apart early, and the best of them carried on.

Starts are told apart by successive halving (Jamieson, Talwalkar, "Non-stochastic best arm identification and
hyperparameter optimization", AISTATS 2016): all go a few steps, the better half by the objective goes a few more, until
as many are left as are searched to the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rosetta.guidance.latent import Space
from rosetta.guidance.objective import Objective
from rosetta.guidance.optimise import Descent, Report, optimise
from rosetta.zoo.model import Model

Kind = Literal["random", "mean", "nearest", "mixed"]
"""Standard normal latents; the middle of the space; latents of mined images; or the middle, then half mined images,
then random ones."""


@dataclass(frozen=True)
class Starts:
    """Where a search begins, the same for an image whatever batch it is in."""

    images: range
    """Indices of the images among all that are inverted."""
    seed: int = 0
    restarts: int = 1
    """Searches of an image that go all the way."""
    kind: Kind = "random"
    count: int | None = None
    """Starts of an image that are told apart; left out, as many as go all the way."""
    steps: int = 10
    """How far they go before the worse half is left."""
    mined: Tensor | None = None
    """(start, image, z) latents of mined images, the nearest first; at least :func:`mined_count` of them."""

    def latents(self, model: Model) -> Tensor:
        """(restart · image, z) random latents."""
        return self._random(model, self.restarts).flatten(0, 1)

    def chosen(self, space: Space, objective: Objective, learning_rate: float, report: Report) -> Tensor:
        """(restart · image, …) the points that are searched from, in the space.

        Parameters
        ----------
        objective
            Of the search; it tells the starts apart.
        learning_rate
            Of the search, at its highest.
        """
        starts = self.candidates(space)
        descent = Descent(self.steps, learning_rate, frames=2)
        for left in rounds(len(starts), self.restarts):
            ends = [optimise(objective, start, descent, report) for start in starts]
            # One that left the numbers is the worst.
            total = torch.stack([end.objective for end in ends]).nan_to_num(nan=torch.inf)
            latents = torch.stack([end.latents for end in ends])
            order = total.argsort(stable=True, dim=0)[:left]
            starts = latents[order, torch.arange(latents.shape[1], device=order.device)]
        return starts.flatten(0, 1)

    def candidates(self, space: Space) -> Tensor:
        """(start, image, …) all starts, in the space."""
        count, images = self.count or self.restarts, len(self.images)
        mined = mined_count(self.kind, count)
        middle = self.kind in ("mean", "mixed")
        parts = [self._random(space.model, count - mined - middle)]
        if mined:
            assert self.mined is not None
            parts.insert(0, self.mined[:mined])
        z = torch.cat([part for part in parts if len(part)] or [torch.zeros(1, images, space.model.latent or 0)])
        points = space.start(z.flatten(0, 1)).unflatten(0, (-1, images))
        if not middle:
            return points
        centre = space.centre.expand_as(points[:1])
        return centre if self.kind == "mean" else torch.cat([centre, points])

    def _random(self, model: Model, count: int) -> Tensor:
        """(start, image, z)."""
        assert model.prior is not None
        rows = [
            # The last number sets them apart from the latents of a run's images: a seed's trailing zeros do not count.
            model.prior.row((self.seed, start, image, 1))
            for start in range(count)
            for image in self.images
        ]
        shape = (count, len(self.images), model.prior.length)
        return torch.from_numpy(np.stack(rows).reshape(shape)) if rows else torch.empty(shape)


def mined_count(kind: Kind, count: int) -> int:
    """How many of an image's starts are latents of mined images."""
    return {"nearest": count, "mixed": count // 2}.get(kind, 0)


def rounds(count: int, left: int) -> Iterator[int]:
    """How many starts are left after each round of halving."""
    while count > left:
        count = max(left, (count + 1) // 2)
        yield count


def early_steps(count: int, left: int, steps: int) -> int:
    """Steps that telling the starts of an image apart takes, all of its starts together: `2 (count − left) steps` where
    both are powers of two.
    """
    return steps * sum([count, *rounds(count, left)][:-1]) if count > left else 0
