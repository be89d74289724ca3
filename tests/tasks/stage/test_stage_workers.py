"""What workers of a stage say, from threads and from a cluster, and what is written of it under the root."""

import threading
import time

import pytest
from distributed import Client

from rosetta.view.numbers import duration
from storage.artifacts import workers as files
from storage.artifacts.catalogue import WORKERS
from storage.artifacts.workers import under_way
from storage.filesystem.lock import locked
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.cluster.reports import Report, listening, report
from tasks.stage import workers
from tasks.stage.progress import track
from tasks.stage.workers import Collector, collecting, markdown, summary


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path / "root"))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    return now


def seen(worker: str, images: int, seconds: float, model: str = "ada") -> Report:
    return Report(model, images, seconds, "cpu", worker)


def test_rates_are_those_of_the_last_minute(clock):
    collector = Collector()
    with collector.stage("dump ada", 10_000) as advance:
        assert collector.work() is None
        for _ in range(20):
            clock[0] += 10
            collector.take(seen("slow", 20, 10))
            collector.take(seen("fast", 100, 10, "bob"))
            advance(120)
        (fast, slow) = collector.work().workers
        assert (fast.worker, fast.model, fast.images, fast.images_per_second) == ("fast", "bob", 2000, 10.0)
        assert (slow.worker, slow.model, slow.images, slow.images_per_second) == ("slow", "ada", 400, 2.0)
        assert (collector.work().done, collector.work().total) == (2400, 10_000)
        assert collector.work().seconds_left == pytest.approx(7600 / 12, abs=0.1)
        for _ in range(10):
            clock[0] += 10
            collector.take(seen("fast", 400, 10))
        fast, slow = collector.work().workers
        assert fast.images_per_second == 40.0, "what was slower is long ago"
        assert slow.images_per_second < 0.3, "nothing has come for long"
    assert collector.work() is None


def test_one_that_works_at_a_long_block_is_no_slower_for_it(clock):
    collector = Collector()
    with collector.stage("dump ada", 100):
        clock[0] += 300
        collector.take(seen("one", 64, 300))
        clock[0] += 290
        assert collector.work().workers[0].images_per_second == round(64 / 300, 2)


def test_a_stage_begins_anew_and_what_belongs_to_none_is_nothing():
    collector = Collector()
    collector.take(seen("one", 1, 1))
    with collector.stage("dump ada", 2) as advance:
        collector.take(seen("one", 1, 1))
        with collector.stage("profile ada", 7) as inner:
            inner(7)
        advance(5)
        assert (collector.work().stage, collector.work().done) == ("dump ada", 2)
    with collector.stage("dump bob", 2):
        assert collector.work() is None
    assert collector.work() is None


def test_no_report_of_any_thread_is_lost():
    collector = Collector()
    with collector.stage("dump ada", 4000), listening(collector.take):
        threads = [
            threading.Thread(target=lambda: [report(seen("this process", 1, 0.001)) for _ in range(1000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert collector.work().workers[0].images == 4000


def _on_a_worker(model: str) -> None:
    report(Report(model, 8, 0.5, "cpu"))


@pytest.mark.parametrize("workers_there", [2])
def test_workers_of_a_cluster_are_told_apart(root, monkeypatch, workers_there):
    monkeypatch.setattr(workers, "EVERY", 0.05)
    with (
        local_processes(workers_there) as address,
        Client(address, set_as_default=False) as client,
        locked(root),
        collecting(root) as collector,
        listening(collector.take, client),
        track("dump 2 models", 64) as advance,
    ):
        there = sorted(client.scheduler_info(n_workers=-1)["workers"])
        client.gather(
            [client.submit(_on_a_worker, model, workers=[one]) for model, one in zip("ab", there, strict=True)]
        )
        advance(16)
        deadline = time.monotonic() + 20
        while ((work := under_way(root)) is None or len(work.workers) < 2) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [(one.worker, one.model, one.images) for one in work.workers] == [(there[0], "a", 8), (there[1], "b", 8)]
    assert not root.exists(WORKERS)


def test_the_file_is_there_while_a_stage_is_under_way_and_a_left_one_goes(root, monkeypatch):
    monkeypatch.setattr(workers, "EVERY", 0.02)
    root.write_bytes(WORKERS, b"of a process that was killed")
    with locked(root), collecting(root) as collector:
        assert not root.exists(WORKERS)
        with track("dump ada", 8):
            collector.take(seen("this process", 4, 2))
            until(lambda: under_way(root) is not None)
            assert under_way(root).workers[0].images_per_second == 2.0
        until(lambda: not root.exists(WORKERS))
    assert workers.current() is None


def until(holds) -> None:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_disk_that_takes_nothing_stops_no_stage(root, monkeypatch):
    monkeypatch.setattr(workers, "EVERY", 0.01)
    tried = threading.Event()

    def full(*_):
        tried.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Root, "write_bytes", full)
    with collecting(root) as collector, track("dump ada", 8):
        collector.take(seen("this process", 4, 2))
        assert tried.wait(20)


def test_only_what_the_process_says_that_holds_the_root_is_believed(root):
    collector = Collector()
    with collector.stage("dump ada", 8):
        collector.take(seen("this process", 4, 2))
        work = collector.work()
    files.write(root, work)
    assert under_way(root) is None, "no one holds the root"
    with locked(root):
        assert under_way(root) == work
        for change in ({"pid": work.process.pid + 1}, {"host": "elsewhere"}, {"started": work.process.started - 99}):
            files.write(root, work.model_copy(update={"process": work.process.model_copy(update=change)}))
            assert under_way(root) is None, "a process that is gone"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{", b""),
        (b'"this process"', b'"\\u001b[31mred"'),
        (b'"images":4', b'"images":-4'),
        (b'"images":4', b'"images":"4 \xff"'),
        (b'"images_per_second":2.0', b'"images_per_second":1e999'),
        (b'"total":8', b'"total":8,"more":1'),
        (b'"device":"cpu"', b'"device":"' + b"c" * 1000 + b'"'),
    ],
)
def test_a_file_that_says_something_else_is_none(root, before, after):
    collector = Collector()
    with collector.stage("dump ada", 8):
        collector.take(seen("this process", 4, 2))
        files.write(root, collector.work())
    content = root.read_bytes(WORKERS)
    assert before in content
    with locked(root):
        assert under_way(root) is not None
        root.write_bytes(WORKERS, content.replace(before, after, 1))
        assert under_way(root) is None


def test_words_and_tables_for_people():
    collector = Collector()
    with collector.stage("dump ada", 4000) as advance:
        collector.take(Report("ada", 512, 4.0, "cuda:0 NVIDIA | H100", "tcp://10.0.0.1:9"))
        advance(512)
        work = collector.work()
    assert summary(work) == "512 of 4,000 images, 128.0 a second, about 27 s left"
    assert markdown(work).splitlines()[2:] == [
        "| worker | device | model | images | images/s |",
        "| --- | --- | --- | ---: | ---: |",
        "| tcp://10.0.0.1:9 | cuda:0 NVIDIA \\| H100 | ada | 512 | 128.0 |",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (7200, "2.0 h"),
        (86400, "24.0 h"),
        (2e5, "2.3 days"),
    ],
)
def test_times_are_as_short_as_people_say_them(seconds, text):
    assert duration(seconds) == text
