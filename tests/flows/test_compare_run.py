"""`rosetta compare` as a user runs it: two runs into tables and a page, or printed alone; what is one line."""

import compared_runs
import pandas as pd
import pytest
from command import refused
from compared_runs import Neuron

from storage.artifacts.catalogue import COMPARISON_OVERLAPS, COMPARISON_RECORD, REPORT
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.status import status

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path):
    """Two runs with six neurons each, four of them the same, in two concepts and one of each run alone."""
    shared = [Neuron(unit, unit % 2, {"d": unit, "e": unit}, 0.3 + unit / 10) for unit in range(4)]
    first = [*shared, *(Neuron(unit, 2) for unit in (10, 11))]
    second = [*shared, *(Neuron(unit, 2) for unit in (20, 21))]
    return [
        compared_runs.write(tmp_path / "a", first),
        compared_runs.write(tmp_path / "b", second, latents=1, neighbours=3),
    ]


def test_two_runs_are_compared(tiny, runs, tmp_path):
    out = tmp_path / "compared"
    asked = ("compare", *runs, "--root", out, "--exchanges", 20)
    found = tiny.json(*asked)
    assert [stage["outcome"] for stage in found["stages"]] == ["done", "done"]
    assert {"what": "matching.neighbours", "first": "2", "second": "3"} in found["differences"]
    row = next(row for row in found["overlaps"] if (row["of"], row["by"], row["layer"]) == ("all", "anchor", "all"))
    assert (row["first"], row["second"], row["both"], row["jaccard"]) == (6, 6, 4, 0.5)
    assert row["both_chance"] == pytest.approx(6 * 6 / 30)
    assert (found["concepts"]["matched"], found["concepts"]["same"]) == (2, 2)
    assert found["strengths"][0]["pearson"] == pytest.approx(1)
    page = (out / found["page"]).read_text()
    assert "4 of 6 neurons stay (1.2 by chance); the second run has 6." in page
    assert page.count('<article class="card joined"') == 2
    assert "concept 2, 2 neurons" in page
    assert status(Root(str(out))).state == "complete"
    assert not check_root(Root(str(out)))
    before = {path: path.read_bytes() for path in (out / "tables").iterdir()}
    assert [stage["outcome"] for stage in tiny.json(*asked)["stages"]] == ["skipped"] * 2
    refused(tiny(*asked[:-1], 21), "was made from something else (exchanges: 20 → 21)", "--replace")
    assert {path: path.read_bytes() for path in (out / "tables").iterdir()} == before
    again = tiny.json(*asked[:-1], 21, "--replace")
    assert [stage["outcome"] for stage in again["stages"]] == ["done"] * 2
    path = out / COMPARISON_OVERLAPS.path()
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    assert [finding.artifact for finding in check_root(Root(str(out)))] == [COMPARISON_OVERLAPS.path()]
    path.unlink()
    assert status(Root(str(out))).state == "incomplete"
    tiny.json(*asked[:-1], 21)
    assert len(pd.read_parquet(path)) == 12


def test_without_a_root_the_result_is_printed_alone(tiny, runs, tmp_path):
    there = sorted(tmp_path.rglob("*"))
    done = tiny("compare", *runs)
    assert done.returncode == 0, done.stderr
    assert "4 of 6 neurons stay (1.2 by chance); the second run has 6, p = " in done.stdout
    assert "2 of 3 concepts find a partner" in done.stdout
    assert "Report" not in done.stdout
    assert sorted(tmp_path.rglob("*")) == there


def test_check_names_the_command_that_writes_the_page_of_a_comparison(tmp_path):
    root = Root(str(tmp_path))
    root.write_bytes(COMPARISON_RECORD.path(), b"")
    root.write_bytes(f"{REPORT.path()}/pictures/1-0000.webp", b"")
    assert "has no index.html; rosetta compare writes it" in [finding.problem for finding in check_root(root)]


def test_what_does_not_fit_is_one_line_and_writes_nothing(tiny, runs, tmp_path):
    out = tmp_path / "compared"
    refused(tiny("compare", runs[0], "--root", out), "SECOND")
    refused(tiny("compare", runs[0], runs[0], "--root", out), "stands twice")
    refused(tiny("compare", *runs, "--root", runs[0]), "a root of its own")
    refused(tiny("compare", *runs, "--root", out, "--exchanges", 0), "exchanges")
    assert not out.exists()
