"""Dumps on real worker processes: the same bytes as in one, each model loaded once a worker, and what a death costs."""

import os
import signal
import threading
import time
from collections import Counter

import pytest
from spread_runs import ALL, connected, dumped, files, planned

from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from tasks.cluster.engine import local_processes
from tasks.cluster.reports import Report, listening
from tasks.dump.models import loads_here


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Many blocks, of which two models have other sizes than the rest."""
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda units, *_: Blocks(2, 8 if len(units) > 12 else 4))


@pytest.fixture
def single(tmp_path) -> dict[str, bytes]:
    """What one process makes."""
    return dumped(planned(tmp_path / "single"))


def test_two_workers_make_the_same_bytes_as_one_process(tmp_path, single):
    reports: list[Report] = []
    with local_processes(2) as address, connected(address, 2) as client, listening(reports.append):
        made = dumped(planned(tmp_path / "spread", address))
        loads = client.run(loads_here)
    assert made.keys() == single.keys()
    assert [path for path in made if made[path] != single[path]] == []
    # Each worker that ran a model loaded it once.
    assert all(set(counts.values()) == {1} for counts in loads.values())
    seen = Counter()
    for report in reports:
        seen[report.model] += report.images
    assert seen == dict.fromkeys(ALL, 45)
    assert {report.worker for report in reports} == set(loads)
    assert {report.device for report in reports} == {"cpu"}
