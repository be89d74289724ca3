"""Killed anywhere, the same command goes on and ends with the same bytes."""

import os
import random
import signal
import time
from itertools import product
from pathlib import Path

import psutil
import pytest
import tinyzoo
from packaged import recipe_text

from storage.artifacts.catalogue import Instance
from storage.artifacts.layout import (
    arrays_in,
    attributes_of,
    chunk_file,
    file_grid,
    layers_of,
    markers,
    open_to_read,
    open_to_write,
)
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from storage.upkeep.expected import begun

pytestmark = pytest.mark.slow


def files(root: Path) -> int:
    # os.walk takes it in its stride that folders come and go.
    return sum(len(names) for _, _, names in os.walk(root))


def _stores(place: Root) -> list[Instance]:
    return begun(place, lambda artifact: artifact.kind == "store" and artifact.per != "search")


def in_place(root: Path) -> dict[str, int]:
    """When each chunk was written whose marker says that it is in; of stores that are finished, all of them."""
    place, found = Root(str(root)), {}
    for instance in _stores(place):
        store = instance.path
        try:
            group = open_to_read(Place(place, store))
        except (ValueError, FileNotFoundError):
            continue  # killed while it was laid out
        if "fingerprint" not in group.attrs:
            continue
        written, complete = markers(group), group.attrs["complete"]
        layers = layers_of(attributes_of(group))
        for name, array in arrays_in(group):
            for chunk in product(*map(range, file_grid(array))):
                entry = instance.artifact.entry(name, chunk, layers)
                file = chunk_file(f"{store}/{name}", array, chunk)
                if complete or (entry and written[entry]):
                    found[file] = (root / file).stat().st_mtime_ns
    return found


@pytest.mark.parametrize("kills", [2, pytest.param(24, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_kill_and_go_on(run, rosetta, tmp_path, kills, record_property):
    undisturbed, _ = run
    whole = files(undisturbed)
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(tmp_path / "root"))
    dice = random.Random(0)
    # Spread over the run: one kill in each stretch of the files that a run writes, at a random place in it.
    targets = [int(whole * (kill + dice.random()) / kills) for kill in range(kills)]
    killed, seen = 0, {}
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
        now = in_place(tmp_path / "root")
        again = [file for file, written in seen.items() if now.get(file) != written]
        assert again == [], f"made twice up to kill {killed}"
        seen = now
    assert killed >= kills - max(1, kills // 8), "most kills must meet a run that is under way"

    last = rosetta.json("mine", recipe)
    now = in_place(tmp_path / "root")
    assert [file for file, written in seen.items() if now[file] != written] == []
    dumped = [file for file in now if file.startswith("activations/") and "/activation/" in file]
    record_property("kills", killed)
    record_property("chunks in place before a kill", len(seen))
    assert len(dumped) > 20, "there was something to make twice"
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


def test_stopped_between_the_last_block_of_a_store_and_its_end(tiny, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tinyzoo.recipe_text(tmp_path / "root"))
    tiny.json("mine", recipe)
    place = Root(str(tmp_path / "root"))
    written = in_place(tmp_path / "root")
    buddies = (tmp_path / "root/tables/buddies.parquet").read_bytes()
    kinds = set()
    for instance in _stores(place):
        open_to_write(Place(place, instance.path)).attrs["complete"] = False
        kinds.add(instance.path.partition("/")[0])
    assert kinds == {"images.zarr", "activations", "features.zarr", "correlations", "profiles"}
    tiny.json("mine", recipe)
    again = {file for file, when in in_place(tmp_path / "root").items() if written[file] != when}
    arrays = {file.partition("/c/")[0] for file in again}
    assert not any("/bookkeeping/" in array for array in arrays)
    of_all_blocks = {"mean", "std", "rounding", "peak"}
    assert {Path(array).name for array in arrays} <= of_all_blocks, "which follow from the bookkeeping at the end"
    assert (tmp_path / "root/tables/buddies.parquet").read_bytes() == buddies
    assert tiny("check", tmp_path / "root").returncode == 0
