"""The images of a step, those of the first half before those of the second."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetta.mining.halves import Mask


@dataclass(frozen=True, eq=False)
class Split:
    """How the images of a step are put in order."""

    images: tuple[int, int]
    """Of either half."""
    order: Tensor | None = None
    """(image,) int64 which image stands where; None where all stay where they are."""

    @classmethod
    def of(cls, first: Mask) -> "Split":
        """Of images of which (image,) says whether they belong to the first half."""
        images = int(first.sum()), int((~first).sum())
        order = np.argsort(~first, kind="stable")
        return cls(images, None if (np.diff(order) == 1).all() else torch.from_numpy(order))

    @property
    def count(self) -> int:
        """Images in all."""
        return sum(self.images)
