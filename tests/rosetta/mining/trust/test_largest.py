"""The largest values of a stream, and its percentiles."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from rosetta.mining.trust.largest import Largest, Percentile

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def stream(seed, rows, sizes, positions):
    """Parts (row, part, position) with many ties."""
    random = np.random.default_rng(seed)
    return [torch.from_numpy(random.integers(-9, 9, (rows, size, positions)).astype(np.float32)) for size in sizes]


@given(SEEDS, st.integers(1, 4), SIZES, st.integers(1, 5), st.integers(1, 30))
def test_the_largest_of_a_stream_are_those_of_the_whole(seed, rows, sizes, positions, count):
    parts, largest = stream(seed, rows, sizes, positions), Largest(rows, count)
    for part in parts:
        largest.add(part)
    whole = np.concatenate([part.flatten(1).numpy() for part in parts], axis=1)
    np.testing.assert_array_equal(largest.values(), np.sort(whole, axis=1)[:, -count:])


@given(SEEDS, st.integers(1, 3), SIZES, st.sampled_from([1, 7, 400]))
def test_percentiles_are_those_of_numpy(seed, rows, sizes, positions):
    parts = stream(seed, rows, sizes, positions)
    percentile = Percentile(rows, positions * sum(sizes))
    for part in parts:
        percentile.add(part)
    whole = np.concatenate([part.flatten(1).numpy() for part in parts], axis=1)
    np.testing.assert_allclose(percentile.values(), np.quantile(whole, 0.999, axis=1), atol=1e-9)
