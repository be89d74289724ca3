"""What stays between runs: against brute force, with a run against itself, and with what was planted."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.compare import agreement, match_concepts, matched_by_chance, overlap, shared_by_chance

small_sets = st.lists(
    st.integers(1, 4).flatmap(
        lambda size: st.tuples(
            st.just(size), st.sets(st.integers(0, size - 1), max_size=3), st.sets(st.integers(0, size - 1), max_size=3)
        )
    ),
    min_size=1,
    max_size=3,
)
concepts = st.integers(1, 9).flatmap(
    lambda units: st.tuples(*[st.lists(st.integers(-1, 3), min_size=units, max_size=units)] * 2)
)


@given(small_sets)
def test_overlap_is_that_of_all_sets_of_the_same_sizes(strata):
    first = {name: mine for name, (_, mine, _) in enumerate(strata)}
    second = {name: theirs for name, (_, _, theirs) in enumerate(strata) if theirs}
    found = overlap(first, second, {name: size for name, (size, _, _) in enumerate(strata)})
    a, b = (sum(len(one[place]) for one in strata) for place in (1, 2))
    both = sum(len(mine & theirs) for _, mine, theirs in strata)
    assert (found.first, found.second, found.both) == (a, b, both)
    if not a + b:
        assert np.isnan(found.jaccard)
        assert np.isnan(found.jaccard_chance)
        return
    drawn = [
        sum(len(mine & set(theirs)) for (_, mine, _), theirs in zip(strata, choice, strict=True))
        for choice in product(*(combinations(range(size), len(theirs)) for size, _, theirs in strata))
    ]
    assert found.both_chance == pytest.approx(np.mean(drawn), abs=1e-12)
    assert found.jaccard == both / (a + b - both)
    assert found.jaccard_chance == pytest.approx(np.mean([one / (a + b - one) for one in drawn]), abs=1e-12)
    assert found.p_value == pytest.approx(np.mean([one >= both for one in drawn]), abs=1e-12)


@pytest.mark.parametrize(("first", "second", "population"), [(300, 200, 4000), (30, 50, 60), (7, 7, 7), (0, 5, 9)])
def test_shared_members_are_hypergeometric(first, second, population):
    from scipy.stats import hypergeom

    counts = np.arange(min(first, second) + 1)
    expected = hypergeom(population, first, second).pmf(counts)
    np.testing.assert_allclose(shared_by_chance(first, second, population), expected, rtol=1e-8, atol=1e-14)


def test_tuples_of_many_units_meet_by_chance_almost_never():
    found = shared_by_chance(300, 200, 10**40)
    assert found[0] == 1
    assert found[1] == pytest.approx(300 * 200 / 1e40, rel=1e-9)


def test_more_members_than_there_are_is_refused():
    with pytest.raises(ValueError, match="3 members of 2"):
        shared_by_chance(3, 1, 2)


@given(concepts)
def test_concepts_are_matched_as_by_trying_all_assignments(runs):
    first, second = (np.array(run, np.int64) for run in runs)
    found = match_concepts(first, second)
    of_first, of_second = (
        [set(np.flatnonzero(run == one)) for one in range(max(run.max() + 1, 0))] for run in (first, second)
    )
    for a, b, value in zip(found.first, found.second, found.overlap, strict=True):
        assert value == len(of_first[a] & of_second[b]) / len(of_first[a] | of_second[b]) > 0
    assert len(set(found.second)) == len(found.second)
    assert (np.diff(found.first) > 0).all()
    few, many = sorted((of_first, of_second), key=len)
    best = max(
        sum(len(a & b) / max(len(a | b), 1) for a, b in zip(few, choice, strict=True))
        for choice in permutations(many, len(few))
    )
    assert found.overlap.sum() == pytest.approx(best, abs=1e-12)


def test_a_run_with_itself_stays_whole_whatever_its_concepts_are_called():
    generator = np.random.default_rng(0)
    first = generator.integers(-1, 6, 60)
    first[:6] = range(6)
    renamed = generator.permutation(6)
    second = np.where(first >= 0, renamed[first], -1)
    found = match_concepts(first, second)
    np.testing.assert_array_equal(found.second, renamed)
    np.testing.assert_array_equal(found.overlap, 1)
    units = {"all": set(np.flatnonzero(first >= 0))}
    assert overlap(units, units, {"all": 60}).jaccard == 1
    assert agreement(first * 0.5, first * 2.0).pearson == pytest.approx(1)


def test_what_was_planted_stays_beyond_chance_and_a_shared_layer_alone_does_not():
    generator = np.random.default_rng(1)
    layer = np.repeat([0, 1], 200)
    first = np.full(400, -1)
    first[:40] = np.repeat(np.arange(8), 5)
    second = first.copy()
    second[generator.choice(40, 8, replace=False)] = -1  # a fifth of the units goes
    drawn = matched_by_chance(first, second, layer, draws=20, seed=2)
    found = match_concepts(first, second)
    assert found.overlap.sum() > 2 * max(one.overlap.sum() for one in drawn)
    np.testing.assert_array_equal(found.first, found.second)
    # Exchanged within layers only: nothing of the second layer is ever matched.
    only = np.where(layer == 1, 0, -1)
    assert all(one.overlap.size == 0 for one in matched_by_chance(only, second, layer, draws=5, seed=3))

    members = {0: set(np.flatnonzero(first >= 0))}
    population = {0: 200, 1: 200}
    kept = overlap(members, {0: set(np.flatnonzero(second >= 0))}, population)
    assert kept.jaccard == 0.8
    assert kept.jaccard_chance < 0.12
    assert kept.p_value < 1e-20
    full = overlap({0: set(range(200))}, {0: set(range(200))}, population)
    assert full.jaccard == full.jaccard_chance == full.p_value == 1


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_agreement_by_chance_is_that_of_all_permutations(numbers, random):
    first = np.array(numbers, np.float64)
    second = np.array(random.sample(range(-50, 50), len(numbers)), np.float64)
    found = agreement(first, second)
    if len(set(numbers)) == 1:
        assert np.isnan(found.pearson)
        return
    drawn = [np.corrcoef(first, np.array(order))[0, 1] for order in permutations(second)]
    assert found.pearson == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
    assert np.mean(drawn) == pytest.approx(0, abs=1e-9)
    assert np.std(drawn) == pytest.approx(found.deviation_chance, abs=1e-9)


def test_agreement_of_nothing_is_not_known():
    for few in (np.zeros(0), np.ones(1)):
        found = agreement(few, few)
        assert found.count == len(few)
        assert np.isnan(found.pearson)
        assert np.isnan(found.deviation_chance)
