"""Thirty runs in a row in one process leave nothing behind that the first ones did not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RUNS, WARM = 30, 6


@pytest.fixture(scope="module")
def left(environment, tmp_path_factory):
    """What there was after each run."""
    folder = tmp_path_factory.mktemp("soak")
    scratch = folder / "scratch"
    scratch.mkdir()
    paths = {"PYTHONPATH": f"{environment['PYTHONPATH']}:{TESTS / 'helpers'}", "TMPDIR": str(scratch)}
    script = TESTS / "flows/many_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(RUNS)],
        env={**environment, **paths, "PREFECT_LOGGING_LEVEL": "CRITICAL"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == RUNS
    return found


pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(1800)]


def test_memory_is_flat(left, record_property):
    memory = [entry["memory"] for entry in left]
    # Runs on worker processes and runs on threads take turns; a few of both are compared with a few of both.
    early, late = max(memory[WARM - 3 : WARM]), max(memory[-3:])
    record_property("memory, late over early", round(late / early, 3))
    assert late <= 1.05 * early, [value >> 20 for value in memory]


@pytest.mark.parametrize("what", ["threads", "native_threads", "children", "sockets", "files", "temporary"])
def test_nothing_grows(left, what):
    for number, entry in enumerate(left[WARM:], WARM):
        assert entry[what] == left[WARM - 1][what], f"after run {number + 1}"


def test_what_stays_is_known(left):
    last = left[-1]
    # The tracker of multiprocessing, one for the whole process, once worker processes have been started.
    assert last["children"] == ["resource_tracker"]
    assert set(last["temporary"]) <= {"dask-scratch-space"}
    assert [entry["parts"] for entry in left] == [[]] * RUNS
