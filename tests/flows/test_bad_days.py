"""What befalls a run, and that the same command goes on to the same bytes."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import tinyzoo
from damage import flip
from packaged import recipe_text

from storage.artifacts.catalogue import AGREED
from storage.filesystem.root import Root
from storage.upkeep.check import check_root

pytestmark = pytest.mark.slow

TABLES = ("units", "buddies", "trust", "rosetta", "clusters")


@pytest.fixture
def write(tmp_path):
    """A recipe file for the small run under a root of one's own."""

    def write(root: Path | None = None) -> Path:
        path = tmp_path / "small.toml"
        path.write_text(recipe_text(root or tmp_path / "root"))
        return path

    return write


@pytest.fixture
def alone(rosetta, environment):
    """The command, with a server of its own."""
    return type(rosetta)({key: value for key, value in environment.items() if key != "PREFECT_API_URL"})


def same_tables(root: Path, undisturbed: Path) -> bool:
    files = [f"tables/{table}.parquet" for table in TABLES]
    return [(root / file).read_bytes() for file in files] == [(undisturbed / file).read_bytes() for file in files]


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def wait_for(there: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_two_at_once_the_second_says_who_holds_the_root(tiny, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tinyzoo.recipe_text(tmp_path / "root"))
    first = tiny.start("mine", recipe)
    wait_for((tmp_path / "root" / "run.lock").exists, first)
    first.send_signal(signal.SIGSTOP)  # or it could end before the second looks
    second = tiny("mine", recipe)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"is in use by process {first.pid} on" in second.stderr.splitlines()[-1]
    _, said = first.communicate(timeout=240)
    assert first.returncode == 0, said
    assert check_root(Root(str(tmp_path / "root"))) == []
    assert not (tmp_path / "root" / "run.lock").exists()


def test_a_killed_server_is_started_again(run, alone, write, tmp_path):
    process = alone.start("mine", write())
    wait_for((tmp_path / "root/activations/lite0.zarr").exists, process)
    servers = [
        child
        for child in psutil.Process(process.pid).children()
        if any(word.startswith("prefect.server") for word in words_of(child))
    ]
    assert len(servers) == 1
    servers[0].kill()
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "server ended and is restarted" in said
    assert same_tables(tmp_path / "root", run[0])


@pytest.mark.soak
def test_a_killed_worker_costs_what_it_was_at(run, rosetta, write, tmp_path):
    process = rosetta.start("mine", write(), "--set", "compute.cluster=local", "--set", "compute.workers=2")
    workers: list[psutil.Process] = []

    def begun() -> bool:
        workers[:] = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if any("spawn_main" in word for word in words_of(child))
        ]
        return len(workers) >= 2 and (tmp_path / "root/correlations").exists()

    wait_for(begun, process)
    workers[0].kill()
    _, said = process.communicate(timeout=240)
    if process.returncode:
        assert rosetta("mine", write()).returncode == 0, said
    assert same_tables(tmp_path / "root", run[0])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 20 MB, and a function that mounts it anew with other options."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place, lambda options: subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(run, rosetta, write, small_disk):
    place, mount = small_disk
    recipe = write(place / "root")
    done = rosetta("mine", recipe)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"rosetta: {place}/root: the disk is full; fix that")
    assert "Traceback" not in done.stderr
    mount("size=300m")
    again = rosetta.json("mine", recipe)
    assert {stage["name"]: stage["outcome"] for stage in again["stages"]}["dump dcgan"] == "skipped"
    assert same_tables(place / "root", run[0])
    assert check_root(Root(str(place / "root"))) == []


@pytest.mark.soak
def test_a_disk_that_can_only_be_read_any_more(run, rosetta, write, small_disk):
    place, mount = small_disk
    mount("size=300m")
    recipe = write(place / "root")
    process = rosetta.start("mine", recipe)
    wait_for((place / "root/activations/mobilenet.zarr").exists, process)
    mount("ro")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 2, said
    assert "it is read-only; fix that" in said.splitlines()[-1]
    mount("rw")
    assert rosetta("mine", recipe).returncode == 0
    assert same_tables(place / "root", run[0])


