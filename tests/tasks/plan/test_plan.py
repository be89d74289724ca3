"""A plan follows from recipe and facts alone; a stage runs until what it writes is finished."""

from dataclasses import replace

import pandas as pd
import pytest
from plans import plan_over

from storage.artifacts import catalogue, tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ACTIVATIONS, CORRELATIONS, TRUST
from storage.artifacts.columns import Column
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting
from tasks.plan import Stage
from tasks.plan.facts import Facts, Identity
from tasks.plan.plan import DEFAULT_COUNT
from tasks.trust.profile import PROFILE
from tasks.trust.profile import fingerprint_of as profile_fingerprint


@pytest.fixture
def plan():
    return plan_over(Root("nowhere"), ["a", "b", "noise"], controls=["noise"])


def test_roles_follow_from_recipe_and_generator(plan):
    assert (plan.anchor, plan.targets, plan.controls) == ("a", ("b",), ("noise",))
    assert plan.pairs == (("a", "a"), ("a", "b"), ("a", "noise"))
    assert (plan.partners("a"), plan.partners("b")) == (("a", "b", "noise"), ("a",))
    made = plan.given(generator=plan.spec("b"))
    assert (made.anchor, made.names, made.targets) == ("b", ("b", "a", "noise"), ("a",))
    assert made.pairs == (("b", "b"), ("b", "a"), ("b", "noise"))


def test_images_are_counted_from_the_store_or_the_recipe_or_the_files(plan):
    assert plan.image_count == DEFAULT_COUNT
    assert plan.given(files=("x", "y")).image_count == 2
    assert plan.given(files=("x", "y"), stored_count=1).image_count == 1
    assert not plan.given(files=("x",)).knows_images
    assert plan.given(files=("x",), images=fingerprint("images")).knows_images


def test_a_fingerprint_is_taken_once(plan):
    calls = []
    counted = replace(plan, fingerprints={TRUST.pattern: lambda plan: calls.append(1) or fingerprint("trust")})
    assert counted.digest(TRUST) == counted.digest(TRUST) == fingerprint("trust").digest
    assert calls == [1]
    assert set(plan.digests(CORRELATIONS)) == {"a~a", "a~b", "a~noise"}
    assert plan.digests(ACTIVATIONS)["b"] != plan.digests(ACTIVATIONS)["a"]


def test_a_profile_depends_on_the_grids_of_the_partners(plan):
    grids = {"a": [["l", 3, 8, 8]], "b": [["l", 3, 4, 4], ["m", 1, 2, 9]], "noise": []}
    models = {name: Identity({}, layers=layers) for name, layers in grids.items()}
    depends = profile_fingerprint(plan.given(models=models), "a").depends
    assert depends["grids"] == [[2, 9], [4, 4], [8, 8]]
    assert profile_fingerprint(plan.given(models=models), "b").depends["grids"] == [[8, 8]]


def test_one_run_of_a_stage_may_write_an_artifact_of_each_model(plan):
    assert list(PROFILE.instances(plan)) == [()]
    assert [names for _, names in PROFILE.artifacts(plan)] == [("a",), ("b",), ("noise",)]
    assert PROFILE.title(()) == "profile"


def test_a_stage_runs_until_its_artifact_is_finished(tmp_path, monkeypatch):
    plan = plan_over(Root(str(tmp_path)), ["a", "b"])
    table = Artifact("more/{model}.parquet", "table", "model", "more", columns=(Column("x", "int64", "a number"),))
    monkeypatch.setattr(catalogue, "CATALOGUE", [*catalogue.CATALOGUE, table])
    plan = replace(plan, fingerprints={table.pattern: lambda plan, model: fingerprint("more", of=model)})
    made = []

    def work(plan, model):
        made.append(model)
        tables.write(plan.root, table.path(model), pd.DataFrame({"x": [1]}), plan.fingerprint(table, model))

    stage = Stage("more", (table,), plan.fingerprints[table.pattern], work)
    assert stage.title(("a",)) == "more a"
    assert not stage.is_finished(plan)
    assert [stage.make(plan, names) for names in stage.instances(plan)] == ["done", "done"]
    assert stage.is_finished(plan)
    assert stage.make(plan, ("b",)) == "skipped"
    other = replace(plan, fingerprints={table.pattern: lambda plan, model: fingerprint("more", of=model, by=2)})
    assert stage.make(other, ("b",)) == "done"
    assert made == ["a", "b", "b"]


def test_elsewhere_the_workers_choose_their_device(plan):
    remote = plan.recipe.compute.model_copy(update={"cluster": "tcp://there:1", "device": "auto"})
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"compute": remote}), facts=Facts("cuda"))
    assert Setting.of(plan).device == "auto"
    local = remote.model_copy(update={"cluster": "threads"})
    assert Setting.of(replace(plan, recipe=plan.recipe.model_copy(update={"compute": local}))).device == "cuda"


@pytest.mark.parametrize(
    ("setting", "threads", "ahead"),
    [
        (Setting(threads=16, device="cuda", ahead=1), 2, 8),
        (Setting(threads=1, device="cuda:1", ahead=1), 1, 1),
        (Setting(threads=16), 16, 0),
        (Setting(threads=16, device="cuda", ahead=1, correlation="spearman"), 16, 1),
        (Setting(cluster="tcp://there:1", threads=16, device="cuda", ahead=1), 16, 1),
    ],
)
def test_a_gpu_of_this_process_has_few_tasks_with_many_readers(setting, threads, ahead):
    found = setting.multiplying()
    assert (found.threads, found.ahead) == (threads, ahead)
