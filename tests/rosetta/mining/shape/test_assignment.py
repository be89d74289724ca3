"""One-to-one matching against SciPy's dense solver, and hubs: named by how often they occur, and matched once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import skew
from strategies import correlations

from rosetta.mining.buddies import Neighbours, nearest_neighbours
from rosetta.mining.shape.assignment import assign, matching_distance
from rosetta.mining.shape.hubs import hubs


def both(pearson, k) -> tuple[Neighbours, Neighbours]:
    return nearest_neighbours(pearson, k), nearest_neighbours(np.ascontiguousarray(pearson.T), k)


def looked_at(pearson, k) -> np.ndarray:
    """(unit_a, unit_b) float64 weights: the correlation where either is among the nearest of the other, else 0."""
    of_a, of_b = both(pearson, k)
    weights = np.zeros(pearson.shape)
    for near, target in ((of_a, weights), (of_b, weights.T)):
        for unit, row in enumerate(near.unit):
            for other in row[row >= 0]:
                target[unit, other] = max(0.0, float(pearson[unit, other] if near is of_a else pearson[other, unit]))
    return weights


@given(pearson=correlations(), k=st.integers(1, 14))
def test_the_sum_is_that_of_a_dense_solver(pearson, k):
    of_a, of_b = both(pearson, k)
    found = assign(of_a, of_b)
    weights = looked_at(pearson, k)
    best = weights[linear_sum_assignment(weights, maximize=True)].sum()
    assert found.pearson.astype(np.float64).sum() == pytest.approx(best, abs=1e-9)
    assert len(set(found.unit_a.tolist())) == len(set(found.unit_b.tolist())) == len(found)
    assert (found.pearson > 0).all()
    assert found.unit_a.tolist() == sorted(found.unit_a)
    np.testing.assert_array_equal(found.pearson, pearson[found.unit_a, found.unit_b])
    assert matching_distance(found.pearson, pearson.shape) == pytest.approx(1 - best / min(pearson.shape), abs=1e-9)


@given(pearson=correlations(), k=st.integers(1, 5))
def test_ranks_are_those_of_the_neighbours(pearson, k):
    of_a, of_b = both(pearson, k)
    found = assign(of_a, of_b)
    for a, b, rank_ab, rank_ba in zip(found.unit_a, found.unit_b, found.rank_ab, found.rank_ba, strict=True):
        for near, other, rank in ((of_a.unit[a], b, rank_ab), (of_b.unit[b], a, rank_ba)):
            assert rank == (near.tolist().index(other) + 1 if other in near else 0)
    assert ((found.rank_ab > 0) | (found.rank_ba > 0)).all()


def planted_hub(random, units=30) -> np.ndarray:
    """Every unit of A has a twin in B, and correlates more with the last unit of B."""
    pearson = random.uniform(-0.1, 0.1, size=(units, units + 1)).astype(np.float32)
    pearson[np.arange(units), np.arange(units)] = random.uniform(0.6, 0.65, size=units)
    pearson[:, units] = random.uniform(0.7, 0.75, size=units)
    return pearson


@pytest.mark.parametrize("seed", range(3))
def test_a_hub_is_named_and_matched_once(seed):
    pearson = planted_hub(np.random.default_rng(seed))
    of_a, of_b = both(pearson, 2)
    alive = np.ones(31, dtype=bool)
    assert hubs(of_a, alive, 1).occurrences == 30
    found = hubs(of_a, alive, 2)
    assert (found.unit, found.occurrences) == (30, 30)
    without, _ = both(pearson[:, :30], 2)
    assert found.skewness > 4 > 2 > hubs(without, alive[:30], 2).skewness
    matched = assign(of_a, of_b)
    twins = matched.unit_a == matched.unit_b
    assert len(matched) == 30
    assert twins.sum() == 29
    assert matched.unit_b[~twins].tolist() == [30]


@given(pearson=correlations(), k=st.integers(1, 6))
def test_the_skewness_is_that_of_occurrences_among_units_that_vary(pearson, k):
    of_a, _ = both(pearson, k)
    alive = ~np.isnan(pearson).all(axis=0)
    counts = np.array([(of_a.unit == unit).sum() for unit in np.flatnonzero(alive)])
    found = hubs(of_a, alive, k)
    if not len(counts):
        assert np.isnan(found.skewness)
    elif counts.max() == counts.min():
        assert found.skewness == 0
    else:
        assert found.skewness == pytest.approx(skew(counts), abs=1e-9)
        assert found.occurrences == counts.max()
        assert found.unit == np.flatnonzero(alive)[counts.argmax()]


def test_nothing_above_zero_stays_unmatched():
    of_a, of_b = both(np.full((3, 2), -0.5, dtype=np.float32), 2)
    assert len(assign(of_a, of_b)) == 0
    assert matching_distance(np.zeros(0, dtype=np.float32), (3, 2)) == 1.0
    assert hubs(*(Neighbours(near.unit * 0 - 1, near.pearson) for near in (of_a,)), np.ones(2, bool), 2).unit == -1
