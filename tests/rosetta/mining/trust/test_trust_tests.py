"""The list of tests of trust: when a match passes, what is said of one that fails, and the documentation's table."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.errors import UserError
from rosetta.mining.trust.tests import TESTS, failures, passing, require_known, unasked
from rosetta.recipe import Trust

NUMBERS = st.sampled_from([np.nan, -0.5, -0.001, 0.0, 0.05, 0.06, 0.1, 0.3])
FOUR = ("chance", "replicates", "lift", "partial")
MATCHES = st.lists(st.tuples(NUMBERS, st.booleans(), NUMBERS, NUMBERS), max_size=6)


def columns(matches) -> dict[str, np.ndarray]:
    rows = np.array(matches, dtype=float).reshape(-1, 4)
    blank = {test.column: np.full(len(rows), np.nan) for test in TESTS}
    return blank | {
        "q_value": rows[:, 0], "replicates": rows[:, 1] == 1, "lift": rows[:, 2], "pearson_partial": rows[:, 3],
    }  # fmt: skip


@given(MATCHES, st.sampled_from([0.05, 0.06]), st.sampled_from([-0.5, 0.1]), st.sets(st.sampled_from(FOUR), min_size=1))
def test_a_match_passes_fails_or_could_not_be_tested(matches, q, partial, asked):
    table, settings = columns(matches), Trust(q=q, partial=partial, tests=tuple(asked))
    passes, blank = passing(table, settings), unasked(table)
    sentences = failures(table, settings)
    for row, (q_value, replicates, lift, left) in enumerate(matches):
        expected = {"chance": q_value <= q, "replicates": replicates, "lift": lift > 0, "partial": left > partial}
        assert {name: passes[name][row] for name in FOUR} == expected
        assert passes["trusted"][row] == all(expected[name] for name in asked)
        missing = {"chance": q_value, "replicates": q_value, "lift": lift, "partial": left}
        assert {name: blank[name][row] for name in FOUR} == {k: np.isnan(v) for k, v in missing.items()}
        fails = {name for name in asked if not expected[name] and not np.isnan(missing[name])}
        words = [test.word for test in TESTS if test.name in fails]
        words += ["not judged"] * any(np.isnan(missing[name]) for name in asked)
        assert [word for word, _ in sentences[row]] == words


def test_a_failure_says_why_in_numbers_as_people_write_them():
    table = columns([(0.0643, False, -0.408, -0.0001), (np.nan, False, 0.2, 0.3)])
    assert failures(table, Trust(tests=FOUR)) == [
        [
            ("chance", "q 0.0643: chance explains it"),
            ("halves", "not a match in both halves of the images"),
            ("control", "a control does as well (lift −0.41)"),
            ("pixels", "pixels explain it (partial 0.00)"),
        ],
        [("not judged", "some of the tests could not be made")],
    ]


def test_a_match_that_neither_half_chooses_fails_to_hold_on_new_images():
    table = {**columns([(0.01, True, 0.1, 0.1)] * 3), "pearson_held_out": np.array([0.4, 0.02, np.nan])}
    settings = Trust(tests=("held_out",))
    assert not unasked(table)["held_out"].any()
    assert [[sentence for _, sentence in one] for one in failures(table, settings)] == [
        [], ["little is left on images that did not choose it (held out 0.02)"],
        ["neither half of the images chooses it"],
    ]  # fmt: skip
    assert unasked(columns([(0.01, True, 0.1, 0.1)]))["held_out"].all(), "of an older version, which has no such column"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tests": ["chance", "exces"]}, "trust.tests: there is no test 'exces'; did you mean 'excess' or"),
        ({"tests": ["robust"], "leave_out": ["maps"]}, "trust.tests asks for 'robust', and trust.leave_out leaves"),
    ],
)
def test_tests_that_cannot_be_asked_for_are_refused(settings, says):
    with pytest.raises(UserError, match=re.escape(says)):
        require_known(Trust(**settings))


@pytest.mark.parametrize("field", ["name", "word", "column"])
def test_tests_are_told_apart(field):
    assert len({getattr(test, field) for test in TESTS}) == len(TESTS)
