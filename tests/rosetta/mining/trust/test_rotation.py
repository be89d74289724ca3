"""Excess over rotation against its formula, and on layers that share units, a space, or both."""

import numpy as np
import planted
import pytest

from rosetta.mining.trust import rotation as module
from rosetta.mining.trust.rotation import (
    LARGEST,
    at_same_rank,
    best_alone,
    parts_of_layer,
    rotated_best,
    rotation,
    rotation_bytes,
    rotation_count,
)
from rosetta.recipe import Trust

LIMIT = Trust().excess
IMAGES, GRID = 200, (6, 6)
SIGNALS = np.repeat([0.3, 0.45, 0.6, 0.8], 4)


def in_panels(values, grids, width):
    """The correlations with B in panels of so many columns."""

    def panels():
        for start in range(0, values.shape[1], width):
            yield values[:, start : start + width], grids[start : start + width]

    return panels


def correlations(a, b):
    """(unit_a, unit_b) float64 of (unit, value)."""
    a, b = ((one - one.mean(axis=1, keepdims=True)) / one.std(axis=1, keepdims=True) for one in (a, b))
    return a @ b.T / a.shape[1]


def case(seed=0, units=13, others=70):
    """`P_aa`, `S` and `P_ab` that belong to maps, with the common grid of each of B's units."""
    random = np.random.default_rng(seed)
    maps = random.normal(size=(5, 400))
    a, b = (random.normal(size=(count, 5)) @ maps + random.normal(size=(count, 400)) for count in (units, others))
    std = random.uniform(0.5, 1.0, size=(units, 3))
    return correlations(a, a), std, correlations(a, b), random.integers(0, 3, size=others)


def test_a_rotated_unit_is_what_the_formula_says():
    own, std, with_b, grids = case()
    found = rotated_best(own.astype(np.float32), std, in_panels(with_b.astype(np.float32), grids, 32), 3, (7, 1))
    for number, best in enumerate(found):
        r = rotation(len(own), (7, 1, number)).double().numpy()
        rotated = np.empty((len(own), with_b.shape[1]))
        for grid in range(3):
            s = np.diag(std[:, grid])
            norms = np.diag(np.diag(r.T @ s @ own @ s @ r) ** -0.5)
            rotated[:, grids == grid] = (norms @ r.T @ s @ with_b)[:, grids == grid]
        np.testing.assert_allclose(best, rotated.max(axis=1), atol=1e-5)


def test_the_formula_is_the_correlation_of_rotated_maps():
    random = np.random.default_rng(2)
    a, b = random.normal(size=(9, 300)), random.normal(size=(20, 300))
    a += a[[1, 2, 3, 4, 5, 6, 7, 8, 0]]
    panels = in_panels(correlations(a, b).astype(np.float32), np.zeros(20, np.intp), 20)
    (found,) = rotated_best(correlations(a, a).astype(np.float32), np.ones((9, 1)), panels, 1, (3,))
    standard = (a - a.mean(axis=1, keepdims=True)) / a.std(axis=1, keepdims=True)
    rotated = rotation(9, (3, 0)).double().numpy().T @ standard
    np.testing.assert_allclose(found, correlations(rotated, b).max(axis=1), atol=1e-5)


@pytest.mark.parametrize("width", [1, 16, 70])
def test_panels_of_any_size_say_the_same(width, monkeypatch):
    own, std, with_b, grids = (one if one.dtype == np.intp else one.astype(np.float32) for one in case())
    whole = rotated_best(own, std, in_panels(with_b, grids, 70), 6, (0,))
    monkeypatch.setattr(module, "_SEEN", 30)  # three rotations at once
    np.testing.assert_allclose(rotated_best(own, std, in_panels(with_b, grids, width), 6, (0,)), whole, atol=1e-6)


