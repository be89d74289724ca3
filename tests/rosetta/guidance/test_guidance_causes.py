"""Random units, ranks, p and q: pure functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rosetta.guidance.ablation import Scale
from rosetta.guidance.causes import compared, permutation_p, q_values, ranks, share_followed, with_random
from rosetta.guidance.silencing import lines, random_sets, silence
from rosetta.units import Layer, Units

UNITS = Units((Layer("low", 30, (2, 2)), Layer("high", 9, (4, 4))))


def scale(seed: int = 0) -> Scale:
    random = np.random.default_rng(seed)
    std = np.exp(random.normal(size=len(UNITS)))
    std[[3, 31]] = 0
    return Scale(UNITS, random.normal(size=len(UNITS)), std)


@settings(max_examples=20)
@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 5))
def test_random_units_are_of_the_layer_alive_and_no_neurons(seed, size, drawn):
    random = np.random.default_rng(seed)
    alive = np.setdiff1d(np.arange(len(UNITS)), [3, 31])
    taken = np.sort(random.choice(alive, 12, replace=False))
    neurons = random.permutation(taken)[:7]
    found = with_random(scale(), neurons, taken, size, drawn)
    assert found.units[: found.neurons].tolist() == neurons.tolist()
    layer_of = UNITS.layer_index()
    for row in range(len(found.units)):
        units = found.units[found.random(row)]
        assert not np.isin(units, [*taken, 3, 31, found.units[row]]).any()
        assert (layer_of[units] == layer_of[found.units[row]]).all()
        if row < found.neurons:
            there = alive[layer_of[alive] == layer_of[found.units[row]]]
            assert len(units) == min(size, len(np.setdiff1d(there, taken)))
        else:
            assert layer_of[found.units[found.like[row]]] == layer_of[found.units[row]]
    again = with_random(scale(), neurons, taken, size, drawn)
    assert again.units.tolist() == found.units.tolist()


def test_the_nearest_units_are_taken():
    units = Units((Layer("one", 6, (1, 1)),))
    # Unit 0 is like 1 and 2; 3 to 5 are of another kind.
    of = Scale(units, np.array([1.0, 1.1, 0.9, -5, 6, 0]), np.array([1.0, 1.1, 0.9, 9, 0.1, 30]))
    assert with_random(of, np.array([0]), np.array([0]), 2, 0).units.tolist() == [0, 1, 2]


def test_p_is_a_count_and_never_zero():
    assert permutation_p(2.0, np.array([1.0, 2.0, 3.0])) == pytest.approx(3 / 4)
    assert permutation_p(9.0, np.arange(4.0)) == pytest.approx(1 / 5)


def test_p_of_units_that_are_no_different_is_uniform():
    units = Units((Layer("one", 1200, (1, 1)),))
    random = np.random.default_rng(0)
    of = Scale(units, random.normal(size=1200), np.exp(random.normal(size=1200)))
    neurons = np.arange(600)
    ablated = with_random(of, neurons, neurons, 19, 0)
    of_random = random.normal(size=(len(ablated.units) - 600, 600))
    found = compared(ablated, neurons, random.normal(size=600), of_random)
    counts = np.bincount(np.rint(found.p * 20).astype(int), minlength=21)[1:]
    assert counts.sum() == 600
    assert chisquare(counts).pvalue > 0.01
    assert (found.q > 0.05).all()
    assert (found.count == 19).all()


def test_ranks_and_constant_units():
    effects = np.array([[0.5, 0.7, 0.1, np.nan, 9.0]] * 3)
    found = ranks(effects, np.array([0, 3, 4]), np.array([0, 0, 0, 0, 1]))
    assert found[0] == 0.5  # one of two others in its layer; the constant one is none
    assert np.isnan(found[1:]).all()


def test_without_anything_to_compare_with_there_is_no_p():
    units = Units((Layer("one", 4, (1, 1)),))
    of = Scale(units, np.zeros(4), np.ones(4))
    ablated = with_random(of, np.array([0]), np.array([0]), 9, 0)
    rows = np.array([0, 0])
    found = compared(ablated, rows, np.array([0.5, np.nan]), np.full((3, 2), 0.1))
    assert found.p[0] == found.q[0] == 1 / 4
    assert (found.count == 3).all()
    assert np.isnan([found.p[1], found.q[1], found.random[1]]).all()
    alone = with_random(of, np.arange(4), np.arange(4), 9, 0)
    assert np.isnan(compared(alone, np.array([0]), np.array([0.5]), np.empty((0, 1))).p).all()


def test_the_share_that_is_followed():
    uniform = np.arange(1, 41) / 40
    assert share_followed(uniform) == pytest.approx(0, abs=1e-12)
    assert share_followed(np.concatenate([uniform, np.full(60, 1 / 41), [np.nan]])) == pytest.approx(0.6)
    assert np.isnan(share_followed(np.array([np.nan])))


def test_q_by_the_definition():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    known = np.sort(p[~np.isnan(p)])
    by_hand = [min(1.0, min(known[j] * len(known) / (j + 1) for j in range(i, len(known)))) for i in range(len(known))]
    found = q_values(p)
    assert np.isnan(found[1])
    np.testing.assert_allclose(np.sort(found[~np.isnan(found)]), by_hand)
    assert np.isnan(q_values(np.array([np.nan]))).all()


@given(st.integers(0, 20), st.integers(0, 6))
def test_random_sets_are_of_the_same_layers(seed, count):
    random = np.random.default_rng(seed)
    own = np.sort(random.choice(len(UNITS), 8, replace=False))
    layer_of = UNITS.layer_index()
    for one in random_sets(scale(), own, count, (1, seed)):
        assert np.bincount(layer_of[one], minlength=2).tolist() == np.bincount(layer_of[own], minlength=2).tolist()
        assert len(set(one)) == len(one)
        for layer, channels in enumerate((30, 9)):
            if 2 * (layer_of[own] == layer).sum() <= channels:
                assert not np.isin(one[layer_of[one] == layer], own).any()


def test_silencing_sets_the_units_of_each_set():
    found = silence(scale(), [np.array([1, 35]), np.array([2])])
    assert {name: change.images.tolist() for name, change in found.items()} == {"low": [0, 1], "high": [0]}
    assert found["low"].channels.tolist() == [1, 2]
    assert found["high"].channels.tolist() == [5]
    np.testing.assert_allclose(found["low"].values[:, 0, 0], scale().mean[[1, 2]])


def test_lines_compare_a_class_with_that_of_the_same_rank():
    shift = np.array([[3.0, -1.0, 0.0], [0.0, 0.0, 4.0], [-2.0, 0.5, 0.0]])
    found = {(line.rank, line.index): line for line in lines(np.array([0.5, 0.1, 0.9]), shift)}
    assert set(found) == {(0, -1), (1, 0), (-1, 1)}  # what does not move neither rises nor falls
    whole, up, down = found[0, -1], found[1, 0], found[-1, 1]
    assert (whole.change, whole.random, whole.p) == (0.5, 0.5, pytest.approx(2 / 3))
    assert (up.change, up.random, up.p) == (3.0, pytest.approx(2.25), pytest.approx(2 / 3))
    assert (down.change, down.random, down.p) == (-1.0, pytest.approx(-1.0), pytest.approx(2 / 3))
    assert [line.rank for line in lines(np.array([0.5]), None)] == [0]
