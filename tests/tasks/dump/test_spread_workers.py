"""Workers as users start them: which of them run models, and what one lacks is said before anything is written."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import tinyzoo
import torch
from spread_runs import connected, dumped, files, planned, worker

from flows.plan.gather import look
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.recipe import parse_recipe
from storage.artifacts.blocks import Blocks
from storage.artifacts.offered_weights import OfferedWeights
from storage.upkeep.check import check_run
from storage.upkeep.mend import mend
from tasks.cluster.engine import check_cluster
from tasks.cluster.reports import Report, listening
from tasks.dump.team import Team

MODELS = ("painter", "ada", "bob")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(2, 4))


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler, started by its command."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "Scheduler at:" in line)
    yield line.split()[-1]
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The folder that workers are started in."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def pair(scheduler, elsewhere):
    """Two workers, one of which says that it has a GPU; their scheduler's address, and theirs by name."""
    with (
        worker(scheduler, "--resources", "GPU=1", "--name", "with-gpu", cwd=elsewhere),
        worker(scheduler, "--name", "without", cwd=elsewhere),
        connected(scheduler, 2) as client,
    ):
        entries = client.scheduler_info(n_workers=-1)["workers"].items()
        yield scheduler, {entry["name"]: where for where, entry in entries}


def text(root: Path, weights: str = "") -> str:
    """A recipe over three models, with other weights for the second."""
    lines = tinyzoo.recipe_text(root, MODELS, count=30)
    return lines.replace('"random:1"', f'"{weights}"') if weights else lines


def test_a_worker_with_a_gpu_takes_all_forward_passes(tmp_path, pair):
    # No card is needed to see who does what: the resource decides, and the device is what the worker has.
    address, workers = pair
    single = dumped(planned(tmp_path / "single", text=text(tmp_path / "single")))
    assert check_cluster(address, "auto").workers == 2
    reports: list[Report] = []
    with listening(reports.append):
        made = dumped(planned(tmp_path / "spread", address, text(tmp_path / "spread"), device="auto"))
    assert {report.worker for report in reports} == {workers["with-gpu"]}
    assert sum(report.images for report in reports) == 3 * 30
    assert [path for path in made if made[path] != single.get(path)] == []


def test_without_a_gpu_asked_for_all_workers_take_part(tmp_path, pair):
    address, workers = pair
    reports: list[Report] = []
    with listening(reports.append):
        dumped(planned(tmp_path / "spread", address, text(tmp_path / "spread"), device="cpu"))
    assert {report.worker for report in reports} == set(workers.values())


def test_weights_that_workers_do_not_see_come_from_the_root(tmp_path, pair, monkeypatch):
    """They are named relative to the folder of the run, and workers were started in another."""
    address, _ = pair
    monkeypatch.chdir(tmp_path)
    torch.save(tinyzoo.small().state_dict(), "ada.pt")
    single = dumped(planned(tmp_path / "single", text=text(tmp_path / "single", "ada.pt")))
    plan = planned(tmp_path / "spread", address, text(tmp_path / "spread", "ada.pt"))
    made = dumped(plan)
    digest = plan.facts.weights["ada"]
    assert made.pop(f"weights/{digest}/ada.pt") == Path("ada.pt").read_bytes()
    assert made == single, "a store names the weights as the recipe does"


def test_a_damaged_copy_is_seen_and_copied_again(tmp_path, pair, monkeypatch):
    address, _ = pair
    monkeypatch.chdir(tmp_path)
    torch.save(tinyzoo.small().state_dict(), "ada.pt")
    plan = planned(tmp_path / "root", address, text(tmp_path / "root", "ada.pt"))
    copy = OfferedWeights(plan.root, plan.facts.weights["ada"])
    copy.offer(zoo.weights_files(plan.spec("ada")))
    assert copy.intact
    file = plan.root.local / copy.path / "ada.pt"
    file.write_bytes(b"other" + file.read_bytes()[5:])
    assert [(one.artifact, one.kind) for one in check_run(plan.root) if "weights" in one.artifact] == [
        (copy.path, "file")
    ]
    # Workers find a copy, and would refuse it: whoever has the file looks first.
    mend(plan.root)
    assert copy.files == []
    dumped(plan)
    assert copy.intact


def test_weights_that_nobody_can_give(tmp_path, pair, monkeypatch):
    address, _ = pair
    monkeypatch.chdir(tmp_path)
    torch.save(tinyzoo.small().state_dict(), "ada.pt")
    plan = planned(tmp_path / "root", address, text(tmp_path / "root", "ada.pt"))
    before = files(plan.root)
    monkeypatch.setattr(OfferedWeights, "offer", lambda *_: None)
    with pytest.raises(UserError, match=r"worker tcp://\S+ cannot read the weights of model 'ada': weights 'ada.pt'"):
        dumped(plan)
    assert files(plan.root) == before


def test_a_worker_that_lacks_the_code_of_a_model(tmp_path, pair, elsewhere):
    address, _ = pair
    plan = planned(tmp_path / "root", address, text(tmp_path / "root"))
    before = files(plan.root)
    with worker(address, cwd=elsewhere, path=elsewhere), connected(address, 3):
        expected = r"compute\.cluster: worker tcp://\S+ has no tinyzoo, which model 'painter' needs; install it there"
        with pytest.raises(UserError, match=expected):
            dumped(plan)
        assert files(plan.root) == before


def test_a_worker_that_comes_later_and_cannot_help_is_left_alone(tmp_path, pair, elsewhere, monkeypatch, caplog):
    address, workers = pair
    gathered, reports = Team.gathered, []
    with ExitStack() as late, listening(reports.append):

        def join(*given):
            team = gathered(*given)
            late.enter_context(worker(address, cwd=elsewhere, path=elsewhere))
            late.enter_context(connected(address, 3))
            return team

        monkeypatch.setattr(Team, "gathered", join)
        dumped(planned(tmp_path / "root", address, text(tmp_path / "root")))
    assert {report.worker for report in reports} == set(workers.values())
    assert "has no tinyzoo, which model 'painter' needs" in caplog.text
    assert "it takes no part" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_of_workers_is_none_that_this_process_needs(tmp_path, pair):
    recipe = parse_recipe(text(tmp_path), "tiny", changes=[f"compute.cluster={pair[0]}", "compute.device=cuda"])
    assert look(recipe)[1].device == "cpu"
    with pytest.raises(UserError, match=r"compute\.device: there is no cuda here"):
        look(parse_recipe(text(tmp_path), "tiny", changes=["compute.cluster=local", "compute.device=cuda"]))