def test_constant_units_take_no_part():
    own, std, with_b, grids = (one if one.dtype == np.intp else one.astype(np.float32) for one in case())
    alive = np.arange(1, len(own) - 1)
    expected = rotated_best(own[np.ix_(alive, alive)], std[alive], in_panels(with_b[alive, 1:], grids[1:], 9), 2, (0,))
    own[0] = own[:, 0] = with_b[0] = with_b[:, 0] = np.nan
    std[-1] = 0.0
    found = rotated_best(own, std, in_panels(with_b, grids, 9), 2, (0,))
    assert np.isnan(found[:, [0, -1]]).all()
    np.testing.assert_allclose(found[:, alive], expected, atol=1e-6)


def test_one_unit_cannot_be_rotated_and_nothing_is_said_without_partners():
    own, std, with_b, grids = (one if one.dtype == np.intp else one.astype(np.float32) for one in case())
    panels = in_panels(with_b[:1], grids, 70)
    assert np.isnan(rotated_best(own[:1, :1], std[:1], panels, 2, (0,))).all()
    assert np.isnan(rotated_best(own, std, in_panels(np.full_like(with_b, np.nan), grids, 70), 2, (0,))).all()


def test_rotations_are_orthogonal_and_as_often_one_way_as_the_other():
    many = np.stack([rotation(5, (0, number)).numpy() for number in range(2000)])
    np.testing.assert_allclose(many[0].T @ many[0], np.eye(5), atol=1e-6)
    # Of a Haar matrix entries have mean 0 and variance 1 / n, and its determinant is as often -1 as 1.
    assert np.abs(many.mean(axis=0)).max() < 0.04
    np.testing.assert_allclose(many.var(axis=0), 0.2, atol=0.03)
    assert 0.45 < (np.linalg.det(many) > 0).mean() < 0.55


def test_units_are_compared_with_rotated_ones_of_the_same_rank():
    best = np.array([0.2, np.nan, 0.9, 0.5], np.float32)
    rotated = np.array([[0.1, 0.9, 0.4, 0.3], [0.5, 0.9, 0.3, 0.6]], np.float32)
    np.testing.assert_allclose(at_same_rank(best, rotated), [0.2, np.nan, 0.5, 0.4], atol=1e-6)


@pytest.mark.parametrize(
    ("units", "least", "count"), [(1, 4, 2048), (30, 4, 69), (512, 4, 4), (2000, 4, 4), (900, 9, 9)]
)
def test_small_layers_get_more_rotations(units, least, count):
    assert rotation_count(units, least) == count


@pytest.mark.parametrize("units", [1, LARGEST, LARGEST + 1, 3 * LARGEST])
def test_large_layers_are_rotated_in_parts(units):
    parts = parts_of_layer(units)
    assert np.concatenate([np.arange(units)[part] for part in parts]).tolist() == list(range(units))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= LARGEST
    assert max(sizes) - min(sizes) <= 1
    assert rotation_bytes(max(sizes)) < 1 << 30


def test_alone_is_what_taking_a_unit_away_from_the_others_leaves():
    random = np.random.default_rng(4)
    a, b = random.normal(size=(8, 300)), random.normal(size=(30, 300))
    a[1] += a[0]
    a[7] = -a[0]  # the same unit again is no other
    b[:6] += a[:6]
    with_b = correlations(a, b)
    best, alone = best_alone(
        correlations(a, a).astype(np.float32), in_panels(with_b.astype(np.float32), np.zeros(30), 7)
    )
    np.testing.assert_allclose(best, with_b.max(axis=1), atol=1e-6)
    for unit in range(7):
        left = [
            other
            - other.mean()
            - np.polyfit(a[unit] - a[unit].mean(), other - other.mean(), 1)[0] * (a[unit] - a[unit].mean())
            for number, other in enumerate(a[:7])
            if number != unit
        ]
        rest = correlations(np.array(left), b[with_b[unit].argmax()][None])
        assert alone[unit] == pytest.approx(1 - np.abs(rest).max() / best[unit], abs=1e-4)


