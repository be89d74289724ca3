"""Counts of a dictionary beside their null."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rosetta.mining.trust.null_dictionary import NullCount, null_counts


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


@pytest.mark.parametrize("mean", [0.7, 6.0, 150.0])
@pytest.mark.parametrize("dispersion", [1.0, 6.0])
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
