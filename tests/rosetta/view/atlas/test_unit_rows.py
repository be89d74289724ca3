"""The images of a unit's rows, against a full sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rosetta.view.atlas.rankings import TOP
from rosetta.view.atlas.unit_rows import AROUND, PERCENTILES, SHOWN, choose, places

VALUES = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0])


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 60)), elements=VALUES))
def test_they_are_those_of_a_full_sort(peaks):
    """Ties, both zeros and infinities among them."""
    found = choose(peaks)
    for unit, values in enumerate(peaks.astype(np.float64)):
        order = sorted(range(len(values)), key=lambda image: (-values[image], image))
        assert found[unit].tolist() == [image for row in places(len(values)) for image in order[row]]


@given(st.integers(1, 100_000))
def test_rows_lie_where_they_say(images):
    top, *others = places(images)
    assert (top.start, top.stop) == (0, min(TOP, images))
    for row, percentile in zip(others, PERCENTILES, strict=True):
        assert 0 <= row.start < row.stop <= images
        assert row.stop - row.start == min(AROUND, images)
        ranks = np.arange(images)[row]
        below = 100 * (images - 1 - ranks) / max(1, images - 1)  # % of the others that lie lower
        if images > SHOWN:
            assert abs(below - percentile).min() <= 50 / (images - 1) + 1e-9, "one is the nearest that there is"


def test_a_constant_unit_has_its_first_images_on_top():
    found = choose(np.full((2, 100), 0.25, dtype=np.float32))
    assert found[1, :TOP].tolist() == list(range(TOP))
    assert found.shape == (2, SHOWN)


@pytest.mark.parametrize("images", [1, 3, 8, 11])
def test_few_images(images):
    peaks = np.arange(images, dtype=np.float32)[None]
    assert choose(peaks)[0, : min(TOP, images)].tolist() == list(range(images))[::-1][:TOP]


def test_units_are_taken_some_at_a_time(monkeypatch):
    peaks = np.random.default_rng(0).normal(size=(50, 200)).astype(np.float32)
    whole = choose(peaks)
    monkeypatch.setattr("rosetta.view.atlas.unit_rows._AT_ONCE", 700)
    np.testing.assert_array_equal(choose(peaks), whole)