@pytest.mark.parametrize(("rounds", "flips"), [(1, 25), pytest.param(8, 25, marks=pytest.mark.soak)])
def test_any_flipped_bit_is_named_and_mended(run, rosetta, tmp_path, rounds, flips, record_property):
    root = tmp_path / "root"
    shutil.copytree(run[0], root)
    search = ("3:6", "--steps", 4, "--batch", 2)
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(run[0]))
    # The page and the recipe name their root.
    shutil.rmtree(root / "report")
    assert rosetta.json("mine", recipe, "--root", root)["mended"] == []
    rosetta.json("report", root, "--figure", 0)
    rosetta.json("invert", root, *search)
    rosetta.json("report", root)  # it lists the inversions that are there
    before = content(root)
    counted = 0
    for seed in range(rounds):
        # The seal of a file that is damaged as well could not say so.
        flipped = [file for file in flip(root, flips, seed) if not file.startswith("seals/")]
        found = check_root(Root(str(root)))
        named = {finding.artifact for finding in found if finding.kind != "seal"}
        missed = [file for file in flipped if not any(file == one or file.startswith(f"{one}/") for one in named)]
        assert missed == []
        counted += len(flipped)
        assert rosetta("check", root).returncode == 2
        mended = rosetta.json("mine", recipe, "--root", root, "--mend")["mended"]
        assert len(mended) >= len(found)
        # These are no part of a run: mending takes away what is damaged, and the command that made it makes it again.
        rosetta.json("invert", root, *search)
        rosetta.json("report", root, "--figure", 0)
        rosetta.json("report", root)
        assert check_root(Root(str(root))) == []
        after = content(root)
        assert {file for file in before | after if before.get(file) != after.get(file)} <= {
            "provenance.json", "seals/provenance.json.json", AGREED,
        }  # fmt: skip
    record_property("flips that were named and mended", counted)
    record_property("files", len(before))


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_mending_does_again_just_what_was_damaged(run, rosetta, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(run[0], root)
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(root))
    rosetta.json("mine", recipe)
    chunk = root / "correlations/dcgan~lite0.zarr/pearson/c/0/0"
    whole = (root / "correlations/dcgan~mobilenet.zarr/pearson/c/0/0").stat().st_mtime_ns
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (root / "tables/clusters.parquet").unlink()
    outcomes = {stage["name"]: stage["outcome"] for stage in rosetta.json("mine", recipe, "--mend")["stages"]}
    assert {name for name, outcome in outcomes.items() if outcome == "done"} == {"correlate", "dictionary"}
    assert (root / "correlations/dcgan~mobilenet.zarr/pearson/c/0/0").stat().st_mtime_ns == whole
    assert same_tables(root, run[0])


def test_damage_that_is_met_is_one_line(run, rosetta, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(run[0], root)
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(root))
    shutil.rmtree(root / "correlations/dcgan~lite0.zarr")
    chunk = next(path for path in (root / "activations/lite0.zarr").rglob("activation/c/*/*/*/*"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    met = rosetta("mine", recipe)
    assert met.returncode == 2
    assert met.stderr.splitlines()[-1] == (
        f"rosetta: {root}: an artifact is damaged;"
        f" rosetta check {root} names it, rosetta mine RECIPE --mend rebuilds it"
    )
    assert "Traceback" not in met.stderr
    outcomes = {stage["name"]: stage["outcome"] for stage in rosetta.json("mine", recipe, "--mend")["stages"]}
    assert {outcomes[stage] for stage in ("dump lite0", "correlate")} == {"done"}
    assert outcomes["dump dcgan"] == "skipped"
    assert same_tables(root, run[0])
