"""What a run says of itself while it works, and what it keeps of what each stage took."""

import io
import json
import re
import threading
from pathlib import Path

import dask
import numpy as np
import pytest
from command import Command
from planted import write_maps
from tinyzoo import recipe_text

from flows.command.console import narrated
from rosetta.errors import UserError
from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from storage.filesystem.traffic import counted
from tasks.cluster.engine import Capacity, Threads
from tasks.stage.logs import about, wants_json
from tasks.stage.metrics import forward, metered, saw_images
from tasks.stage.progress import log, track


@pytest.fixture(scope="module")
def mined(environment, tmp_path_factory):
    """A tiny run whose log was JSON, on two worker processes: its root, and the lines."""
    folder = tmp_path_factory.mktemp("journal")
    tests = Path(__file__).parents[2] / "helpers"
    extra = {"PYTHONPATH": f"{environment['PYTHONPATH']}:{tests}", "ROSETTA_LOG": "json"}
    recipe = folder / "tiny.toml"
    recipe.write_text(recipe_text(folder / "root") + 'cluster = "local"\nworkers = 2\n')
    done = Command({**environment, **extra})("mine", recipe, "--json")
    assert done.returncode == 0, done.stderr
    return folder / "root", [json.loads(line) for line in done.stderr.splitlines()], json.loads(done.stdout)


@pytest.mark.slow
def test_every_line_is_json_and_says_what_it_is_about(mined):
    root, lines, _ = mined
    for line in lines:
        assert {"time", "level", "message", "run", "root"} <= line.keys()
        assert (line["run"], line["root"]) == ("tiny", str(root))
    of_models = {line["model"] for line in lines if line.get("stage") == "dump" and "model" in line}
    assert of_models == {"painter", "ada", "bob"}
    assert {"dump", "correlate", "profile", "judge", "features", "report"} <= {line.get("stage") for line in lines}
    assert any(re.match(r"correlate \d+ pairs: \d+ done in ", line["message"]) for line in lines)


@pytest.mark.slow
def test_the_dashboard_is_named(mined):
    _, lines, _ = mined
    assert any(
        re.search(r"dashboard of 2 workers is at http://127\.0\.0\.1:\d+/status", line["message"]) for line in lines
    )


@pytest.mark.slow
def test_a_dump_on_workers_counts_the_images_of_all_models(mined):
    _, _, printed = mined
    (dump,) = [stage["metrics"] for stage in printed["stages"] if stage["name"].startswith("dump")]
    assert dump["images"] == 3 * 20
    assert dump["images_per_second"] > 0
    assert dump["waiting"] > 0


@pytest.mark.slow
def test_provenance_and_json_keep_what_each_stage_took(environment, tmp_path):
    """In one process; what workers read and write is not counted here."""
    tests, root, recipe = Path(__file__).parents[2] / "helpers", tmp_path / "root", tmp_path / "tiny.toml"
    recipe.write_text(recipe_text(root))
    printed = Command({**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tests}"}).json("mine", recipe)
    kept = json.loads((root / "provenance.json").read_text())["runs"][0]["stages"]
    assert kept == printed["stages"]
    taken = {stage["name"]: stage["metrics"] for stage in kept}
    pixels = sum(path.stat().st_size for path in (root / "images.zarr/pixels/c").rglob("*") if path.is_file())
    maps = sum(path.stat().st_size for path in (root / "activations/ada.zarr").rglob("*") if path.is_file())
    ada = taken["dump ada"]
    assert ada["images"] == taken["dump painter"]["images"] == taken["features"]["images"] == 20
    assert ada["images_per_second"] > 0
    assert ada["bytes_written"] >= maps
    assert ada["bytes_read"] >= pixels
    assert taken["report"]["images"] is None
    for entry in taken.values():
        for share in ("computing", "forward", "reading", "writing", "waiting"):
            assert 0 <= entry[share] <= 1
        assert entry["computing"] + entry["waiting"] == pytest.approx(1, abs=0.002)
    assert ada["forward"] > 0


@pytest.mark.slow
def test_plain_lines_are_as_they_were(environment, tmp_path):
    tests = Path(__file__).parents[2] / "helpers"
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_text(tmp_path / "root"))
    done = Command({**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tests}"})("mine", recipe)
    assert re.search(r"^dump ada: 20 done in \d+\.\d s$", done.stderr, re.MULTILINE)
    assert "{" not in done.stderr


def lines_of(work, monkeypatch, kind="json") -> list[str]:
    monkeypatch.setenv("ROSETTA_LOG", kind)
    heard = io.StringIO()
    monkeypatch.setattr("sys.stderr", heard)
    with narrated():
        work()
    return heard.getvalue().splitlines()


def test_progress_within_a_block_names_its_images(monkeypatch):
    monkeypatch.setattr("tasks.stage.progress._EVERY", 0.0)

    def work():
        with about(run="r", stage="dump", model="ada"), track("dump ada", 9) as advance:
            for start in (0, 4):
                with about(images=f"{start}-{start + 3}"):
                    advance(4)

    found = [json.loads(line) for line in lines_of(work, monkeypatch)]
    assert [line.get("images") for line in found] == ["0-3", "4-7", None]
    assert {(line["run"], line["stage"], line["model"]) for line in found} == {("r", "dump", "ada")}
    assert lines_of(lambda: log.info("just this"), monkeypatch, "plain") == ["just this"]


def test_a_log_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setenv("ROSETTA_LOG", "xml")
    with pytest.raises(UserError, match="ROSETTA_LOG=xml"):
        wants_json()


def test_threads_of_a_graph_count_for_the_stage_that_started_them(tmp_path):
    root = Root(str(tmp_path))
    write_maps(root, "a", {"layer": np.random.default_rng(0).normal(size=(64, 3, 8, 8))}, block=8)
    seen = set()

    def read(start):
        seen.add(threading.get_ident())
        return ActivationStore.read(root, "a").maps("layer", slice(start, start + 8)).sum()

    def lines(start):
        with about(images=str(start)):
            return read(start)

    with metered() as meter, metered() as other:
        pass
    with metered() as meter:
        parts = [dask.delayed(lines, pure=False)(start) for start in range(0, 64, 8)]
        Threads(Capacity(1, 2, fewer=True)).run(parts, lambda *_: None, 2)
    assert threading.get_ident() not in seen
    chunks = sum(path.stat().st_size for path in (tmp_path / "activations/a.zarr/layer/activation/c").rglob("*/0/0/0"))
    assert meter.traffic.read.bytes >= chunks > 0
    assert meter.traffic.written.bytes == 0
    assert meter.traffic.read.seconds > 0
    assert other.traffic.read.bytes == 0


def test_two_stages_at_once_do_not_count_each_other(tmp_path):
    root = Root(str(tmp_path))
    meters = {}

    def stage(name, count):
        with metered() as meter:
            meters[name] = meter
            for number in range(count):
                root.write_bytes(f"{name}/{number}", b"x" * 100)
            saw_images(count)
            with forward():
                pass

    threads = [threading.Thread(target=stage, args=(name, count)) for name, count in (("a", 5), ("b", 9))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: meter.traffic.written.bytes for name, meter in meters.items()} == {"a": 500, "b": 900}
    assert {name: meter.metrics().images for name, meter in meters.items()} == {"a": 5, "b": 9}


def test_nothing_is_counted_where_nobody_asks(tmp_path):
    Root(str(tmp_path)).write_bytes("x", b"1")
    with pytest.raises(LookupError):
        counted.get()
    with metered() as meter:
        assert counted.get() is meter.traffic
