"""What units detect, by masks of labels: Network Dissection.

Bau, Zhou, Khosla, Oliva and Torralba, "Network Dissection", CVPR 2017, and Bau et al., "GAN Dissection", ICLR 2019
(arXiv 1811.10597). `T` is the threshold of a unit with `P(a > T) = 0.005` over all images and positions of its maps.
With `M` where a map, enlarged bilinearly to the size of the masks, is above `T`, and `L` where a label is, both over
all images,

    IoU = |M ∩ L| / |M ∪ L|

The label with the highest IoU names a unit where that is above 0.04.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

UNLABELLED = -1
"""In place of a label, where a mask has none."""
_BYTES = 2**25
"""Of enlarged maps that are in memory at once, about."""


class Thresholds:
    """Exact top quantiles of units, from values that come in parts.

    The threshold is the highest stored value that at most the share `quantile` of a unit's values exceed. No more than
    these values are kept of a unit.
    """

    def __init__(self, units: int, values: int, quantile: float) -> None:
        """
        Parameters
        ----------
        values
            How many values of each unit there will be.
        """
        self.kept = min(values, math.floor(quantile * values) + 1)
        """How many values of a unit are kept: those above the threshold, and the threshold."""
        self._top = np.empty((units, 0), np.float32)

    def add(self, values: Float32) -> None:
        """Take some values (unit, value) of all units."""
        joined = np.concatenate([self._top, values], axis=1)
        spare = joined.shape[1] - self.kept
        self._top = np.partition(joined, spare, axis=1)[:, spare:] if spare > 0 else joined

    def thresholds(self) -> Float32:
        """(unit,) once all values have been added."""
        return np.asarray(self._top.min(axis=1))


class Overlaps:
    """Counts of positions where units are above their thresholds, where labels are, and where both are."""

    def __init__(self, units: int, labels: int) -> None:
        self.both: Int64 = np.zeros((units, labels), np.int64)
        """(unit, label)"""
        self.above: Int64 = np.zeros(units, np.int64)
        """(unit,)"""
        self.labelled: Int64 = np.zeros(labels, np.int64)
        """(label,)"""

    def add_masks(self, masks: Int32) -> None:
        """Take the labels (image, y, x) of some images, :data:`UNLABELLED` where there is none."""
        self.labelled += self._counts(masks.ravel())

    def add_maps(self, mask: Int32, units: npt.NDArray[np.intp], maps: Float32, thresholds: Float32) -> None:
        """Take the maps of some units on one image.

        Parameters
        ----------
        mask
            (y, x) labels of the image.
        units
            (map,) which unit each is of.
        maps
            (map, grid_y, grid_x)
        thresholds
            (map,) of its unit.
        """
        step = max(1, _BYTES // (8 * mask.size))
        flat = mask.ravel()
        for first in range(0, len(units), step):
            part = slice(first, first + step)
            # Interpolated values are compared with a threshold that is one of the values: float32 would round some up.
            coarse = torch.from_numpy(maps[part].astype(np.float64))[:, None]
            fine = F.interpolate(coarse, mask.shape, mode="bilinear", align_corners=False)[:, 0].numpy()
            above = fine.reshape(len(fine), -1) > thresholds[part, None]
            for unit, where in zip(units[part], above, strict=True):
                self.above[unit] += np.count_nonzero(where)
                self.both[unit] += self._counts(flat[where])

    def iou(self) -> Float64:
        """(unit, label) 0 where neither is anywhere."""
        union = self.above[:, None] + self.labelled - self.both
        return np.asarray(self.both / np.maximum(union, 1))

    def _counts(self, labels: Int32) -> Int64:
        return np.bincount(labels + 1, minlength=len(self.labelled) + 1)[1:]


def units_per_label(masks: pd.DataFrame, layers: Sequence[tuple[str, str]] | None = None) -> pd.DataFrame:
    """How many units each label names in each layer, as the figures of both papers show them.

    Parameters
    ----------
    masks
        Rows of `tables/masks.parquet`.
    layers
        Model and layer in the order of the run; left out, as they appear.

    Returns
    -------
    DataFrame
        model, layer, label, units; within a layer the labels with most units first.
    """
    named = masks[masks["named"]]
    counts = named.groupby(["model", "layer", "label"], sort=False).size().rename("units").reset_index()
    order = {pair: number for number, pair in enumerate(layers or zip(masks["model"], masks["layer"], strict=True))}
    counts["order"] = [order[pair] for pair in zip(counts["model"], counts["layer"], strict=True)]
    ordered = counts.sort_values(["order", "units", "label"], ascending=[True, False, True], kind="stable")
    return ordered.drop(columns="order").reset_index(drop=True)
