"""Stages run in their order, with workers around those that use them and only while one has something to do."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from plans import plan_over

from flows import running
from flows.plan import stages
from flows.plan.stages import STAGES, stages_from
from storage.artifacts.artifact import Artifact
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.cluster import started
from tasks.match.units import WRITE_UNITS
from tasks.plan import Stage
from tasks.trust.table import JOIN_TRUST


@pytest.fixture
def plan(tmp_path):
    plan = plan_over(Root(str(tmp_path)), ["a", "b"])
    compute = plan.recipe.compute.model_copy(update={"cluster": "local", "workers": 3})
    return replace(plan, recipe=plan.recipe.model_copy(update={"compute": compute}))


@pytest.fixture
def seen(monkeypatch):
    """What happened, with the cluster that each stage is given."""
    log: list[tuple[str, str]] = []

    @contextmanager
    def processes(count):
        log.append(("start", str(count)))
        yield "tcp://workers"
        log.append(("stop", str(count)))

    monkeypatch.setattr(started, "local_processes", processes)
    monkeypatch.setattr(started, "local_gpus", lambda gpus: processes(" and ".join(gpus)))
    monkeypatch.setattr(started, "visible", lambda: ["4", "5", "6"])
    monkeypatch.setattr(Stage, "run", lambda stage, plan, names: log.append((stage.title(names), plan.facts.cluster)))
    return log


def one_process(plan):
    """The same in one process."""
    compute = plan.recipe.compute.model_copy(update={"cluster": "threads"})
    return replace(plan, recipe=plan.recipe.model_copy(update={"compute": compute}))


def test_workers_are_there_for_those_that_need_them(plan, seen):
    running.run(plan, STAGES)
    titles = [title for title, _ in seen]
    assert titles == [
        "images", "start", "dump", "features", "correlate", "match", "profile", "judge", "rotate", "exchange",
        "examine", "stop", "assign", "trust", "stability", "layers", "rarefy", "units", "dictionary",
        "classes", "report",
    ]  # fmt: skip
    clusters = dict(seen)
    assert clusters["start"] == "3"
    assert {clusters[stage] for stage in ("dump", "correlate", "profile", "judge", "examine")} == {"tcp://workers"}
    assert clusters["images"] == "threads"


def test_one_process_dumps_one_model_after_the_other(plan, seen):
    running.run(one_process(plan), STAGES)
    titles = [title for title, _ in seen]
    assert titles == [
        "images", "features", "dump a", "dump b", "correlate", "match", "profile", "judge",
        "rotate", "exchange", "examine", "assign", "trust", "stability", "layers", "rarefy", "units", "dictionary",
        "classes", "report",
    ]  # fmt: skip
    assert {cluster for _, cluster in seen} == {"threads"}


def test_a_process_for_each_gpu(plan, seen):
    running.run(one_process(plan).given(gpus=2), STAGES)
    clusters = dict(seen)
    assert clusters["start"] == "4 and 5"
    assert clusters["dump"] == "tcp://workers"


def test_images_come_before_their_features_and_these_before_maps_of_them(plan, seen):
    running.run(one_process(plan).given(generator=plan.spec("a")), STAGES)
    assert [title for title, _ in seen][:4] == ["images", "dump a", "features", "dump b"]


def test_no_workers_are_started_where_all_that_needs_them_is_done(plan, seen, monkeypatch):
    monkeypatch.setattr(Stage, "is_finished", lambda stage, plan, names=(): stage.on_cluster)
    running.run(plan, STAGES)
    assert "start" not in dict(seen)
    assert len(seen) == sum(len(stage.instances(plan)) for stage in STAGES)


def test_workers_start_before_the_first_stage_that_is_not_finished(plan, seen, monkeypatch):
    monkeypatch.setattr(Stage, "is_finished", lambda stage, plan, names=(): stage.name in ("dump", "correlate"))
    running.run(plan, STAGES)
    titles = [title for title, _ in seen]
    assert titles.index("start") == titles.index("profile") - 1


def test_a_part_of_the_stages(plan, seen):
    running.run(plan, stages_from(WRITE_UNITS))
    assert [title for title, _ in seen] == ["units", "dictionary", "classes", "report"]


def test_a_stage_is_declared_behind_another(plan, monkeypatch):
    monkeypatch.setattr(stages, "STAGES", list(STAGES))
    table = Artifact("tables/more.parquet", "table", "run", "more")
    more = stages.declare(Stage("more", (table,), lambda plan: fingerprint("more"), lambda plan: None), JOIN_TRUST)
    assert stages.STAGES[stages.STAGES.index(JOIN_TRUST) + 1] is more
    assert len(stages.STAGES) == len(STAGES) + 1


def test_nothing_to_do_names_every_stage(plan, monkeypatch):
    plan = one_process(plan)
    assert running.nothing_to_do(plan, STAGES) is None
    monkeypatch.setattr(Stage, "is_finished", lambda stage, plan, names=(): True)
    results = running.nothing_to_do(plan, STAGES)
    assert {result.outcome for result in results} == {"skipped"}
    assert len(results) == sum(len(stage.instances(plan)) for stage in STAGES)
