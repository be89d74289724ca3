"""Whether an edit worked, judged by models that had no part in it.

The discriminative models look at the image before and after. Their units that match the edited units of G should see
what was asked for: their maps of the image after the edit should resemble their own edited maps of the image before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.guidance.activation import Maps
from rosetta.guidance.edited_maps import EditedMaps
from rosetta.guidance.edits import Add, Edit, Remove

Float = npt.NDArray[np.float64]

_ROUNDING = 1e-13
"""A map whose spread is below this share of its size is constant, as its values are single precision at best."""


@dataclass(frozen=True)
class Judgement:
    """What one model sees, for each image; NaN where a question does not arise."""

    asked_before: Float
    """(image,) mean correlation of the touched units' maps of the image before with the maps that are asked for."""
    asked_after: Float
    """(image,) the same after the edit."""
    level_before: Float
    """(image,) mean activation in the boxes of concepts that are added or removed, in standard deviations; what is
    removed counts negative, so that more is better for both."""
    level_after: Float
    """(image,) the same after the edit."""
    outside: Float
    """(image,) mean correlation of the maps before and after, where no edit touches them."""
    unrelated: Float
    """(image,) the same between the image before and another image."""

    @property
    def worked(self) -> npt.NDArray[np.bool_]:
        """(image,) whether the model sees what was asked: levels where concepts come or go, else correlations."""
        levels = ~np.isnan(self.level_before)
        return np.where(levels, self.level_after > self.level_before, self.asked_after > self.asked_before)


def judge(edited: EditedMaps, edits: Sequence[Edit], before: Maps, after: Maps, unrelated: Maps) -> Judgement:
    """Compare a model's maps before and after.

    Parameters
    ----------
    edited
        The same edits on the model's own maps of the images before.
    before, after, unrelated
        (image, channel, y, x) by layer name: of the images before and after, and for each of another image.
    """
    images = len(next(iter(before.values())))
    asked: list[Tensor] = []
    outside: list[Tensor] = []
    levels: list[Tensor] = []
    concepts = [edit for edit in edits if isinstance(edit, Remove | Add)]
    # A box says where a concept is in the end only if nothing moves the scene afterwards.
    placed = bool(concepts) and len(concepts) == len(edits)
    for name, (units, wished) in edited.layers.items():
        start = edited.statistics.units.span(name).start
        channels = torch.from_numpy(units - start)
        was, now, other = (maps[name][:, channels].double() for maps in (before, after, unrelated))
        touched = wished.touched
        known = wished.known.double().expand_as(wished.changed)
        target = wished.maps.double()
        asked.append(torch.stack([_correlation(seen, target, known)[:, touched] for seen in (was, now)]))
        stays = (1 - wished.changed.double()) * known
        open_ = stays.flatten(1).sum(1) > 1
        outside.append(torch.stack([_correlation(seen, was, stays)[:, open_] for seen in (now, other)]))
        if placed:
            mean, scale = (torch.from_numpy(of[units]) for of in (edited.statistics.mean, edited.statistics.scale))
            for edit in concepts:
                if edit.cluster in wished.clusters:
                    rows = wished.clusters[edit.cluster]
                    share = edit.box.coverage(*wished.known.shape[-2:])
                    sign = -1.0 if isinstance(edit, Remove) else 1.0
                    inside = [(maps[:, rows] * share).sum((-2, -1)) / share.sum() for maps in (was, now)]
                    levels.append(sign * (torch.stack(inside) - mean[rows]) / scale[rows])
    asked_before, asked_after = _means(asked, images)
    kept, between = _means(outside, images)
    level_before, level_after = _means(levels, images)
    return Judgement(asked_before, asked_after, level_before, level_after, kept, between)


def _correlation(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """(image, unit) weighted Pearson correlation over positions; NaN where a map is constant."""
    total = weight.sum((-2, -1), keepdim=True)
    size_a, size_b = ((weight * maps.square()).sum((-2, -1)) for maps in (a, b))
    a, b = (maps - (weight * maps).sum((-2, -1), keepdim=True) / total for maps in (a, b))
    product, of_a, of_b = ((weight * both).sum((-2, -1)) for both in (a * b, a * a, b * b))
    # What is left of a constant map after its mean is taken away is rounding.
    varies = (of_a > _ROUNDING * size_a) & (of_b > _ROUNDING * size_b)
    return torch.where(varies, product / (of_a * of_b).sqrt(), torch.nan)


def _means(parts: Sequence[Tensor], images: int) -> tuple[Float, Float]:
    """Mean over all units of two (image, unit) values that come layer by layer; NaN where there is none."""
    if not parts:
        nothing = np.full(images, np.nan)
        return nothing, nothing
    both = torch.cat(list(parts), dim=2)
    # A unit that is constant on one of the two images says nothing of either.
    both = torch.where(both.isfinite().all(0), both, torch.nan)
    first, second = both.nanmean(2).cpu().numpy()
    return first, second
