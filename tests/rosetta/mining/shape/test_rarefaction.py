"""Buddies among equally many units against a brute-force reading, and the power laws that are fitted to counts."""

import numpy as np
import oracle
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, t
from strategies import SEEDS

from rosetta.mining.plan import ranges
from rosetta.mining.shape.power_law import over_models, over_units
from rosetta.mining.shape.rarefaction import Rarefaction, rarefied, sizes


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ((31, 900), []),
        ((32, 32), [32]),
        ((960, 63), [32]),
        ((960, 30_000), [32, 64, 128, 256, 512]),
        ((5000, 70_000), [32, 64, 128, 256, 512, 1024, 2048, 4096]),
    ],
)
def test_sizes(units, expected):
    assert sizes(units) == expected


@settings(max_examples=15, deadline=None)
@given(
    seed=SEEDS, shape=st.tuples(st.integers(32, 70), st.integers(32, 70)), k=st.integers(1, 6), band=st.integers(1, 80)
)
def test_every_count_is_that_of_the_drawn_units_alone(seed, shape, k, band):
    random = np.random.default_rng(seed)
    # On a coarse scale, so that ties are common, with units that have no correlation.
    pearson = (random.integers(-20, 20, size=shape) / 20).astype(np.float32)
    pearson[random.integers(shape[0], size=3)] = np.nan
    pearson[:, random.integers(shape[1], size=3)] = np.nan
    draws = Rarefaction(shape, k, np.random.default_rng(seed), draws=2)
    for rows in ranges(shape[0], band):
        draws.add(rows, pearson[rows])
    found = draws.counts()
    again, expected = np.random.default_rng(seed), {}
    for draw in range(2):
        orders = [again.permutation(count) for count in shape]
        for size in sizes(shape):
            drawn = pearson[np.ix_(*(np.sort(order[:size]) for order in orders))]
            expected[size, draw] = len(oracle.buddies(drawn, k))
    assert {(row.units, row.draw): row.buddies for row in found.itertuples()} == expected


def table(counts: dict[int, list[int]], model: str = "d") -> pd.DataFrame:
    """Rows as in `tables/rarefaction.parquet`."""
    rows = [("g", model, units, draw, n) for units, found in counts.items() for draw, n in enumerate(found)]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "units", "draw", "buddies"])


def test_mean_and_deviation_over_draws():
    frame = pd.concat([table({32: [4, 6], 64: [10, 10]}, "z"), table({32: [1, 3]}, "a")])
    found = rarefied(frame)
    assert found["model_b"].tolist() == ["z", "z", "a"]
    assert found["units"].tolist() == [32, 64, 32]
    assert found["mean"].tolist() == [5, 10, 2]
    assert found["std"].tolist() == pytest.approx([2**0.5, 0, 2**0.5])


def test_a_power_law_over_units_is_found_with_an_interval_that_holds_it():
    exact = over_units(table({1 << power: [3 * (1 << power)] * 20 for power in range(5, 10)}))
    assert (exact.exponent, exact.low, exact.high) == pytest.approx((1, 1, 1))
    assert exact.prefactor == pytest.approx(3)
    assert exact.at(100) == pytest.approx(300)
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        counts = {1 << power: random.poisson(0.5 * (1 << power) ** 0.8, size=20).tolist() for power in range(5, 11)}
        law = over_units(table(counts))
        assert law.low < law.exponent < law.high
        covered += law.low <= 0.8 <= law.high
    assert covered >= 34


@given(exponent=st.floats(-2, 2), seed=SEEDS, models=st.integers(3, 12))
def test_a_power_law_over_models_is_that_of_a_regression(exponent, seed, models):
    random = np.random.default_rng(seed)
    size = random.integers(50, 50_000, size=models) + np.arange(models)
    count = 0.1 * size**exponent * np.exp(random.normal(scale=0.3, size=models))
    law, line = over_models(size, count), linregress(np.log(size), np.log(count))
    assert law.exponent == pytest.approx(line.slope, abs=1e-8)
    assert law.prefactor == pytest.approx(np.exp(line.intercept), rel=1e-6)
    half = t.ppf(0.975, models - 2) * line.stderr
    assert (law.low, law.high) == pytest.approx((line.slope - half, line.slope + half), abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "counts"), [([], []), ([10, 20], [1, 2]), ([10, 20, 40], [1, 2, 0]), ([10, 10, 10], [1, 2, 3])]
)
def test_too_few_models_have_no_power_law(sizes, counts):
    assert over_models(sizes, counts) is None


@pytest.mark.parametrize("counts", [{}, {32: [4, 5]}, {32: [0, 0], 64: [3, 4]}])
def test_too_few_sizes_have_no_power_law(counts):
    assert over_units(table(counts)) is None
