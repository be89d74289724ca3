"""How many processes a recipe means, and what each is to see; no card is needed."""

import os

import pytest
import torch
from spread_runs import connected, dumped, planned

from rosetta.errors import UserError
from rosetta.recipe import Compute
from tasks.cluster.engine import check_cluster, local_gpus
from tasks.cluster.gpus import GpuProcess, asked_for, processes, visible
from tasks.cluster.reports import Report, listening
from tasks.dump.images import DRAW_IMAGES
from tasks.dump.spread import SPREAD


@pytest.fixture
def cards(monkeypatch):
    """As if so many GPUs were visible."""

    def there(count: int, names: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if names is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)

    return there


def test_each_process_sees_its_own_gpu():
    assert processes(["0", "GPU-8f3a"]) == [
        GpuProcess({"CUDA_VISIBLE_DEVICES": "0"}, {"GPU": 1}),
        GpuProcess({"CUDA_VISIBLE_DEVICES": "GPU-8f3a"}, {"GPU": 1}),
    ]


@pytest.mark.parametrize(
    ("count", "names", "expected"),
    [
        (0, None, []),
        (2, None, ["0", "1"]),
        (2, "", ["0", "1"]),
        (2, "5, 3", ["5", "3"]),
        (1, "GPU-8f3a,GPU-1111", ["GPU-8f3a"]),
    ],
)
def test_gpus_are_called_as_this_process_calls_them(cards, count, names, expected):
    cards(count, names)
    assert visible() == expected


@pytest.mark.parametrize(
    ("asked", "device", "there", "expected"),
    [(1, "cuda", 4, 1), ("all", "cuda", 4, 4), ("all", "cuda", 1, 1), ("all", "cpu", 0, 1), (3, "cuda", 4, 3)],
)
def test_processes_of_a_recipe(cards, asked, device, there, expected):
    cards(there)
    assert asked_for(Compute(devices=asked), device) == expected


@pytest.mark.parametrize(
    ("compute", "device", "there", "line"),
    [
        ({"devices": 8}, "cuda", 1, r"compute\.devices: 8 GPUs asked for, 1 visible; ask for fewer, or for 'all'"),
        ({"devices": 2}, "cpu", 0, r"compute\.devices: 2 GPUs asked for, 0 visible; "),
        ({"devices": 2, "device": "cpu"}, "cpu", 4, r"2 GPUs asked for, but compute\.device is cpu; leave devices out"),
        ({"devices": 2, "device": "cuda:1"}, "cuda:1", 4, r"2 GPUs asked for, but compute\.device is cuda:1; "),
        ({"devices": "all", "cluster": "local"}, "cuda", 4, r"all is for a run without a cluster, and .* is local"),
    ],
)
def test_what_cannot_be_is_one_line(cards, compute, device, there, line):
    cards(there)
    with pytest.raises(UserError, match=line):
        asked_for(Compute(**compute), device)


def test_a_worker_for_each_gpu_with_its_own_environment(tmp_path):
    """They say that they have a GPU, and so take all models; their device is what they have."""
    reports: list[Report] = []
    with local_gpus(["3", "7"]) as address, connected(address, 2) as client:
        seen = client.run(_environment)
        assert sorted(seen.values()) == ["3", "7"]
        assert (check_cluster(address, "cuda").workers, check_cluster(address, "cuda").threads) == (2, 1)
        plan = planned(tmp_path / "gpus", address, device="auto", chunk_mib=1)
        with listening(reports.append):
            dumped(plan)
        assert all(stage.is_finished(plan) for stage in (DRAW_IMAGES, SPREAD))
    assert {report.worker for report in reports} == set(seen)


def _environment() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]
