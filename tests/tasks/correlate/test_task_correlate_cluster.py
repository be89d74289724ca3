"""The correlation stage on real worker processes: the same bytes anywhere, and what a death costs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import dask
import numpy as np
import pytest
from distributed import Client
from stores import LAYERS, fill, least, side

from rosetta.errors import UserError
from rosetta.units import Layer
from storage.artifacts import catalogue, nearest
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.cluster.absence import Absence
from tasks.cluster.engine import check_cluster, engine, local_processes, part
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting
from tasks.stage.progress import tracker

BIG = {
    "a": (Layer("one", 1000, (12, 12)), Layer("two", 100, (9, 13))),
    "b": (Layer("x", 1030, (12, 11)),),
}
COUNT = 192
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def address():
    with local_processes(2) as found:
        yield found


@pytest.fixture(scope="module")
def big(tmp_path_factory) -> Root:
    """Stores of several panels a side."""
    root = Root(str(tmp_path_factory.mktemp("big")))
    for name in BIG:
        fill(root, name, layers=BIG[name], count=COUNT)
    root.write_bytes("recipe.toml", b"")
    return root


@pytest.fixture(scope="module")
def whole(big) -> np.ndarray:
    """What threads make of it."""
    return result(big, Setting(threads=2))


def result(root: Root, setting: Setting, pair: str = "ab") -> np.ndarray:
    root.remove(catalogue.CORRELATIONS.path(*pair))
    correlate(root, {tuple(pair): fingerprint("c")}, setting)
    return CorrelationStore.read(root, *pair).pearson()


@contextmanager
def on_part(act):
    """Call `act` with the number of parts done, each time one is."""

    @contextmanager
    def tracking(title, total):
        done = 0

        def advance(more):
            nonlocal done
            done += more
            act(done)

        yield advance

    token = tracker.set(tracking)
    try:
        yield
    finally:
        tracker.reset(token)


def test_workers_make_the_same_bytes_as_threads(big, whole, address):
    parts = []
    with on_part(parts.append):
        np.testing.assert_array_equal(result(big, Setting(cluster=address)), whole)
    assert parts == [1, 2, 3], "progress is told part by part"


def test_neighbours_from_workers(big, address):
    result(big, Setting(threads=2))
    of_matrix = nearest.neighbours(big, "a", "b", 7)
    big.remove(catalogue.CORRELATIONS.path("a", "b"))
    correlate(big, {("a", "b"): fingerprint("c")}, Setting(cluster=address, keep="neighbours"))
    for one, other in zip(of_matrix, nearest.neighbours(big, "a", "b", 7), strict=True):
        np.testing.assert_array_equal(one.unit, other.unit)
        np.testing.assert_array_equal(one.pearson, other.pearson)


def test_spearman_from_workers(tmp_path, address):
    root = Root(str(tmp_path))
    for name in LAYERS:
        fill(root, name)
    root.write_bytes("recipe.toml", b"")
    ranked = [result(root, Setting(cluster=where, correlation="spearman")) for where in ("threads", address)]
    np.testing.assert_array_equal(*ranked)


def test_a_killed_worker_costs_only_its_own_parts(big, whole):
    with local_processes(2) as address, Client(address, set_as_default=False) as client:
        victim, _ = client.run(os.getpid).values()
        parts = []

        def kill(done: int) -> None:
            parts.append(done)
            if done == 2:
                os.kill(victim, signal.SIGKILL)

        with on_part(kill):
            np.testing.assert_array_equal(result(big, Setting(cluster=address)), whole)
        assert victim not in client.run(os.getpid).values()
        in_all = []
        with on_part(in_all.append):
            result(big, Setting(threads=2))
        assert len(in_all) <= len(parts) <= len(in_all) + 3, "what the other worker had done was not done again"


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.correlate import tiles
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting
import tasks.correlate.graph as graph

written = 0
def write_tile(job, tile, moments):
    global written
    if written == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    tiles.write_tile(job, tile, moments)
    written += 1

graph.write_tile = write_tile
correlate(Root(sys.argv[1]), {("a", "b"): fingerprint("c")}, Setting(memory=int(sys.argv[2])))
"""


