"""Histograms of units against a plain count in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.view.atlas.histogram import BARS, BELOW, LEVELS, bars, level_counts, span


def plain(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(LEVELS,) counts, value by value."""
    counts = np.zeros(LEVELS, dtype=np.int64)
    for value in values.astype(np.float64).ravel():
        place = int(np.floor((value - low) / ((high - low) / LEVELS)))
        counts[min(max(place, 0), LEVELS - 1)] += 1
    return counts


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (3, 5), (16, 16)]), st.floats(-50, 50), st.floats(0.01, 100))
def test_every_value_is_in_its_level(seed, grid, low, width):
    """Values in the middle of a level, so that rounding cannot move them, and some beyond both ends."""
    random = np.random.default_rng(seed)
    images, channels = int(random.integers(1, 6)), int(random.integers(1, 9))
    lows, highs = low + np.arange(channels), low + np.arange(channels) + width
    level = random.integers(-20, LEVELS + 20, (images, channels, *grid))
    maps = (lows[:, None, None] + (level + 0.5) * width / LEVELS).astype(np.float32)
    found = level_counts(maps, lows, highs)
    for channel in range(channels):
        np.testing.assert_array_equal(found[channel], plain(maps[:, channel], lows[channel], highs[channel]))
    assert found.sum() == maps.size


def test_at_the_edges_it_is_one_level_or_the_next():
    values = np.random.default_rng(0).normal(size=(64, 3, 9, 9)).astype(np.float32)
    low, high = span(values.mean((0, 2, 3)), values.std((0, 2, 3)), values.max((0, 2, 3)))
    found = level_counts(values, low, high)
    for channel in range(3):
        sums = found[channel].cumsum(), plain(values[:, channel], low[channel], high[channel]).cumsum()
        near = (values[:, channel].astype(np.float64) - low[channel]) / ((high - low)[channel] / LEVELS)
        assert abs(sums[0] - sums[1]).max() <= (abs(near - np.rint(near)) < 1e-4).sum()
        assert found[channel, -1] >= 1, "the highest value is in the last level"


def test_parts_add_up():
    values = np.random.default_rng(1).gamma(0.3, size=(40, 30, 33, 17)).astype(np.float32)
    low, high = np.zeros(30), values.max((0, 2, 3)).astype(np.float64)
    whole = level_counts(values, low, high)
    parts = sum(level_counts(values[start : start + 7], low, high) for start in range(0, 40, 7))
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(level_counts(values[:, 3:9], low[3:9], high[3:9]), whole[3:9])


@given(st.lists(st.integers(0, 10**9), min_size=LEVELS, max_size=LEVELS), st.integers(0, LEVELS - 1))
def test_bars_lose_nothing(counts, empty):
    counts = np.array(counts, dtype=np.int64)
    counts[:empty] = 0
    counts[-1] += 1
    found = bars(counts, -3.0, 5.0)
    assert found is not None
    assert sum(found["counts"]) == counts.sum()
    assert len(found["counts"]) <= BARS
    assert found["high"] == 5.0
    each = (found["high"] - found["low"]) / len(found["counts"]) / (8 / LEVELS)
    together = round(each)
    assert each == pytest.approx(together, rel=1e-9), "whole levels"
    ends = counts[::-1].cumsum()[np.minimum(np.arange(1, len(found["counts"]) + 1) * together, LEVELS) - 1]
    assert np.array(found["counts"])[::-1].cumsum().tolist() == ends.tolist(), "each bar, from the top"
    assert found["counts"][0] or together > 1, "it begins where there is something"


def test_a_constant_unit_has_none():
    low, high = span(np.array([0.25]), np.array([0.0]), np.array([0.25], dtype=np.float32))
    counts = level_counts(np.full((4, 1, 3, 3), 0.25, dtype=np.float32), low, high)
    assert counts.sum() == 36
    assert bars(counts[0], low[0], high[0]) is None


def test_the_range_begins_far_below_the_mean():
    low, high = span(np.array([1.0]), np.array([0.5]), np.array([9.0], dtype=np.float32))
    assert (low[0], high[0]) == (1.0 - BELOW * 0.5, 9.0)
