"""The dictionary beside its null, in words."""

import math

import pytest

from rosetta.mining.trust.null_dictionary import NullCount
from rosetta.view import null_words

NAN, INF = math.nan, math.inf


def counted(found: int, mean: float, ratio: tuple[float, ...], fdr: tuple[float, ...], of: str = "Rosetta neurons"):
    return NullCount(of, found, mean, *ratio, *fdr)


CASES = {
    "175 neurons, 31 with images exchanged: false discovery rate 18 % (12–25 %)": counted(
        175, 31.3, (5.6, 4.0, 8.3), (0.179, 0.121, 0.251)
    ),
    "1,750 neurons, 0 with images exchanged: false discovery rate 0 % (0–0.2 %)": counted(
        1750, 0.0, (INF, 500.0, INF), (0.0, 0.0, 0.002)
    ),
    "0 neurons, 0.33 with images exchanged: false discovery rate 100 % (2.0–100 %)": counted(
        0, 1 / 3, (0.0, 0.0, 50.0), (1.0, 0.02, 1.0)
    ),
    "0 neurons, 0 with images exchanged": counted(0, 0.0, (NAN, 0.0, INF), (NAN, 0.0, 1.0)),
    "": counted(7, NAN, (NAN, NAN, NAN), (NAN, NAN, NAN)),
}


@pytest.mark.parametrize("told", CASES)
def test_of_neurons_in_a_phrase(told):
    like_named = counted(3, 2.0, (1.5, 1.0, 2.0), (0.7, 0.5, 1.0))
    assert null_words.phrase([like_named, CASES[told]] if told else [CASES[told]]) == told
    assert null_words.phrase([]) == ""


def test_ratios_and_what_is_not_a_number():
    assert null_words.ratio(counted(175, 31.3, (5.6, 4.0, INF), (0.2, 0.1, 0.3))) == "5.6 (4.0–∞)"
    assert null_words.ratio(counted(17500, 31.3, (558.9, 99.0, 1234.0), (0.2, 0.1, 0.3))) == "559 (99–1,234)"
    nothing = counted(7, NAN, (NAN, NAN, NAN), (NAN, NAN, NAN))
    assert (null_words.mean(nothing), null_words.ratio(nothing), null_words.rate(nothing)) == ("–", "–", "–")
    assert null_words.as_json(counted(1, 0.0, (INF, 2.0, INF), (0.0, 0.0, 0.5)))["ratio"] is None
