"""What workers report reaches the listeners of this process, wherever the workers are."""

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from distributed import Client
from spread_runs import dumped, planned
from streamed_runs import COUNT, KEEP, MODELS, mined

from storage.filesystem.root import Root
from tasks.cluster.engine import engine, local_processes, part, part_done
from tasks.cluster.reports import Report, listening, relayed, report

ADA = Report("ada", 16, 0.5, "cpu")


def test_reports_of_this_process_reach_all_that_listen():
    first, second = [], []
    with listening(first.append):
        with listening(second.append):
            report(ADA)
        report(ADA)
    report(ADA)
    assert (first, second) == ([ADA, ADA], [ADA])


def test_reports_of_workers_reach_the_listeners_of_this_process():
    heard, both = [], []
    with local_processes(1) as address, Client(address, set_as_default=False) as client:
        (worker,) = client.scheduler_info(n_workers=-1)["workers"]
        with listening(heard.append), listening(both.append), relayed(client):
            client.submit(report, ADA).result()
            until = time.monotonic() + 20
            while not heard and time.monotonic() < until:
                time.sleep(0.01)
        client.submit(report, ADA, pure=False).result()
    assert heard == both == [Report("ada", 16, 0.5, "cpu", worker)]


def of_run(run: str) -> None:
    """What a piece of work of a run does."""
    report(replace(ADA, run=run))
    part_done()


def test_reports_of_this_process_go_to_their_run():
    one, other, every = [], [], []
    with listening(one.append, run="one"), listening(other.append, run="other"), listening(every.append):
        for run in ("one", "other", "one"):
            report(replace(ADA, run=run))
    assert [report.run for report in one] == ["one", "one"]
    assert [report.run for report in other] == ["other"]
    assert len(every) == 3


def test_two_runs_on_the_same_workers_do_not_hear_each_other(tmp_path):
    root = Root(str(tmp_path))
    root.write_bytes("recipe.toml", b"")
    heard, done, counts = {}, {}, {"one": 3, "other": 5}
    with local_processes(1) as address, ExitStack() as runs:
        where = {}
        for run in counts:
            heard[run], done[run] = [], []
            where[run] = runs.enter_context(engine(address, 1, root))
            runs.enter_context(relayed(where[run].client, run))
            runs.enter_context(listening(heard[run].append, run=run))
        said = []
        with Client(address, set_as_default=False) as third, listening(said.append, third):
            waiting = where["other"].client.compute([part(of_run, "other") for _ in range(counts["other"])])
            where["one"].run([part(of_run, "one") for _ in range(counts["one"])], done["one"].append, 1)
            where["other"].client.gather(waiting)
            until = time.monotonic() + 20
            while (len(said) < 8 or sum(map(len, heard.values())) < 8) and time.monotonic() < until:
                time.sleep(0.01)
    assert {run: [report.run for report in reports] for run, reports in heard.items()} == {
        run: [run] * count for run, count in counts.items()
    }
    assert sum(done["one"]) <= counts["one"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stage_reports_to_its_own_run(tmp_path, streamed):
    own, other, every = [], [], []
    url = Root(str(tmp_path / "run")).absolute.url
    with listening(own.append, run=url), listening(other.append, run=f"{url}-2"), listening(every.append):
        if streamed:
            mined(tmp_path / "run", f"images.keep={KEEP}", models=MODELS[:2])
        else:
            dumped(planned(tmp_path / "run", count=8))
    assert own == every != []
    assert other == []
    assert not streamed or sum(report.images for report in own) >= COUNT
