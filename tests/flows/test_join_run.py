"""`rosetta join` as a user runs it: two runs into one page, what is left alone, what is checked, what is one line."""

import joined_runs
import numpy as np
import pytest
from command import refused
from joined_runs import Seen, units_of

from storage.artifacts.catalogue import JOIN_PAIRS, JOIN_RECORD, REPORT
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.status import status

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path):
    """Two runs of one generator over other images: 40 units that five factors of three models follow."""
    random = np.random.default_rng(1)
    factors = random.permutation(np.r_[:20, np.full(20, -1)])
    followed = {model: random.permutation(np.r_[:20, np.full(480, -1)]) for model in "de"}
    own = joined_runs.seen_factors(random, factors, factors)
    roots = []
    for seed, name in enumerate("ab"):
        seen = {
            model: Seen(units_of(250, 250), joined_runs.seen_factors(random, factors, followed[model]), model)
            for model in "de"
        }
        seen["c"] = Seen(units_of(9), random.normal(scale=0.1, size=(40, 9)).astype(np.float32), "c", control=True)
        roots.append(joined_runs.write(tmp_path / name, units_of(30, 10), own, seen, latents=seed))
    return roots


def test_two_runs_are_joined(tiny, runs, tmp_path):
    out = tmp_path / "joined"
    asked = ("join", *runs, "--root", out, "--split", "--exchanges", 1)
    found = tiny.json(*asked)
    assert [stage["outcome"] for stage in found["stages"]] == ["done"] * 3
    assert found["trusted"]["g-2"] >= 18
    assert found["concepts"] >= found["trusted_concepts"] > 0
    (own,) = (row for row in found["itself"] if row["through"] == "all" and row["of"] == "trusted")
    assert own["within_5"] == 1.0
    page = (out / "report/index.html").read_text()
    assert "g-1 and g-2" in page
    assert "(control)" in page
    assert (out / found["figure"]).stat().st_size > 0
    state = status(Root(str(out)))
    assert state.state == "complete"
    assert not check_root(Root(str(out)))
    before = (out / JOIN_PAIRS.path()).read_bytes()
    assert [stage["outcome"] for stage in tiny.json(*asked)["stages"]] == ["skipped"] * 3
    refused(tiny(*asked[:-1], 2), "join_pairs.parquet was made from something else (exchanges: 1 → 2)", "--replace")
    assert (out / JOIN_PAIRS.path()).read_bytes() == before
    again = tiny.json(*asked[:-1], 2, "--replace")
    assert [stage["outcome"] for stage in again["stages"]] == ["skipped", "done", "done"]
    path = out / JOIN_PAIRS.path()
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    assert [finding.artifact for finding in check_root(Root(str(out)))] == [JOIN_PAIRS.path()]
    path.unlink()
    assert status(Root(str(out))).state == "incomplete"


def test_check_names_the_command_that_writes_the_page_of_a_join(tmp_path):
    root = Root(str(tmp_path))
    root.write_bytes(JOIN_RECORD.path(), b"")
    root.write_bytes(f"{REPORT.path()}/pictures/0000-0.webp", b"")
    assert "has no index.html; rosetta join writes it" in [finding.problem for finding in check_root(root)]


def test_what_does_not_fit_is_one_line_and_writes_nothing(tiny, runs, tmp_path):
    out = tmp_path / "joined"
    refused(tiny("join", runs[0], "--root", out), "two runs or more")
    refused(tiny("join", runs[0], runs[0], "--root", out), "stands twice", "--split")
    refused(tiny("join", runs[0], tmp_path / "none", "--root", out), "holds no run")
    refused(tiny("join", *runs, "--root", runs[0]), "a root of its own")
    assert not out.exists()
