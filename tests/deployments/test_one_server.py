"""Whichever cluster a recipe names, one Prefect server; workers that share the cores; one version of Dask."""

import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import psutil
import pytest
import torch
from distributed import Client
from prefect_server import REPOSITORY

from rosetta.errors import UserError
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from tasks.cluster.engine import check_cluster, local_processes

pytestmark = pytest.mark.slow


@contextmanager
def servers() -> Iterator[dict[int, str]]:
    """Processes under this one, by id, that serve Prefect's API at any time while this lasts."""
    found: dict[int, str] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    words = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                # As a command, and as Prefect starts one for a run that knows of none.
                if "prefect server start" in words or "prefect.server.api.server:create_app" in words:
                    found[process.pid] = words

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


@contextmanager
def workers(address: str, environment: dict[str, str], count: int = 2) -> Iterator[None]:
    """Worker processes of a scheduler, as a user starts them; no nanny sets the threads of libraries for them."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    started = [
        subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.DEVNULL, env=environment) for _ in range(count)
    ]
    try:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def torch_threads(address: str) -> list[int]:
    """Of the thread of each worker that works."""
    with Client(address, set_as_default=False) as client:
        names = list(client.scheduler_info(n_workers=-1)["workers"])
        return client.gather([client.submit(torch.get_num_threads, workers=[name], pure=False) for name in names])


def test_a_deployment_mines_on_two_workers_by_address(worked, recipe, tmp_path):
    with local_processes(0) as address, workers(address, worked.environment), servers() as found:
        assert torch_threads(address) == [2, 2], "as OMP_NUM_THREADS says, before there is any work"
        before = set(found)
        changes = f'changes=["compute.cluster={address}", "images.count=64"]'
        seen = len(worked.runs("faces", "mine"))
        worked.must("deployment", "run", "mine/faces", "--param", f"recipe={recipe}", "--param", changes)
        run = worked.ended("faces", "mine", seen=seen)
        assert run["state_name"] == "Completed", run["state"]["message"]
        assert torch_threads(address) == [1, 1]
        with Client(address, set_as_default=False) as client:
            # Both had work, and neither knows of a run of Prefect's.
            done = client.run(lambda dask_worker: dask_worker.state.executed_count)
            assert min(done.values()) > 1
            assert not any(client.run(lambda: "prefect" in sys.modules).values())
    assert set(found) == before, "the one that the worker of the pool reports to is enough"
    root = tmp_path / "root"
    assert check_root(Root(str(root))) == []
    threads = tmp_path / "threads"
    words = [sys.executable, "-m", "flows.command.main", "mine", recipe, "--root", threads, "--set", "images.count=64"]
    subprocess.run(list(map(str, words)), env=worked.environment, check=True, capture_output=True, timeout=200)
    for table in ("buddies", "trust", "rosetta"):
        one, other = (pd.read_parquet(place / f"tables/{table}.parquet") for place in (root, threads))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("cluster", [pytest.param("threads", marks=pytest.mark.soak), "local"])
def test_one_server_of_the_runs_own_where_none_is_configured(prefect, recipe, tmp_path, cluster):
    environment = {key: value for key, value in prefect.environment.items() if key != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(tmp_path / "home")
    words = [sys.executable, "-m", "flows.command.main", "mine", str(recipe), "--set", f"compute.cluster={cluster}"]
    with servers() as found:
        time.sleep(0.5)
        before = set(found)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert len(set(found) - before) == 1

    with servers() as found:
        again = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert "Nothing to do" in again.stdout
    assert set(found) == before, "a run that has nothing to do starts none"


def test_a_scheduler_with_another_dask(tmp_path):
    # What a process takes for its version is what the first metadata on its path say.
    other = tmp_path / "distributed-2025.1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: distributed\nVersion: 2025.1.0\n")
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    scheduler = subprocess.Popen(
        [*command, "--no-dashboard"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert scheduler.stderr is not None
        line = next(line for line in scheduler.stderr if "Scheduler at" in line)
        address = re.search(r"tcp://[0-9.:]+", line).group()
        threading.Thread(target=scheduler.stderr.read, daemon=True).start()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Dask's own table of versions would follow our line
            wanted = r"the scheduler of tcp://\S+ has distributed 2025\.1\.0 and this process has"
            with pytest.raises(UserError, match=wanted):
                check_cluster(address, "auto")
    finally:
        scheduler.terminate()
        scheduler.wait(30)
