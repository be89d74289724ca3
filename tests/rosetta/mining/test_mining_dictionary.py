"""Buddies, Rosetta neurons and clusters against a brute-force reading of the definitions, ties included."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.buddies import best_buddies, nearest_neighbours
from rosetta.mining.dictionary import cluster, rosetta_neurons


@st.composite
def matrices(draw, rows=None, symmetric=False):
    """Correlations on a coarse scale, so that ties are common, with some units that have none."""
    rows = rows or draw(st.integers(1, 14))
    columns = rows if symmetric else draw(st.integers(1, 14))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([2, 5, 1000]))
    matrix = np.round(random.uniform(-1, 1, (rows, columns)) * steps) / steps
    if symmetric:
        matrix = (matrix + matrix.T) / 2
        np.fill_diagonal(matrix, 1)
    dead = random.random(rows) < 0.15
    matrix[dead] = np.nan
    if symmetric:
        matrix[:, dead] = np.nan
    else:
        matrix[:, random.random(columns) < 0.15] = np.nan
    return matrix.astype(np.float32)


@given(pearson=matrices(), k=st.integers(1, 6))
def test_neighbours(pearson, k):
    found = nearest_neighbours(pearson, k)
    assert [[i for i in row if i >= 0] for row in found.tolist()] == oracle.neighbours(pearson, k)


@given(pearson=matrices(), k=st.integers(1, 6))
def test_buddies(pearson, k):
    found = best_buddies(pearson, k)
    rows = set(zip(*(x.tolist() for x in (found.unit_a, found.unit_b, found.rank_ab, found.rank_ba)), strict=True))
    assert rows == oracle.buddies(pearson, k)
    np.testing.assert_array_equal(found.pearson, pearson[found.unit_a, found.unit_b])


@given(pearson=matrices(symmetric=True), k=st.integers(1, 6))
def test_no_unit_is_its_own_buddy(pearson, k):
    found = best_buddies(pearson, k, same=True)
    rows = set(zip(*(x.tolist() for x in (found.unit_a, found.unit_b, found.rank_ab, found.rank_ba)), strict=True))
    assert rows == oracle.buddies(pearson, k, same=True)
    assert (found.unit_a != found.unit_b).all()


@given(data=st.data(), units=st.integers(1, 14), k=st.integers(1, 5), models=st.integers(1, 3))
def test_rosetta_neurons_and_clusters(data, units, k, models):
    pearsons = {f"m{i}": data.draw(matrices(rows=units)) for i in range(models)}
    own = data.draw(matrices(rows=units, symmetric=True))
    neurons = rosetta_neurons({name: best_buddies(matrix, k) for name, matrix in pearsons.items()}, units)
    expected = oracle.rosetta(pearsons, k)
    assert neurons.anchor_unit.tolist() == [unit for unit, _, _ in expected]
    assert neurons.unit.tolist() == [best for _, best, _ in expected]
    np.testing.assert_allclose(neurons.mean_pearson, [mean for _, _, mean in expected])

    clusters = cluster(neurons, best_buddies(own, k, same=True))
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
    assert nearest_neighbours(pearson, 3).tolist() == [[1, 0, 2]]


def test_nothing_matches_where_nothing_varies():
    pearson = np.full((3, 4), np.nan, dtype=np.float32)
    assert len(best_buddies(pearson, 5)) == 0
    neurons = rosetta_neurons({"m": best_buddies(pearson, 5)}, 3)
    assert len(neurons) == 0
    assert len(cluster(neurons, best_buddies(np.full((3, 3), np.nan, dtype=np.float32), 5, same=True))) == 0
