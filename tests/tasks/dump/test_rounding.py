"""Rounding of maps: bounded for every unit, whatever its scale and offset, and summed up as it is stored."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.dump.rounding import FEWEST_BITS, LARGEST_NOISE, round_maps

SHAPE = (2, 3, 4, 5, 3)
"""Columns, images, channels, y, x."""
SCALES = st.floats(-30, 30).map(lambda power: 10.0**power)
OFFSETS = st.one_of(st.just(0.0), st.floats(-6, 6).map(lambda power: 10.0**power))
UNITS = st.lists(
    st.tuples(SCALES, OFFSETS, st.sampled_from(["dense", "sparse", "dead", "step"])), min_size=8, max_size=8
)


def planted(units, seed=0) -> np.ndarray:
    """Maps whose units have their own scale, offset over scale, and kind."""
    random = np.random.default_rng(seed).normal(size=SHAPE)
    maps = np.zeros(SHAPE, np.float32)
    for number, (scale, offset, kind) in enumerate(units):
        values = random[number // 4, :, number % 4]
        kinds = {"dense": values, "sparse": np.maximum(values - 1, 0), "dead": 0 * values, "step": np.sign(values)}
        maps[number // 4, :, number % 4] = scale * (kinds[kind] + offset)
    return maps


def by_unit(maps: np.ndarray) -> np.ndarray:
    """(unit, value) float64."""
    return maps.astype(np.float64).transpose(0, 2, 1, 3, 4).reshape(8, -1)


@given(UNITS, st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_no_unit_suffers_and_statistics_are_of_what_is_stored(units, seed):
    maps = planted(units, seed)
    rounded = torch.from_numpy(maps.copy())
    statistics = round_maps(rounded, 8)
    exact, stored = by_unit(maps), by_unit(rounded.numpy())
    deviation, noise = exact.std(axis=1), np.sqrt(((stored - exact) ** 2).mean(axis=1))
    assert (noise <= LARGEST_NOISE * deviation).all()
    np.testing.assert_allclose(
        np.sqrt(statistics.noise / stored.shape[1]), noise, rtol=1e-3, atol=1e-7 * deviation.max()
    )
    alive = deviation > 0
    assert (statistics.square[~alive] == 0).all()
    assert (statistics.mean[~alive] == exact[~alive, 0]).all()
    scaled = np.abs(statistics.mean - stored.mean(axis=1))[alive] / stored.std(axis=1)[alive]
    assert (scaled < 1e-6).all()
    np.testing.assert_allclose(statistics.square[alive], stored.shape[1] * stored[alive].var(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(statistics.peak, rounded.numpy().max(axis=(3, 4)).transpose(1, 0, 2).reshape(3, 8))


@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize("side", [1, 2, 7, 30])
def test_grids_of_any_size_and_units_far_from_zero_among_others(side, offset):
    """A single position, whose maximum is the map itself, and maps of more values than are squared at once."""
    maps = np.random.default_rng(0).normal(size=(3, 8, 5, side, side)).astype(np.float32)
    maps[1] += np.float32(offset)
    maps[2, :, 3] = np.float32(0.1)
    rounded = torch.from_numpy(maps.copy())
    statistics = round_maps(rounded, 15)
    flat, stored = (one.astype(np.float64).transpose(0, 2, 1, 3, 4).reshape(15, -1) for one in (maps, rounded.numpy()))
    noise = np.sqrt(((stored - flat) ** 2).mean(axis=1))
    assert (noise <= LARGEST_NOISE * flat.std(axis=1)).all()
    assert (noise[:5] > 0).all()
    np.testing.assert_array_equal(stored[13], np.float32(0.1))
    np.testing.assert_allclose(statistics.mean, stored.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(statistics.square, stored.shape[1] * stored.var(axis=1), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(statistics.noise / stored.shape[1]), noise, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(statistics.peak, rounded.numpy().max(axis=(3, 4)).transpose(1, 0, 2).reshape(8, 15))


@given(SCALES, OFFSETS)
@settings(deadline=None)
def test_scaling_a_unit_by_a_power_of_two_scales_what_is_stored(scale, offset):
    maps = planted([(1.0, offset, "dense")] * 8)
    factor = np.float32(2.0 ** np.clip(np.round(np.log2(scale)), -60, 60))
    plain, scaled = torch.from_numpy(maps.copy()), torch.from_numpy(maps * factor)
    round_maps(plain, 8)
    round_maps(scaled, 8)
    np.testing.assert_array_equal(scaled.numpy(), plain.numpy() * factor)


def test_values_near_zero_mean_keep_as_many_bits_as_float16_has():
    maps = planted([(1.0, 0.0, "dense")] * 8)
    rounded = torch.from_numpy(maps.copy())
    round_maps(rounded, 8)
    bits = rounded.numpy().view(np.int32)
    assert not (bits & ((1 << (23 - FEWEST_BITS)) - 1)).any()
    np.testing.assert_allclose(rounded.numpy(), maps, rtol=2.0**-11)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_seen_and_stay(bad):
    maps = planted([(1.0, 0.0, "dense")] * 8)
    maps[1, 2, 3, 4, 2] = bad
    rounded = torch.from_numpy(maps.copy())
    statistics = round_maps(rounded, 8)
    assert not statistics.finite
    np.testing.assert_array_equal(rounded.numpy()[1, 2, 3, 4, 2], bad)


def test_the_largest_float32_stays_finite():
    maps = planted([(1.0, 0.0, "dense")] * 8)
    maps[0, 0, 0] = np.finfo(np.float32).max
    maps[0, 1, 0] = -np.finfo(np.float32).max
    rounded = torch.from_numpy(maps.copy())
    statistics = round_maps(rounded, 8)
    assert statistics.finite
    assert np.isfinite(statistics.square).all()
    assert torch.isfinite(rounded).all()


def test_exact_maps_stay_exact():
    maps = planted([(3.0, 2.0, "dense")] * 8)
    kept = torch.from_numpy(maps.copy())
    statistics = round_maps(kept, 7, rounded=False)
    np.testing.assert_array_equal(kept.numpy(), maps)
    assert statistics.peak.shape == (3, 7)
    assert not statistics.noise.any()
