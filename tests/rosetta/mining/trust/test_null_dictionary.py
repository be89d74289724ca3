"""Counts of a dictionary beside their null."""

import numpy as np
import oracle
import pandas as pd
import planted
import pytest
from scipy import stats

from rosetta.mining.buddies import best_buddies, nearest_neighbours
from rosetta.mining.dictionary import cluster, rosetta_neurons
from rosetta.mining.trust.null_dictionary import CONCEPTS, NEURONS, NullCount, null_counts
from rosetta.units import Layer, Units


def counted(found: int, *null: int) -> NullCount:
    rows = {"exchange": range(1 + len(null)), "of": "concepts", "count": [found, *null]}
    (one,) = null_counts(pd.DataFrame(rows))
    return one


def test_what_is_found_is_compared_with_the_mean_of_the_null() -> None:
    one = counted(500, 10, 13, 7)
    assert (one.of, one.found, one.null_mean, one.ratio, one.fdr) == ("concepts", 500, 10.0, 50.0, 0.02)
    assert 1 < one.ratio_low < one.ratio < one.ratio_high
    assert (one.fdr_low, one.fdr_high) == pytest.approx((1 / one.ratio_high, 1 / one.ratio_low))


def test_a_run_finds_nothing_where_its_null_does_as_well() -> None:
    one = counted(10, 12, 8, 13)
    assert one.ratio_low < 1 < one.ratio_high
    assert one.fdr == one.fdr_high == 1.0


@pytest.mark.parametrize(
    ("found", "null", "ratio", "fdr"),
    [(50, (0, 0, 0), np.inf, 0.0), (0, (1, 2, 3), 0.0, 1.0), (0, (0, 0, 0), np.nan, np.nan), (7, (), np.nan, np.nan)],
)
def test_counts_of_nothing(found: int, null: tuple[int, ...], ratio: float, fdr: float) -> None:
    one = counted(found, *null)
    assert (one.ratio, one.fdr) == pytest.approx((ratio, fdr), nan_ok=True)
    if null:
        assert 0 <= one.ratio_low <= one.ratio_high
        assert 0 <= one.fdr_low <= one.fdr_high <= 1


def test_with_many_exchanges_the_interval_is_that_of_two_poisson_counts() -> None:
    null = stats.poisson.ppf((np.arange(1000) + 0.5) / 1000, 20).astype(int)
    one = counted(40, *null)
    low, high = stats.poisson.interval(0.95, 40)
    assert (one.ratio_low * 20, one.ratio_high * 20) == pytest.approx((low, high), rel=0.05)


@pytest.mark.parametrize(("mean", "dispersion"), [(0.7, 1.0), (6.0, 1.0), (150.0, 1.0), (6.0, 6.0), (150.0, 6.0)])
def test_the_interval_holds_1_in_19_of_20_where_found_is_one_more_of_the_null(mean: float, dispersion: float) -> None:
    """Counts scatter as Poisson's, or much more, as counts of units that go together do."""
    random = np.random.default_rng(0)
    rate = mean if dispersion == 1 else random.gamma(mean / (dispersion - 1), dispersion - 1, (400, 4))
    ratios = [counted(*row) for row in random.poisson(rate, (400, 4))]
    covered = np.mean([one.ratio_low <= 1 <= one.ratio_high for one in ratios])
    assert covered >= 0.95


def test_counts_come_in_the_order_of_the_table() -> None:
    frame = pd.DataFrame({"exchange": [0, 0, 1, 1], "of": ["b", "a", "a", "b"], "count": [6, 8, 2, 3]})
    assert [(one.of, one.ratio) for one in null_counts(frame)] == [("b", 2.0), ("a", 4.0)]


def test_a_model_may_be_called_concepts() -> None:
    frame = pd.DataFrame({"exchange": [0, 0, 1, 1], "of": "concepts", "count": [6, 8, 3, 2]})
    assert [one.ratio for one in null_counts(frame)] == [2.0, 4.0]


def dictionary(seed: int, shared: float, k: int = 3) -> list[NullCount]:
    """Counts of an anchor and two models of 40 units each, over 64 images, with three exchanges by quarters."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=(40 * 64, 3, 3))
    maps, units = {}, {}
    for name, grid in {"g": (6, 6), "d": (5, 6), "e": (6, 4)}.items():
        fields = [planted.sample(signal, grid), planted.smooth(random, 40 * 64, grid)]
        maps[name] = shared**0.5 * fields[0] + (1 - shared) ** 0.5 * fields[1]
        # Some units of a layer resemble others, as they do in networks.
        maps[name] = maps[name].reshape(40, 64, *grid).swapaxes(0, 1)
        maps[name][:, 30:] += maps[name][:, :10]
        units[name] = Units((Layer(name, 40, grid),))

    def buddies(model: str, offset: int):
        pearson = oracle.exchanged_pearson(maps, units["g"], units[model], 64, offset).astype(np.float32)
        upright = np.ascontiguousarray(pearson.T)
        same = model == "g"
        return best_buddies(nearest_neighbours(pearson, k, same=same), nearest_neighbours(upright, k, same=same))

    own, rows = buddies("g", 0), []
    for number in range(4):
        of_models = {model: buddies(model, 16 * number) for model in ("d", "e")}
        neurons = rosetta_neurons(of_models, 40)
        counts = {model: len(found) for model, found in of_models.items()}
        counts |= {NEURONS: len(neurons), CONCEPTS: len(cluster(neurons, own))}
        rows += [(number, of, count) for of, count in counts.items()]
    return null_counts(pd.DataFrame(rows, columns=["exchange", "of", "count"]))


def test_with_nothing_planted_found_is_no_more_than_the_null() -> None:
    covered: dict[str, list[bool]] = {}
    for seed in range(20):
        for one in dictionary(seed, shared=0.0):
            covered.setdefault(one.of, []).append(one.ratio_low <= 1 <= one.ratio_high)
    assert all(sum(seeds) >= 19 for seeds in covered.values()), covered


def test_what_is_planted_is_more_than_the_null() -> None:
    for seed in range(3):
        found = {one.of: one for one in dictionary(seed, shared=0.5, k=1)}
        assert found[NEURONS].ratio > 2
        assert all(found[model].ratio > 1.4 for model in ("d", "e"))
