"""What workers report reaches the listeners of this process, wherever the workers are."""

import time

from distributed import Client

from tasks.cluster.engine import local_processes
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