def test_finished_tiles_outlive_a_killed_run(big, whole):
    big.remove(catalogue.CORRELATIONS.path("a", "b"))
    little = least(*(side(name, BIG[name], COUNT) for name in BIG))
    arguments = [sys.executable, "-c", KILLED, big.url, str(little)]
    done = subprocess.run(arguments, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False)
    assert done.returncode == -signal.SIGKILL
    store = CorrelationStore.open(big, fingerprint("c"), "a", "b")
    missing = ~store.written()
    assert 0 < missing.sum() < missing.size
    chunks = {
        path: path.stat().st_mtime_ns
        for path in (big.local / catalogue.CORRELATIONS.path("a", "b") / "pearson").rglob("c/*/*")
    }
    assert len(chunks) == missing.size - missing.sum()
    time.sleep(0.02)
    correlate(big, {("a", "b"): fingerprint("c")}, Setting(memory=little))
    np.testing.assert_array_equal(CorrelationStore.read(big, "a", "b").pearson(), whole)
    assert {path: path.stat().st_mtime_ns for path in chunks} == chunks


@contextmanager
def worker(address: str, *options: str, script: Path | None = None, cwd: Path | None = None):
    """A worker as a user starts it."""
    command = [script] if script else ["-m", "distributed.cli.dask_worker"]
    process = subprocess.Popen(
        [sys.executable, *command, address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *options],
        cwd=cwd,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_workers_with_a_gpu_multiply_what_others_prepare(big, whole):
    # No GPU is needed to see who does what: the resource decides, and the device is what the worker has.
    with (
        local_processes(0) as address,
        worker(address, "--resources", "GPU=1", "--name", "with-gpu"),
        worker(address, "--name", "without"),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        workers = {entry["name"]: where for where, entry in client.scheduler_info()["workers"].items()}
        assert check_cluster(address, "cuda").workers == 2
        found = result(big, Setting(cluster=address, device="auto"))
        np.testing.assert_allclose(found, whole, atol=1e-6, rtol=0)
        assert {where for _, (where, _) in client.get_events("rosetta-part")} == {workers["with-gpu"]}


def test_a_root_that_workers_do_not_see(tmp_path, address):
    root = Root(str(tmp_path))
    for name in LAYERS:
        fill(root, name)
    with pytest.raises(UserError, match="does not see the run's root"):
        correlate(root, {("a", "b"): fingerprint("c")}, Setting(cluster=address))
    assert not root.exists(catalogue.CORRELATIONS.path("a", "b"))


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr("tasks.cluster.engine._PATIENCE", "1s")
    with pytest.raises(UserError, match=r"nobody answers at tcp://127\.0\.0\.1:9; start a scheduler there"):
        check_cluster("tcp://127.0.0.1:9", "auto")


def test_a_gpu_asked_of_a_cluster_without(address):
    with pytest.raises(UserError, match=r"no worker of tcp://.* has a GPU; start some with"):
        check_cluster(address, "cuda")
    assert check_cluster(address, "auto").workers == 2


def test_workers_are_seen_while_the_client_asks_for_something_else(address):
    """A timer of the client asks its scheduler about everything but the workers, and keeps the answer."""
    with dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}):
        check_cluster.cache_clear()
        assert [_asked(address) for _ in range(20)] == [2] * 20


def _asked(address: str) -> int:
    check_cluster.cache_clear()
    return check_cluster(address, "auto").workers


def test_a_cluster_without_workers():
    with local_processes(0) as address, pytest.raises(UserError, match="has no workers; start some with dask worker"):
        check_cluster(address, "auto")