def test_nothing_is_said_of_units_that_take_no_part():
    own, _, with_b, grids = case(units=4)
    own[1] = own[:, 1] = with_b[1] = np.nan
    with_b[2] = -0.5
    best, alone = best_alone(own.astype(np.float32), in_panels(with_b.astype(np.float32), grids, 9))
    assert np.isnan(best).tolist() == [False, True, False, False]
    assert np.isnan(alone).tolist() == [False, True, True, False]
    assert np.isnan(best_alone(own[:1, :1].astype(np.float32), in_panels(with_b[:1].astype(np.float32), grids, 9))[1])


def alone(a, b):
    with_b = correlations(a, b).astype(np.float32)
    return best_alone(correlations(a, a).astype(np.float32), in_panels(with_b, np.zeros(len(b)), 64))[1]


@pytest.mark.parametrize("others", [12, 48])
def test_units_are_told_from_a_space_that_part_of_a_layer_spans(others):
    """Which excess over rotations of the whole layer does not tell."""
    shared, space, by_excess = [], [], []
    for seed in range(6):
        random = np.random.default_rng(seed)
        signals = fields(random, len(SIGNALS))
        turned = rotation(len(signals), (99, seed)).numpy().T @ signals
        a, b, c = (beside_noise(random, one, others) for one in (signals, signals, turned))
        shared.append(alone(a, b)[: len(SIGNALS)])
        space.append(alone(a, c)[: len(SIGNALS)])
        by_excess.append(excess(a, c, seed)[: len(SIGNALS)])
    assert np.mean(np.array(shared) > Trust().alone) >= 0.95
    assert np.mean(np.array(space) > Trust().alone) <= 0.02
    assert np.mean(np.array(by_excess) > LIMIT) > 0.1


def excess(a, b, seed):
    """(unit,) of two layers (unit, value)."""
    with_b = correlations(a, b).astype(np.float32)
    panels = in_panels(with_b, np.zeros(len(b), np.intp), 64)
    own = correlations(a, a).astype(np.float32)
    rotated = rotated_best(own, np.ones((len(a), 1)), panels, rotation_count(len(a), 4), (seed,))
    best = with_b.max(axis=1)
    return best - at_same_rank(best, rotated)


def fields(random, count):
    return planted._noise(random, IMAGES, GRID, count).reshape(count, -1)


def beside_noise(random, signals, alone):
    """(unit, value) units that carry signals, each as strongly as it says, and as many others."""
    strength = SIGNALS[:, None]
    noise = fields(random, len(signals))
    return np.concatenate([strength**0.5 * signals + (1 - strength) ** 0.5 * noise, fields(random, alone)])


@pytest.mark.parametrize("alone", [12, 48])
def test_shared_units_pass_at_any_strength_and_what_shares_nothing_does_not(alone):
    passed, others = [], []
    for seed in range(6):
        random = np.random.default_rng(seed)
        signals = fields(random, len(SIGNALS))
        found = excess(beside_noise(random, signals, alone), beside_noise(random, signals, alone), seed)
        passed.append(found[: len(SIGNALS)] > LIMIT)
        others.append(found[len(SIGNALS) :] > LIMIT)
    assert np.mean(passed) >= 0.95
    assert np.mean(passed, axis=0)[:4].mean() >= 0.9  # the weakest
    assert not np.any(others)


@pytest.mark.parametrize("units", [24, 80])
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_rotated_copies_have_no_excess(units, strength):
    found = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        signals = fields(random, units)
        turned = rotation(units, (99, seed)).numpy().T @ signals
        noisy = [
            strength**0.5 * one + (1 - strength) ** 0.5 * fields(random, units) if strength < 1 else one
            for one in (signals, turned)
        ]
        found.append(excess(*noisy, seed))
    assert abs(np.mean(found)) < 0.01
    assert np.mean(np.array(found) > LIMIT) < 0.05
