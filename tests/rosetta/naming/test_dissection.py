"""Thresholds and intersection over union, against slow readings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.naming.dissection import UNLABELLED, Overlaps, Thresholds, units_per_label


@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(0.001, 0.9), st.integers(1, 9))
def test_thresholds_are_exact(seed, count, quantile, step):
    random = np.random.default_rng(seed)
    values = random.integers(-3, 4, (3, count)).astype(np.float32) if seed % 2 else random.normal(size=(3, count))
    values = values.astype(np.float32)
    found = Thresholds(3, count, quantile)
    for first in range(0, count, step):
        found.add(values[:, first : first + step])
    for row, threshold in zip(values, found.thresholds(), strict=True):
        most = int(np.floor(quantile * count))
        assert threshold in row
        assert (row > threshold).sum() <= most
        assert (row >= threshold).sum() > most  # the next lower value would leave too many above


def at(values: np.ndarray, y: float, x: float) -> float:
    """A map between its positions, bilinearly; `y` and `x` in positions, from the centre of the first."""
    y, x = (min(max(place, 0.0), size - 1.0) for place, size in zip((y, x), values.shape, strict=True))
    top, left = min(int(y), values.shape[0] - 1), min(int(x), values.shape[1] - 1)
    below, right = min(top + 1, values.shape[0] - 1), min(left + 1, values.shape[1] - 1)
    upper = values[top, left] * (1 - (x - left)) + values[top, right] * (x - left)
    lower = values[below, left] * (1 - (x - left)) + values[below, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def slow(maps: np.ndarray, masks: np.ndarray, thresholds: np.ndarray, labels: int) -> np.ndarray:
    """(unit, label) position by position."""
    found = np.zeros((maps.shape[1], labels))
    high, wide = masks.shape[1:]
    for unit in range(maps.shape[1]):
        for label in range(labels):
            both = either = 0
            for image, mask in enumerate(masks):
                values = maps[image, unit].astype(np.float64)
                for y in range(high):
                    for x in range(wide):
                        place = (y + 0.5) * values.shape[0] / high - 0.5, (x + 0.5) * values.shape[1] / wide - 0.5
                        above, is_there = at(values, *place) > thresholds[unit], mask[y, x] == label
                        both += above and is_there
                        either += above or is_there
            found[unit, label] = both / either if either else 0
    return found


@pytest.mark.parametrize("grid", [(2, 3), (5, 4), (9, 12)])
def test_iou_is_exact(grid):
    random = np.random.default_rng(sum(grid))
    maps = random.normal(size=(4, 3, *grid)).astype(np.float32)
    masks = random.integers(UNLABELLED, 4, (4, 5, 6)).astype(np.int32)
    thresholds = np.array([0.5, 0.0, 9.0], np.float32)
    found = Overlaps(3, 5)
    found.add_masks(masks[:1])
    found.add_masks(masks[1:])
    for image, mask in enumerate(masks):
        found.add_maps(mask, np.arange(3), maps[image], thresholds)
    np.testing.assert_array_equal(found.iou(), slow(maps, masks, thresholds, 5))
    assert (found.iou()[:, 4] == 0).all()


def test_units_are_counted_by_label_and_layer():
    rows = [
        ("g", "late", "sky", True), ("g", "early", "tree", True), ("g", "early", "sky", True),
        ("g", "early", "sky", True), ("g", "early", "dog", False), ("d", "early", "dog", True),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["model", "layer", "label", "named"])
    counts = units_per_label(frame, [("g", "early"), ("g", "late"), ("d", "early")])
    assert list(counts.itertuples(index=False, name=None)) == [
        ("g", "early", "sky", 2), ("g", "early", "tree", 1), ("g", "late", "sky", 1), ("d", "early", "dog", 1),
    ]  # fmt: skip
