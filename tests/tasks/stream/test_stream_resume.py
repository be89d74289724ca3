"""A streamed run that is cut off anywhere, or is done by many, ends with the bytes of one that is not."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from distributed import Client
from spread_runs import connected, worker
from streamed_runs import KEEP, files, mined, planned

from flows.plan.stages import CORRELATE
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.cluster.reports import Report, listening
from tasks.plan import Plan
from tasks.stream.checkpoint import last_of, save, saved
from tasks.stream.finish import merged
from tasks.stream.part import stream_here, stream_part
from tasks.stream.sums import Sums

KEPT = f"images.keep={KEEP}"
OFTEN = "compute.checkpoint_minutes=0.000001"


def made(plan: Plan) -> dict[str, bytes]:
    """What must not depend on how it was made."""
    return files(plan.root, "correlations", "profiles")


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    return made(mined(tmp_path / "undisturbed", KEPT))


@pytest.mark.parametrize("lost", ["profiles/ada.zarr", "correlations/painter~bob.zarr"])
def test_what_got_lost_is_made_again_from_all_images(tmp_path: Path, undisturbed: dict[str, bytes], lost: str) -> None:
    plan = mined(tmp_path / "run", KEPT)
    plan.root.remove(lost)
    assert made(mined(tmp_path / "run", KEPT)) == undisturbed


class CutOffError(Exception):
    """As if the process had died."""


def cut_off_after(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die when it begins to add a block."""
    left, add = [blocks], Sums.add

    def adds(self: Sums, *arguments: Any) -> Any:
        if left[0] == 0:
            raise CutOffError
        left[0] -= 1
        return add(self, *arguments)

    monkeypatch.setattr(Sums, "add", adds)


@pytest.mark.parametrize("often", [(), (OFTEN,)], ids=["nothing saved", "saved each time"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, blocks: int, often: tuple[str, ...]
) -> None:
    with monkeypatch.context() as dying:
        cut_off_after(blocks, dying)
        with pytest.raises(CutOffError):
            mined(tmp_path / "cut", KEPT, *often)
    added: list[int] = []
    add = Sums.add
    monkeypatch.setattr(Sums, "add", lambda self, block, *rest: (added.append(block), add(self, block, *rest))[1])
    plan = mined(tmp_path / "cut", KEPT, *often)
    assert made(plan) == undisturbed
    assert min(added) == (blocks if often else 0)


def test_several_workers_add_up_to_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shares of three workers, one after the other, in a process that then finds all blocks done."""

    def shared(job: Any, part: str, blocks: Any, files: Any) -> Sums:
        for number in (2, 0, 1):
            stream_part(job, f"{part}{number}", blocks[number::3], files)
        return merged(job)

    monkeypatch.setattr("tasks.stream.stage.stream_here", shared)
    assert made(mined(tmp_path / "shared", KEPT)) == undisturbed


def test_a_cluster_of_workers_gives_the_same_bytes(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with local_processes(2) as address:
        plan = mined(tmp_path / "spread", KEPT, f"compute.cluster={address}")
    assert made(plan) == undisturbed


def test_a_torn_checkpoint_is_none(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    sums = {"one": torch.arange(3.0, dtype=torch.float64), "two": torch.zeros(0, 4)}
    save(root, 0, "me", "abc", sums, [4, 1], 0)
    save(root, 0, "me", "abc", {"one": sums["one"] * 2, "two": sums["two"]}, [4, 1, 7], 1)
    latest = last_of(root, 0, "me", "abc")
    assert latest is not None
    assert latest.blocks == (4, 1, 7)
    assert latest.values("one").tolist() == [0, 2, 4]
    metadata = tmp_path / "stream" / "0-me-b.zarr" / "zarr.json"
    metadata.write_text("{")
    (found,) = saved(root, 0, "abc")
    assert found.blocks == (4, 1)
    assert found.values("one").tolist() == [0, 1, 2]
    assert saved(root, 0, "of other sums") == []
    assert root.list("stream") == []


def test_a_damaged_sum_is_no_sum(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    save(root, 0, "me", "abc", {"one": torch.arange(3.0, dtype=torch.float64)}, [0], 0)
    chunk = tmp_path / "stream" / "0-me-a.zarr" / "one" / "c" / "0"
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.write_bytes(bytes(content))
    (found,) = saved(root, 0, "abc")
    with pytest.raises(ValueError, match="checksum"):
        found.values("one")


def test_other_maps_than_those_of_the_job_are_not_added_to_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(job: Any, *rest: Any) -> Sums:
        return stream_here(replace(job, stores=dict.fromkeys(job.stores, "other")), *rest)

    monkeypatch.setattr("tasks.stream.stage.stream_here", replaced)
    with pytest.raises(FileNotFoundError, match="not those that this work began with"):
        mined(tmp_path / "run", KEPT)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[2]]; from pathlib import Path; from streamed_runs import mined;"
        f"mined(Path(sys.argv[1]), {KEPT!r}, {OFTEN!r})"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), str(Path(__file__).parents[2] / "helpers")]
    killed = 0
    for patience in (4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 600.0):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    assert process.returncode == 0
    assert killed > 0
    assert made(planned(tmp_path / "killed", KEPT, OFTEN)) == undisturbed


@pytest.mark.slow
def test_a_killed_worker_costs_what_it_had_not_saved(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """Its share goes to the other worker, or to the one that takes its place."""
    with local_processes(2) as address, Client(address, set_as_default=False) as client:
        plan = mined(tmp_path / "run", KEPT, f"compute.cluster={address}", stop=CORRELATE)
        (victim, *_) = client.run(os.getpid).values()
        killed: list[Report] = []

        def kill(report: Report) -> None:
            if not killed and " " in report.model:  # of several models: of streaming
                killed.append(report)
                os.kill(victim, signal.SIGKILL)

        with listening(kill):
            plan = mined(tmp_path / "run", KEPT, OFTEN, f"compute.cluster={address}")
    assert killed
    assert made(plan) == undisturbed


@pytest.mark.slow
def test_a_worker_that_takes_the_place_of_the_only_one_goes_on(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cluster.engine._LOOK", 0.1)
    with (
        local_processes(0) as address,
        ExitStack() as workers,
        worker(address),
        connected(address, 1) as client,
    ):
        plan = mined(tmp_path / "run", KEPT, f"compute.cluster={address}", stop=CORRELATE)
        (victim,) = client.run(os.getpid).values()
        killed: list[Report] = []

        def kill(report: Report) -> None:
            if not killed and " " in report.model:  # of several models: of streaming
                killed.append(report)
                os.kill(victim, signal.SIGKILL)
                Thread(target=lambda: workers.enter_context(worker(address))).start()

        with listening(kill):
            plan = mined(tmp_path / "run", KEPT, OFTEN, f"compute.cluster={address}")
    assert killed
    assert made(plan) == undisturbed
