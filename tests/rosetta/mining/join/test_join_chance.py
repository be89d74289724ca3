"""What chance makes of links, against exchanges that are made."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from rosetta.mining.join.chance import (
    chance_strengths,
    exchanged,
    false_discovery_rates,
    joint_p_values,
    link_p_values,
)
from rosetta.mining.join.itself import own_ranks
from rosetta.units import Layer, Units

UNITS = Units((Layer("one", 3, (1, 1)), Layer("two", 4, (1, 1))))


@given(st.integers(0, 2**32 - 1))
def test_p_value_is_the_share_of_all_exchanges(seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(-3, 4, (2, 7)).astype(np.float32) / 4
    a[random.integers(7)] = -np.inf
    strength = np.minimum(a, b).max()
    every = [
        np.minimum(a, b[[*first, *(3 + place for place in second)]]).max() >= strength
        for first in permutations(range(3))
        for second in permutations(range(4))
    ]
    (found,) = link_p_values(a[None], b[None], np.array([strength], np.float32), UNITS)
    assert found == pytest.approx(np.mean(every), rel=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_chance_reaches_its_strength_half_of_the_time(seed):
    random = np.random.default_rng(seed)
    a, b = random.uniform(-1, 1, (2, 7)).astype(np.float32)
    every = [
        np.minimum(a, b[[*first, *(3 + place for place in second)]]).max()
        for first in permutations(range(3))
        for second in permutations(range(4))
    ]
    (found,) = chance_strengths(a[None], b[None], UNITS)
    assert np.mean(np.array(every) >= found) >= 0.5
    assert np.mean(np.array(every) >= found + 1 / 1024) <= 0.5


def test_no_link_is_no_evidence():
    none = np.full((1, 7), -np.inf, np.float32)
    assert link_p_values(none, none, np.array([np.nan], np.float32), UNITS) == 1.0


@given(st.lists(st.lists(st.floats(1e-12, 1.0), min_size=3, max_size=3), min_size=1, max_size=6))
def test_joint_p_values_are_fishers(p):
    values = np.array(p)
    expected = chi2.sf(-2 * np.log(values).sum(axis=0), 2 * len(values))
    np.testing.assert_allclose(joint_p_values(values), expected, rtol=1e-8)


def test_units_are_exchanged_within_their_layers():
    order = exchanged(UNITS, (0, 1, 2))
    assert sorted(order[:3]) == [0, 1, 2]
    assert sorted(order[3:]) == [3, 4, 5, 6]
    assert np.array_equal(order, exchanged(UNITS, (0, 1, 2)))
    assert any(not np.array_equal(order, exchanged(UNITS, (0, number, 2))) for number in range(2, 9))


def test_false_discovery_rates_count_what_chance_makes():
    excess = np.array([0.0, 0.6, 0.3, 0.6])
    rates = false_discovery_rates(excess, [np.array([0.1, 0.4]), np.array([0.2])])
    # Two of 0.6: (0 + 1) / (2 · 2); three from 0.3 on: (1 + 1) / (2 · 3), and all: (3 + 1) / (2 · 4).
    np.testing.assert_allclose(rates, [0.5, 0.25, 1 / 3, 0.25])


def test_own_ranks():
    strength = np.array([[0.5, 0.7, 0.5, np.nan], [0.9, 0.9, 0.1, 0.2], [np.nan, 0.1, np.nan, 0.3]], np.float32)
    assert own_ranks(strength).tolist() == [2, 2, 0]
    assert own_ranks(strength[1:], 1).tolist() == [2, 0]
