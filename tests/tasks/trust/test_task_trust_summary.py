"""What survives each test. A test that could be put to nothing was not made, which is not 0."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import TRUST_ROWS

from rosetta.mining.trust.null_dictionary import null_counts
from rosetta.mining.trust.survival import in_all, surviving
from rosetta.mining.trust.tests import TESTS
from rosetta.recipe import Trust
from tasks.trust.summary import Survival, Survivors

KNOBS = Trust(tests=("chance", "replicates", "lift", "partial"))


def framed(rows) -> pd.DataFrame:
    columns = ["q_value", "replicates", "lift", "pearson_partial", "cluster"]
    frame = pd.DataFrame(rows, columns=columns).astype({"replicates": bool, "cluster": int})
    # All others were not made.
    return frame.assign(**{test.column: np.nan for test in TESTS if test.column not in frame})


def by_hand(rows) -> dict[str, int | None]:
    passed = {
        "chance": [q <= KNOBS.q for q, _, _, _, _ in rows],
        "replicates": [bool(replicates) for _, replicates, _, _, _ in rows],
        "lift": [lift > 0 for _, _, lift, _, _ in rows],
        "partial": [partial > KNOBS.partial for _, _, _, partial, _ in rows],
    }
    counts: dict[str, int | None] = {test.name: sum(passed.get(test.name, [])) for test in TESTS}
    counts["trusted"] = sum(all(flags) for flags in zip(*passed.values(), strict=True))
    for test, place in {"chance": 0, "replicates": 0, "lift": 2, "partial": 3}.items():
        if rows and all(np.isnan(row[place]) for row in rows):
            counts[test] = None
    return counts | {test.name: None for test in TESTS if rows and test.name not in passed}


@given(TRUST_ROWS)
def test_counts_are_those_by_hand(rows):
    frame = framed(rows)
    assert in_all(frame, KNOBS) == by_hand(rows)
    of_groups = surviving(frame, KNOBS, frame["cluster"])
    for group in of_groups.index:
        expected = by_hand([row for row in rows if row[4] == group])
        found = {test: None if pd.isna(count) else count for test, count in of_groups.loc[group].items()}
        assert found == expected


@given(TRUST_ROWS, st.booleans())
def test_what_a_table_calls_trusted_is(rows, trusted):
    assert in_all(framed(rows).assign(trusted=trusted), KNOBS)["trusted"] == trusted * len(rows)


def row(of="untrained", **counts) -> Survival:
    passing = {test.name: 100 + place for place, test in enumerate(TESTS)} | {"trusted": 71} | counts
    return Survival(of, of == "untrained", 418, passing)


def test_what_was_not_made_is_not_printed_as_a_number(capsys):
    Survivors((row(lift=None), row("lite0", lift=0)), ("something to note",), KNOBS.tests).print()
    heading, first, second, *_, note = capsys.readouterr().out.splitlines()
    place = slice(heading.index("beat controls"), heading.index("beat controls") + len("beat controls"))
    assert (first[place].strip(), second[place].strip()) == ("not made", "0")
    assert note == "Note: something to note"


@pytest.mark.parametrize("tests", [KNOBS.tests, Trust().tests, tuple(test.name for test in TESTS)])
def test_every_test_is_printed_once_and_those_that_decide_first(capsys, tests):
    name = "a-model-with-a-rather-long-name"
    Survivors((row(name), row("Rosetta neurons"), row("concepts")), (), tests).print()
    printed = capsys.readouterr().out
    assert all(len(line) <= 120 for line in printed.splitlines())
    decide, _, beside = printed.partition("Reported beside them:")
    for test in TESTS:
        count = str(row().passing[test.name])
        assert (decide if test.name in tests else beside).split().count(count) == 3
    assert decide.split().count("71") == 3
    assert bool(beside) == (len(tests) < len(TESTS))


def test_what_was_made_of_nothing_is_not_printed_beside(capsys):
    Survivors((row(within=None), row("lite0", within=None)), (), KNOBS.tests).print()
    printed = capsys.readouterr().out
    assert "robust" in printed
    assert "classes" not in printed


def test_the_null_stands_beside_the_counts(capsys):
    frame = pd.DataFrame(
        [
            (time, of, 30 + time if time else 175)
            for time in range(4)
            for of in ("concepts", "Rosetta neurons", "concepts")
        ],
        columns=["exchange", "of", "count"],
    )
    null = null_counts(frame)[1]
    found = Survivors((row(), replace(row("Rosetta neurons"), null=null)), (), KNOBS.tests)
    told = found.as_dict()
    assert told["tests"] == KNOBS.tests
    assert told["rows"][0]["null"] is None
    assert told["rows"][1]["null"]["fdr"] == pytest.approx(32 / 175)
    assert json.loads(json.dumps(told["rows"][1]["null"]))["found"] == 175
    found.print()
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split()[:5] == ["Rosetta", "neurons", "175", "32", "5.5"]
    assert "18 % (" in line
