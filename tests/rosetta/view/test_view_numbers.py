"""Numbers as people read them."""

import pytest

from rosetta.view.numbers import operations, significant


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.0, 3, "0"),
        (0.012345, 3, "0.0123"),
        (4.556, 3, "4.56"),
        (99.96, 3, "100"),
        (9.996, 3, "10.0"),
        (1234.5, 3, "1,230"),
        (-1234.5, 2, "−1,200"),
        (float("nan"), 3, "–"),
        (float("inf"), 2, "–"),
    ],
)
def test_significant_digits(value, digits, shown):
    assert significant(value, digits) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 FLOP"), (999, "999 FLOP"), (35_126_120_448, "35.1 GFLOP"), (10**18, "1 EFLOP")]
)
def test_operations(count, shown):
    assert operations(count) == shown
