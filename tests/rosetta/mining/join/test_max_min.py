"""The max–min product against every term of it, and the buddies on it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rosetta.mining.buddies import best_buddies, nearest_neighbours
from rosetta.mining.join.max_min import pivot_spans, raise_to_max_min
from rosetta.units import Layer, Units

# Few values, so that many tie; −inf is a unit without correlation.
VALUES = st.sampled_from([np.float32(value) for value in (-np.inf, -0.5, -0.1, 0.0, 0.1, 0.25, 0.3, 0.7, 1.0)])
SIDES = st.integers(1, 9)


@st.composite
def sides(draw):
    """(row, k) and (k, column), and what is known of (row, column) already."""
    rows, units, columns = draw(SIDES), draw(st.integers(1, 130)), draw(SIDES)
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    a, b = (random.normal(scale=0.3, size=shape).astype(np.float32) for shape in ((rows, units), (units, columns)))
    for side in (a, b):
        holes = random.random(side.shape) < draw(st.sampled_from([0.0, 0.3, 0.95]))
        side[holes] = -np.inf
    known = draw(hnp.arrays(np.float32, (rows, columns), elements=VALUES))
    return a, b, known


def oracle(a, b, known):
    return np.maximum(known, np.minimum(a[:, :, None], b[None]).max(axis=1))


@given(sides())
def test_is_every_term_taken(given_sides):
    a, b, known = given_sides
    best = known.copy()
    terms = raise_to_max_min(best, a, b)
    assert np.array_equal(best, oracle(a, b, known))
    assert 0 <= terms <= a.size * b.shape[1]


@given(st.data())
def test_ties(data):
    a = data.draw(hnp.arrays(np.float32, (4, 60), elements=VALUES))
    b = data.draw(hnp.arrays(np.float32, (60, 5), elements=VALUES))
    nothing = np.full((4, 5), -np.inf, np.float32)
    best = nothing.copy()
    raise_to_max_min(best, a, b)
    assert np.array_equal(best, oracle(a, b, nothing))


def test_blocks_of_any_size_give_the_same_bytes():
    random = np.random.default_rng(2)
    a = random.normal(size=(70, 900)).astype(np.float32)
    b = random.normal(size=(900, 1100)).astype(np.float32)
    whole = np.full((70, 1100), -np.inf, np.float32)
    terms = raise_to_max_min(whole, a, b)
    assert terms < 0.4 * a.size * b.shape[1]  # what is left out is most of it
    parts = np.full_like(whole, -np.inf)
    for rows in (slice(0, 13), slice(13, 70)):
        for columns in (slice(0, 500), slice(500, 1100)):
            for units in (slice(300, 900), slice(0, 300)):
                raise_to_max_min(parts[rows, columns], a[rows, units], b[units, columns])
    assert parts.tobytes() == whole.tobytes()


@given(sides(), st.integers(1, 4))
def test_buddies_on_it(given_sides, k):
    a, b, _ = given_sides
    best = np.full((len(a), b.shape[1]), -np.inf, np.float32)
    raise_to_max_min(best, a, b)
    strength = np.where(np.isneginf(best), np.float32(np.nan), best)
    found = best_buddies(nearest_neighbours(strength, k), nearest_neighbours(np.ascontiguousarray(strength.T), k))
    whole = oracle(a, b, np.full_like(best, -np.inf)).astype(np.float64)

    def nearest(values):
        order = sorted((-value, place) for place, value in enumerate(values) if value > -np.inf)
        return [place for _, place in order[:k]]

    expected = {
        (row, column) for row in range(len(a)) for column in nearest(whole[row]) if row in nearest(whole[:, column])
    }
    assert set(zip(found.unit_a.tolist(), found.unit_b.tolist(), strict=True)) == expected


def test_spans_are_whole_layers():
    units = Units(tuple(Layer(f"l{n}", channels, (1, 1)) for n, channels in enumerate((5000, 3000, 3000, 20000, 7))))
    assert list(pivot_spans(units)) == [slice(0, 8000), slice(8000, 11000), slice(11000, 31000), slice(31000, 31007)]