NO_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Refuse())
sys.argv = ["dask worker", *sys.argv[1:]]
from distributed.cli.dask_worker import main
main()
"""


def test_a_worker_without_torch(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(NO_TORCH)
    with local_processes(0) as address, worker(address, script=script, cwd=tmp_path):
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=30)
        with pytest.raises(UserError, match="has no torch; install rosetta-mine with the same versions there"):
            check_cluster(address, "auto")


PAIRS = {pair: fingerprint("c", of=pair) for pair in (("a", "a"), ("a", "b"))}


def both(root: Root) -> list[np.ndarray]:
    """All that is kept of two pairs that are read together."""
    stores = [CorrelationStore.read(root, *pair) for pair in PAIRS]
    return [part for store in stores for part in (store.pearson(), store.half_part(slice(None), slice(None)))]


def test_pairs_read_together_survive_a_killed_worker(big):
    big.remove("correlations")
    correlate(big, PAIRS, Setting(threads=2))
    undisturbed = both(big)
    big.remove("correlations")
    with local_processes(2) as address, Client(address, set_as_default=False) as client:
        victim, _ = client.run(os.getpid).values()

        def kill(done: int) -> None:
            if done == 2:
                os.kill(victim, signal.SIGKILL)

        with on_part(kill):
            correlate(big, PAIRS, Setting(cluster=address))
    for one, other in zip(undisturbed, both(big), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_is_killed_between_two_pairs_goes_on_with_the_other(big):
    big.remove("correlations")
    correlate(big, PAIRS, Setting(threads=2))
    undisturbed = both(big)
    big.remove("correlations")
    lines = KILLED.replace('{("a", "b"): fingerprint("c")}', "PAIRS").replace(
        "\nwritten = 0", '\nPAIRS = {p: fingerprint("c", of=p) for p in (("a", "a"), ("a", "b"))}\nwritten = 0'
    )
    arguments = [sys.executable, "-c", lines, big.url, str(4 << 30)]
    done = subprocess.run(arguments, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False)
    assert done.returncode == -signal.SIGKILL
    written = [CorrelationStore.open(big, made, *pair).written().all() for pair, made in PAIRS.items()]
    assert sorted(written) == [False, True]
    correlate(big, PAIRS, Setting(threads=2))
    for one, other in zip(undisturbed, both(big), strict=True):
        np.testing.assert_array_equal(one, other)


def killer(client: Client):
    """Kills the one worker that is there once a part is done."""
    (victim,) = client.run(os.getpid).values()

    def kill(done: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)

    return kill


def test_a_run_whose_workers_are_all_gone_ends(big, monkeypatch):
    monkeypatch.setattr("tasks.cluster.absence.ALONE", 1.0)
    monkeypatch.setattr("tasks.cluster.engine._LOOK", 0.1)
    # A worker without a nanny, which nobody starts again.
    with local_processes(0) as address, worker(address), Client(address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
        expected = (
            rf"^compute.cluster: {address} has had no worker for \d+ s; start some with dask worker {address} and"
        )
        with on_part(killer(client)), pytest.raises(UserError, match=expected):
            result(big, Setting(cluster=address))


def test_a_worker_that_comes_back_in_time_goes_on(big, whole, monkeypatch):
    monkeypatch.setattr("tasks.cluster.engine._LOOK", 0.1)
    looks = []
    look = Absence.look
    monkeypatch.setattr(Absence, "look", lambda self, anyone: (looks.append(anyone), look(self, anyone)))
    with (
        local_processes(0) as address,
        ExitStack() as late,
        worker(address),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        kill = killer(client)

        def replace(done: int) -> None:
            if done == 1:
                kill(done)
                Thread(target=lambda: late.enter_context(worker(address))).start()

        with on_part(replace):
            np.testing.assert_array_equal(result(big, Setting(cluster=address)), whole)
    assert False in looks


def test_workers_without_a_gpu_are_none_where_one_is_needed(big, monkeypatch):
    monkeypatch.setattr("tasks.cluster.absence.ALONE", 0.5)
    monkeypatch.setattr("tasks.cluster.engine._LOOK", 0.1)
    with local_processes(1) as address, engine(address, 1, big) as where:
        with dask.annotate(resources={"GPU": 1}):
            task = part(int)
        with pytest.raises(UserError, match=rf"no worker with a GPU for .* worker {address} --resources GPU=1 and"):
            where.run([task], lambda *_: None, 1)
        where.run([part(int)], lambda *_: None, 1)


def test_work_meant_for_a_lost_worker_is_left_once_another_came(big, monkeypatch):
    monkeypatch.setattr("tasks.cluster.engine._LOOK", 0.1)
    with local_processes(0) as address, ExitStack() as late, ExitStack() as first:
        first.enter_context(worker(address))
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        where = late.enter_context(engine(address, 1, big))
        (lost,) = where.workers()
        with dask.annotate(workers=[lost], allow_other_workers=True):
            task = part(time.sleep, 2)

        def replace() -> None:
            time.sleep(0.5)
            first.close()
            time.sleep(0.5)
            late.enter_context(worker(address))

        replacing = Thread(target=replace)
        replacing.start()
        where.run([task], lambda *_: None, 1)
        replacing.join()
        assert lost not in where.workers()
