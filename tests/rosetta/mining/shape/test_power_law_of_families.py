"""Exponents of families: planted ones are found, and their intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.shape.power_law import RESAMPLES, of_draws, over_family, over_models, resampled

SIZES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def planted(exponent: float, seed: int) -> list[np.ndarray]:
    """By model: (1, unit) whether a unit is matched, independently, so often that counts follow a power law."""
    random = np.random.default_rng(seed)
    units = (600 * SIZES**0.8).astype(int)
    expected = 80 * SIZES**exponent
    return [(random.random(count) < rate / count)[None] for count, rate in zip(units, expected, strict=True)]


@pytest.mark.parametrize("exponent", [0.3, 0.6, 0.9])
def test_the_interval_of_a_planted_family_covers_its_exponent_in_19_of_20_seeds(exponent):
    covered = 0
    for seed in range(20):
        models, random = planted(exponent, seed), np.random.default_rng(seed)
        resamples = np.concatenate([resampled(one, random) for one in models], axis=1)
        law = over_family(SIZES, [one.sum() for one in models], resamples)
        assert abs(law.exponent - exponent) < 0.2
        covered += law.low <= exponent <= law.high
    assert covered >= 19


def test_units_of_the_anchor_that_all_models_share_cancel():
    common = (np.arange(400) < 200).astype(float)
    law = over_family([1, 2], [200, 200], resampled(np.stack([common, common]), np.random.default_rng(0)))
    np.testing.assert_allclose([law.exponent, law.low, law.high], 0.0, atol=1e-12)


def test_resampled_sums_have_the_mean_and_spread_of_drawing_with_replacement():
    values = np.random.default_rng(1).integers(0, 4, (2, 500)).astype(float)
    found = resampled(values, np.random.default_rng(2))
    assert found.shape == (RESAMPLES, 2)
    deviation = values.std(axis=1) * np.sqrt(values.shape[1])
    np.testing.assert_allclose(found.mean(axis=0), values.sum(axis=1), atol=5 * deviation.max() / np.sqrt(RESAMPLES))
    np.testing.assert_allclose(found.std(axis=0), deviation, rtol=0.12)


def test_a_count_without_any_is_one_half_when_resampled():
    assert (resampled(np.zeros((1, 7)), np.random.default_rng(0)) == 0.5).all()
    assert (of_draws([np.zeros(3), np.full(4, 2.0)], np.random.default_rng(0)) == [0.5, 2.0]).all()


@pytest.mark.parametrize(("sizes", "counts"), [([1, 2], [0, 5]), ([3, 3], [4, 5]), ([1, 2, 4], [3, 0, 9])])
def test_no_exponent_where_a_model_counts_nothing_or_all_are_as_large(sizes, counts):
    assert over_family(sizes, counts, np.ones((RESAMPLES, len(sizes)))) is None


@given(exponent=st.floats(-2, 2), scale=st.floats(0.1, 1e6), unit=st.floats(1e-3, 1e9), count=st.integers(2, 6))
def test_an_exact_power_law_is_found_in_any_units(exponent, scale, unit, count):
    sizes = unit * 2.0 ** np.arange(count)
    counts = scale * (sizes / unit) ** exponent
    law = over_family(sizes, counts, np.tile(counts, (10, 1)))
    np.testing.assert_allclose([law.exponent, law.low, law.high], exponent, atol=1e-9)
    np.testing.assert_allclose(law.at(sizes[-1]), counts[-1], rtol=1e-6)
    assert (over_models(sizes, counts) is None) == (count < 3)
