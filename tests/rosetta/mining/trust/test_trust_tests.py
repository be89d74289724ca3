"""The list of tests of trust: when a match passes, what is said of one that fails, and the documentation's table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.trust.tests import TESTS, failures, passing, unasked
from rosetta.recipe import Trust

NUMBERS = st.sampled_from([np.nan, -0.5, -0.001, 0.0, 0.05, 0.06, 0.1, 0.3])
MATCHES = st.lists(st.tuples(NUMBERS, st.booleans(), NUMBERS, NUMBERS), max_size=6)


def columns(matches) -> dict[str, np.ndarray]:
    rows = np.array(matches, dtype=float).reshape(-1, 4)
    return {
        "q_value": rows[:, 0], "replicates": rows[:, 1] == 1, "lift": rows[:, 2], "pearson_partial": rows[:, 3],
    }  # fmt: skip


@given(MATCHES, st.sampled_from([0.05, 0.06]), st.sampled_from([-0.5, 0.1]))
def test_a_match_passes_fails_or_was_not_asked(matches, q, partial):
    table, settings = columns(matches), Trust(q=q, partial=partial)
    passes, blank = passing(table, settings), unasked(table)
    sentences = failures(table, settings)
    for row, (q_value, replicates, lift, left) in enumerate(matches):
        expected = {"chance": q_value <= q, "replicates": replicates, "lift": lift > 0, "partial": left > partial}
        assert {name: flags[row] for name, flags in passes.items()} == {**expected, "trusted": all(expected.values())}
        missing = {"chance": q_value, "replicates": q_value, "lift": lift, "partial": left}
        assert {name: flags[row] for name, flags in blank.items()} == {k: np.isnan(v) for k, v in missing.items()}
        words = [test.word for test in TESTS if not expected[test.name] and not np.isnan(missing[test.name])]
        words += ["not judged"] * any(np.isnan(list(missing.values())))
        assert [word for word, _ in sentences[row]] == words


def test_a_failure_says_why_in_numbers_as_people_write_them():
    table = columns([(0.0643, False, -0.408, -0.0001), (np.nan, False, 0.2, 0.3)])
    assert failures(table, Trust()) == [
        [
            ("chance", "q 0.0643: chance explains it"),
            ("halves", "not a match in both halves of the images"),
            ("control", "a control does as well (lift −0.41)"),
            ("pixels", "pixels explain it (partial 0.00)"),
        ],
        [("not judged", "some of the tests could not be made")],
    ]


@pytest.mark.parametrize("field", ["name", "word", "column"])
def test_tests_are_told_apart(field):
    assert len({getattr(test, field) for test in TESTS}) == len(TESTS)
