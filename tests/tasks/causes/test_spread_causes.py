"""Interventions on real worker processes: the same bytes as in one, and what a killed worker costs."""

import os
import signal
from contextlib import nullcontext

import causal_runs
import pytest
from spread_runs import connected

from flows.ablate import plan_ablation, plan_silencing
from rosetta.guidance.cause_settings import Ablation, Silencing
from storage.artifacts import provenance
from storage.artifacts.catalogue import ABLATIONS, CAUSES, SILENCED, SILENCINGS
from storage.filesystem.root import Root
from tasks.causes import ablate, silence
from tasks.cluster.engine import local_processes
from tasks.stage.progress import tracker

ABLATION = Ablation(images=2, random=4, batch=4, models=("d",))
SILENCING = Silencing(images=2, concepts=(0, 5), sets=3)


def on(root: Root, cluster: str) -> Root:
    """The run with another `compute.cluster`."""
    recipe = provenance.stored_recipe(root)
    compute = recipe.compute.model_copy(update={"cluster": cluster})
    provenance.write_recipe(root, recipe.model_copy(update={"compute": compute}))
    return root


def made(root: Root) -> dict[str, bytes]:
    """Everything that is measured, by path."""
    for plan, fill, make in (
        (plan_ablation(root.url, ABLATION), ablate.fill_ablations, ablate.make_causes),
        (plan_silencing(root.url, SILENCING), silence.fill_silencings, silence.make_silenced),
    ):
        assert fill(root, plan) == "done"
        assert make(root, plan) == "done"
    kinds = (ABLATIONS, CAUSES, SILENCINGS, SILENCED)
    return {file: root.read_bytes(file) for kind in kinds for file in root.find(kind.path())}


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> dict[str, bytes]:
    """What one process makes."""
    return made(causal_runs.write(tmp_path_factory.mktemp("single") / "run"))


@pytest.mark.parametrize("cores", [1, 3])
def test_the_number_of_cores_changes_no_byte(tmp_path, single, monkeypatch, cores):
    monkeypatch.setattr("tasks.causes.spread.cpu_count", lambda: cores)
    assert made(causal_runs.write(tmp_path / "run")) == single


def test_a_killed_worker_costs_its_own_blocks_and_no_byte(tmp_path, single):
    with local_processes(2) as address, connected(address, 2) as client:
        root = on(causal_runs.write(tmp_path / "run"), address)
        victim, _ = client.run(os.getpid).values()
        killed: list[int] = []

        def kill(more: int, note: str = "") -> None:
            """Once a block is written."""
            if not killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        before = tracker.set(lambda title, total: nullcontext(kill))
        found = made(root)
        tracker.reset(before)
        assert killed
        assert victim not in client.run(os.getpid).values()
    assert found == single
