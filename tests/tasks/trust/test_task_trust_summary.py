"""What survives each test. A test that could be asked of nothing is not asked, which is not 0."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import TRUST_ROWS

from rosetta.mining.trust.survival import in_all, surviving
from rosetta.recipe import Trust
from tasks.trust.summary import Survival, Survivors

KNOBS = Trust()


def framed(rows) -> pd.DataFrame:
    columns = ["q_value", "replicates", "lift", "pearson_partial", "cluster"]
    return pd.DataFrame(rows, columns=columns).astype({"replicates": bool, "cluster": int})


def by_hand(rows) -> dict[str, int | None]:
    passed = {
        "chance": [q <= KNOBS.q for q, _, _, _, _ in rows],
        "replicates": [bool(replicates) for _, replicates, _, _, _ in rows],
        "lift": [lift > 0 for _, _, lift, _, _ in rows],
        "partial": [partial > KNOBS.partial for _, _, _, partial, _ in rows],
    }
    counts: dict[str, int | None] = {test: sum(flags) for test, flags in passed.items()}
    counts["trusted"] = sum(all(flags) for flags in zip(*passed.values(), strict=True))
    for test, place in {"chance": 0, "replicates": 0, "lift": 2, "partial": 3}.items():
        if rows and all(np.isnan(row[place]) for row in rows):
            counts[test] = None
    return counts


@given(TRUST_ROWS)
def test_counts_are_those_by_hand(rows):
    frame = framed(rows)
    assert in_all(frame, KNOBS) == by_hand(rows)
    of_groups = surviving(frame, KNOBS, frame["cluster"])
    for group in of_groups.index:
        expected = by_hand([row for row in rows if row[4] == group])
        found = {test: None if pd.isna(count) else count for test, count in of_groups.loc[group].items()}
        assert found == expected


@pytest.mark.parametrize(("lift", "told"), [(None, "not asked"), (0, "0")])
def test_what_was_not_asked_is_not_printed_as_a_number(capsys, lift, told):
    counts = {"chance": 233, "replicates": 288, "lift": lift, "partial": 350, "trusted": 0}
    row = Survival("untrained", True, 418, counts)
    Survivors((row,), ("something to note",)).print()
    heading, line, note = capsys.readouterr().out.splitlines()
    start = heading.index("beat controls")
    assert line[start : start + len("beat controls")].strip() == told
    assert note == "Note: something to note"
