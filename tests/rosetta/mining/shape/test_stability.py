"""The dictionary with other K against one that is made from scratch with each."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import correlations

from rosetta.mining.buddies import Buddies, best_buddies, nearest_neighbours
from rosetta.mining.shape.stability import MOST, DictionaryWith, numbers_of_neighbours, stability


def buddies_in(pearson: np.ndarray, k: int, same: bool = False) -> Buddies:
    of_a = nearest_neighbours(pearson, k, same=same)
    return best_buddies(of_a, of_a if same else nearest_neighbours(np.ascontiguousarray(pearson.T), k))


@settings(max_examples=20)
@given(data=st.data(), units=st.integers(1, 14), chosen=st.sampled_from([1, 2, 3, 5, 23]), models=st.integers(1, 3))
def test_each_k_is_as_from_scratch(data, units, chosen, models):
    own = data.draw(correlations(units, symmetric=True))
    pearsons = {f"m{index}": data.draw(correlations(units)) for index in range(models)}
    trusted = {name: data.draw(st.sets(st.sampled_from(sorted(np.ndindex(m.shape))))) for name, m in pearsons.items()}
    most = max(numbers_of_neighbours(chosen))
    found = stability(
        {name: buddies_in(pearson, most) for name, pearson in pearsons.items()},
        buddies_in(own, most, same=True),
        units,
        chosen,
        {name: np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2) for name, pairs in trusted.items()},
    )
    base = {anchor for anchor, _, _ in oracle.rosetta(pearsons, chosen)}
    assert [one.neighbours for one in found] == [*range(1, MOST + 1), *([chosen] if chosen > MOST else [])]
    for one in found:
        neurons = oracle.rosetta(pearsons, one.neighbours)
        anchors = {anchor for anchor, _, _ in neurons}
        concepts = oracle.components(sorted(anchors), own, one.neighbours)
        assert one.neurons == len(neurons)
        assert one.concepts == len(concepts)
        assert one.largest == max(map(len, concepts), default=0)
        assert one.trusted == sum(
            all((anchor, unit) in trusted[name] for name, unit in zip(pearsons, units_of, strict=True))
            for anchor, units_of, _ in neurons
        )
        either = anchors | base
        assert one.jaccard == pytest.approx(len(anchors & base) / len(either)) if either else np.isnan(one.jaccard)
        if one.neighbours == chosen and base:
            assert one.jaccard == 1


@pytest.mark.parametrize(
    ("neurons", "largest", "percolates"),
    [(0, 0, False), (5, 5, False), (6, 6, True), (30, 6, False), (29, 6, True), (1000, 200, False), (1000, 201, True)],
)
def test_a_concept_that_holds_more_than_a_fifth_swallows_others(neurons, largest, percolates):
    assert DictionaryWith(5, neurons, 0, 1, largest, 1.0).percolates is percolates
