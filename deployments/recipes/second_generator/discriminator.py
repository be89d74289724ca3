"""The opponent of the generator in training: strided convolutions, and how much the images of a batch differ."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.modulation import Dense, activate

_TAPS = 4
_GROUP = 4
"""Images whose spread is measured together."""


class Discriminator(nn.Module):
    """Images to one number each, high for real ones.

    Every layer but the last halves the grid, down to 4 × 4. A last map holds the mean standard deviation over a group
    of images (Karras et al., 2018, arXiv 1710.10196, section 3), so that a generator that makes one image only is seen
    through. Weights are stored at unit scale, as those of the generator are.

    Parameters
    ----------
    widths
        Channels of the grids from half the side of the images down to 4.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.halvings = nn.ModuleList(_Halving(*pair) for pair in pairwise((3, *widths)))
        self.hidden = Dense((widths[-1] + 1) * 16, widths[-1], activation="lrelu")
        self.last = Dense(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(image, rgb, y, x) in −1..1 → (image,)."""
        maps = images
        for halving in self.halvings:
            maps = halving(maps)
        maps = torch.cat([maps, _spread(maps)], 1)
        scores: Tensor = self.last(self.hidden(maps.flatten(1)))
        return scores[:, 0]


class _Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, _TAPS, _TAPS))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.weight * self.weight[0].numel() ** -0.5
        return activate(F.conv2d(maps, weight, stride=2, padding=1), self.bias)


def _spread(maps: Tensor) -> Tensor:
    """(image, channel, y, x) → (image, 1, y, x), one number for all images of a group."""
    grouped = maps.unflatten(0, (-1, _GROUP))
    spread = (grouped.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat_interleave(_GROUP)[:, None, None, None].expand(-1, 1, *maps.shape[2:])
