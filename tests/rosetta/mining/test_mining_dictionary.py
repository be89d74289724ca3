"""Buddies, Rosetta neurons and clusters against a brute-force reading of the definitions, ties included."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import correlations

from rosetta.mining.buddies import Buddies, best_buddies, merge_neighbours, nearest_neighbours
from rosetta.mining.dictionary import cluster, rosetta_neurons


def buddies_in(pearson, k, same=False) -> Buddies:
    """Best buddies of a whole matrix."""
    of_a = nearest_neighbours(pearson, k, same=same)
    return best_buddies(of_a, of_a if same else nearest_neighbours(np.ascontiguousarray(pearson.T), k))


@given(pearson=correlations(), k=st.integers(1, 6))
def test_neighbours(pearson, k):
    found = nearest_neighbours(pearson, k)
    assert [[i for i in row if i >= 0] for row in found.unit.tolist()] == oracle.neighbours(pearson, k)


@given(pearson=correlations(), symmetric=correlations(symmetric=True), k=st.integers(1, 6), width=st.integers(1, 14))
def test_neighbours_of_parts_merge_to_those_of_the_whole(pearson, symmetric, k, width):
    for matrix, same in ((pearson, False), (symmetric, True)):
        parts = [
            nearest_neighbours(matrix[:, start : start + width], k, first_column=start, same=same)
            for start in range(0, matrix.shape[1], width)
        ]
        merged, whole = merge_neighbours(parts, k), nearest_neighbours(matrix, k, same=same)
        np.testing.assert_array_equal(merged.unit, whole.unit)
        np.testing.assert_array_equal(merged.pearson, whole.pearson)


def test_a_part_knows_which_of_its_units_are_the_same():
    found = nearest_neighbours(np.ones((2, 3), dtype=np.float32), 3, first_row=4, first_column=3, same=True)
    assert found.unit.tolist() == [[3, 5, -1], [3, 4, -1]]


@given(pearson=correlations(), k=st.integers(1, 6))
def test_buddies(pearson, k):
    found = buddies_in(pearson, k)
    rows = set(zip(*(x.tolist() for x in (found.unit_a, found.unit_b, found.rank_ab, found.rank_ba)), strict=True))
    assert rows == oracle.buddies(pearson, k)
    np.testing.assert_array_equal(found.pearson, pearson[found.unit_a, found.unit_b])


@given(pearson=correlations(symmetric=True), k=st.integers(1, 6))
def test_no_unit_is_its_own_buddy(pearson, k):
    found = buddies_in(pearson, k, same=True)
    rows = set(zip(*(x.tolist() for x in (found.unit_a, found.unit_b, found.rank_ab, found.rank_ba)), strict=True))
    assert rows == oracle.buddies(pearson, k, same=True)
    assert (found.unit_a != found.unit_b).all()


@given(data=st.data(), units=st.integers(1, 14), k=st.integers(1, 5), models=st.integers(1, 3))
def test_rosetta_neurons_and_clusters(data, units, k, models):
    pearsons = {f"m{i}": data.draw(correlations(rows=units)) for i in range(models)}
    own = data.draw(correlations(rows=units, symmetric=True))
    neurons = rosetta_neurons({name: buddies_in(matrix, k) for name, matrix in pearsons.items()}, units)
    expected = oracle.rosetta(pearsons, k)
    assert neurons.anchor_unit.tolist() == [unit for unit, _, _ in expected]
    assert neurons.unit.tolist() == [best for _, best, _ in expected]
    np.testing.assert_allclose(neurons.mean_pearson, [mean for _, _, mean in expected])

    clusters = cluster(neurons, buddies_in(own, k, same=True))
    members = [frozenset(neurons.anchor_unit[clusters.of_neuron == number].tolist()) for number in range(len(clusters))]
    assert set(members) == oracle.components(neurons.anchor_unit.tolist(), own, k)
    assert clusters.size.tolist() == [len(member) for member in members]
    assert (np.diff(neurons.mean_pearson[clusters.best]) <= 0).all()
    for number in range(len(clusters)):
        inside = clusters.of_neuron == number
        assert clusters.best[number] == np.flatnonzero(inside)[0]
        assert clusters.min_pearson[number] == pytest.approx(neurons.pearson[inside].min())
        assert clusters.mean_pearson[number] == pytest.approx(neurons.mean_pearson[inside].mean())


def test_ties_at_the_edge_go_to_the_lower_unit():
    pearson = np.array([[0.5, 0.9, 0.5, 0.5]], dtype=np.float32)
    assert nearest_neighbours(pearson, 3).unit.tolist() == [[1, 0, 2]]


def test_nothing_matches_where_nothing_varies():
    pearson = np.full((3, 4), np.nan, dtype=np.float32)
    assert len(buddies_in(pearson, 5)) == 0
    neurons = rosetta_neurons({"m": buddies_in(pearson, 5)}, 3)
    assert len(neurons) == 0
    assert len(cluster(neurons, buddies_in(np.full((3, 3), np.nan, dtype=np.float32), 5, same=True))) == 0
