"""Killed anywhere, the same command goes on and ends with the same bytes."""

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from packaged import recipe_text

pytestmark = pytest.mark.slow


def files(root: Path) -> int:
    # os.walk takes it in its stride that folders come and go.
    return sum(len(names) for _, _, names in os.walk(root))


@pytest.mark.parametrize("kills", [3, pytest.param(24, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_kill_and_go_on(run, rosetta, tmp_path, kills):
    undisturbed, _ = run
    whole = files(undisturbed)
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(tmp_path / "root"))
    dice = random.Random(0)
    # Spread over the run: one kill in each stretch of the files that a run writes, at a random place in it.
    targets = [int(whole * (kill + dice.random()) / kills) for kill in range(kills)]
    killed = 0
    for target in targets:
        process = rosetta.start("mine", recipe)
        while process.poll() is None:
            if files(tmp_path / "root") >= target:
                time.sleep(dice.random() * 0.02)
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        process.communicate()
    assert killed >= kills - max(1, kills // 8), "most kills must meet a run that is under way"

    last = rosetta.json("mine", recipe)
    for table in ("units", "buddies", "trust", "rosetta", "clusters"):
        path = f"tables/{table}.parquet"
        assert (tmp_path / "root" / path).read_bytes() == (undisturbed / path).read_bytes(), table
    assert rosetta("check", tmp_path / "root").returncode == 0
    outcomes = {stage["name"]: stage["outcome"] for stage in last["stages"]}
    assert outcomes["dump dcgan"] == "skipped", "what was complete before the last kill is not done again"
    assert not list((tmp_path / "root").rglob("*.part"))


def test_a_killed_run_leaves_no_server(environment, rosetta, tmp_path):
    alone = type(rosetta)({key: value for key, value in environment.items() if key != "PREFECT_API_URL"})
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(tmp_path / "root"))
    process = alone.start("mine", recipe)
    deadline = time.monotonic() + 60
    while not (servers := psutil.Process(process.pid).children(recursive=True)):
        assert time.monotonic() < deadline, "the embedded server does not start"
        time.sleep(0.05)
    time.sleep(3)  # well into its start
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs(servers, timeout=20)[1]
