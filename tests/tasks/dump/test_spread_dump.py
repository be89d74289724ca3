"""Dumps on real worker processes: the same bytes as in one, each model loaded once a worker, and what a death costs."""

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
import tinyzoo
from spread_runs import ALL, connected, dumped, files, planned, worker

from rosetta.errors import UserError
from rosetta.zoo import weights_sha256
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import stored_attributes
from tasks.cluster.engine import local_processes
from tasks.cluster.reports import Report, listening
from tasks.dump.models import loads_here
from tasks.stage.progress import tracker


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Many blocks, of which two models have other sizes than the rest."""
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda units, *_: Blocks(2, 8 if len(units) > 12 else 4))


@pytest.fixture(scope="module")
def address():
    with local_processes(2) as found:
        yield found


@pytest.fixture
def single(tmp_path) -> dict[str, bytes]:
    """What one process makes."""
    return dumped(planned(tmp_path / "single"))


def test_two_workers_make_the_same_bytes_as_one_process(tmp_path, single, address):
    reports: list[Report] = []
    steps: list[int] = []
    before = tracker.set(lambda title, total: nullcontext(lambda more, note="": steps.append(more)))
    with connected(address, 2) as client, listening(reports.append):
        made = dumped(planned(tmp_path / "spread", address))
        tracker.reset(before)
        loads = client.run(loads_here)
        assert not any(client.run(lambda: "prefect" in sys.modules).values())
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
    assert {report.run for report in reports} == {str(tmp_path / "spread")}
    assert all(report.seconds > 0 for report in reports)
    assert (sum(steps), max(steps)) == (45 * len(ALL), 8), "progress goes on by the images of a block"


def test_one_process_reports_its_blocks(tmp_path):
    reports: list[Report] = []
    with listening(reports.append):
        dumped(planned(tmp_path / "single"))
    assert Counter(report.model for report in reports) == {"ada": 12, "cyd": 12, "painter": 6, "bob": 6, "dan": 6}
    assert {(report.worker, report.device) for report in reports} == {("this process", "cpu")}


def test_a_killed_worker_costs_only_its_own_blocks(tmp_path, single):
    with local_processes(2) as address, connected(address, 2) as client:
        victim, _ = client.run(os.getpid).values()
        killed = threading.Event()

        def kill(report: Report) -> None:
            if not killed.is_set() and report.model == "ada":
                killed.set()
                os.kill(victim, signal.SIGKILL)

        reports: list[Report] = []
        with listening(kill), listening(reports.append):
            made = dumped(planned(tmp_path / "spread", address))
        assert killed.is_set()
        assert victim not in client.run(os.getpid).values()
    assert [path for path in made if made[path] != single[path]] == []
    # What was reported before is not done again; a block may have been written and not reported.
    assert sum(report.images for report in reports) <= 45 * len(ALL)


GAPS = {"painter": (1, 5), "ada": (0,), "bob": (3, 4, 5), "cyd": ()}
"""By model: blocks that are missing, images among them; of `cyd` only the end of its dump, of `dan` all."""


def test_workers_resume_what_one_process_began(tmp_path, single, address):
    plan = planned(tmp_path / "resumed")
    dumped(plan)
    images = ImageStore.open(plan.root, plan.fingerprint(IMAGES))
    images.group.attrs["complete"] = False
    for name, gaps in GAPS.items():
        store = ActivationStore.open(plan.root, plan.fingerprint(ACTIVATIONS, name), name)
        store.group.attrs["complete"] = False
        for block in gaps:
            layout.written_of(store.group)[block] = False
            for layer in store.units.layers:
                plan.root.remove(f"{ACTIVATIONS.path(name)}/{layer.name}/activation/c/{block}")
            if name == "painter":
                layout.written_of(images.group)[block] = False
                plan.root.remove(f"{IMAGES.path()}/pixels/c/{block}")
    plan.root.remove(ACTIVATIONS.path("dan"))
    assert files(plan.root) != single
    reports: list[Report] = []
    with listening(reports.append):
        made = dumped(planned(tmp_path / "resumed", address))
    assert [path for path in made if made[path] != single[path]] == []
    blocks = Counter((report.model, report.images) for report in reports)
    assert blocks["painter", 8] + blocks["painter", 5] == 2
    assert {model for model, _ in blocks} == {"painter", "ada", "bob", "dan"}


def test_a_map_that_is_not_finite_ends_the_dump_on_all_workers(tmp_path, address):
    text = tinyzoo.recipe_text(tmp_path / "bad", ("painter", "ada", "bad"), count=45)
    with connected(address, 2) as client:
        plan = planned(tmp_path / "bad", address, text)
        with pytest.raises(UserError, match=r"model bad, layer body\.1: NaN or infinity in channels .* for images"):
            dumped(plan)
        before = files(plan.root)
        assert not client.processing() or not any(client.processing().values())
    assert files(plan.root) == before, "nobody writes any more"
    assert not (stored_attributes(plan.root, ACTIVATIONS.path("bad")) or {}).get("complete")


def test_another_model_does_not_go_on_with_a_store_on_workers(tmp_path, address):
    plan = planned(tmp_path / "other")
    dumped(plan)
    store = ActivationStore.open(plan.root, plan.fingerprint(ACTIVATIONS, "ada"), "ada")
    store.group.attrs["complete"] = False
    layout.written_of(store.group)[2] = False
    other = {"weights": "random:77"}
    plan = planned(tmp_path / "other", address)
    specs = [spec.model_copy(update=other) if spec.name == "ada" else spec for spec in plan.recipe.models]
    weights = {**plan.facts.weights, "ada": weights_sha256(specs[1])}
    plan = replace(plan.given(weights=weights), recipe=plan.recipe.model_copy(update={"models": tuple(specs)}))
    with pytest.raises(UserError, match=r"activations/ada\.zarr was begun with another model: layer body\.1"):
        dumped(plan)


@pytest.mark.slow
def test_a_model_that_kills_every_worker_is_an_error(tmp_path):
    text = tinyzoo.recipe_text(tmp_path / "end", ("painter", "ada", "end"), count=45)
    with local_processes(2) as address:
        plan = planned(tmp_path / "end", address, text)
        with pytest.raises(UserError, match=r"workers died 4 times on the same piece of work \(tcp://\S+ last\)"):
            dumped(plan)
    assert ActivationStore.read(plan.root, "painter").complete


def test_a_run_whose_workers_are_all_gone_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cluster.absence.ALONE", 1.0)
    # A worker without a nanny, which nobody starts again.
    with local_processes(0) as address, worker(address), connected(address, 1) as client:
        plan, (victim,) = planned(tmp_path / "alone", address), client.run(os.getpid).values()

        def kill(_: Report) -> None:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

        expected = rf"{address} has had no worker for \d+ s; start some with dask worker {address} and run the same"
        with listening(kill), pytest.raises(UserError, match=expected):
            dumped(plan)
