"""What units cause as a test of trust: joined while it is still true, and asked for without it in one line."""

import shutil

import causal_runs
import numpy as np
import pandas as pd
import pytest
import zarr
from plans import plan_over

from flows.ablate import plan_ablation
from rosetta.guidance.cause_settings import Ablation
from rosetta.mining.trust.tests import TESTS, passing, unasked
from rosetta.recipe import Trust
from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES, ROSETTA
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.causes import ablate
from tasks.causes.current import current_causes
from tasks.trust.table import fingerprint_of, unmeasured, with_causes

SETTINGS = Ablation(images=4, models=("d",))
MEASURED = ["causal_effect", "causal_p", "causal_q"]


@pytest.fixture(scope="module")
def ablated(planted, tmp_path_factory) -> Root:
    root = Root(str(shutil.copytree(planted.local, tmp_path_factory.mktemp("trusted") / "run")))
    plan = plan_ablation(root.url, SETTINGS)
    ablate.fill_ablations(root, plan)
    ablate.make_causes(root, plan)
    return root


def planned(root: Root, *tests: str):
    """The plan of judging the run, by some tests."""
    plan = plan_over(root, ("g", "d", "c"), trust=Trust(tests=tests or Trust().tests))
    return plan.given(causes=current_causes(root))


def test_matches_carry_what_was_measured_of_them(ablated):
    plan, causes = planned(ablated, "cause"), tables.read(ablated, CAUSES.path())
    assert plan.facts.causes == tables.attributes(ablated, CAUSES.path())["fingerprint"]
    matches = pd.DataFrame({"unit_a": [*causes["anchor_unit"], 0], "unit_b": [*causes["unit"], 0], "pearson": 0.5})
    joined = with_causes(plan, matches, ("g", "d"))
    np.testing.assert_array_equal(joined[MEASURED].to_numpy()[:-1], causes[MEASURED].to_numpy())
    assert joined[MEASURED].iloc[-1].isna().all()
    for pair in (("g", "c"), ("g", "g"), ("d", "c")):
        assert with_causes(plan, matches, pair)[MEASURED].isna().all(axis=None)
    # The planted causes pass, what only correlates does not, and a match that was not measured reads so.
    deciding = [test.column for test in TESTS]
    others = {column: np.zeros(len(joined)) for column in deciding if column not in joined}
    of_all, settings = joined.assign(**others), plan.recipe.trust
    passes, blank = passing(of_all, settings)["cause"], unasked(of_all)["cause"]
    count = len(causal_runs.TRUE)
    assert passes[:count].mean() >= 0.95
    assert not passes[count:].any()
    assert blank.tolist() == [False] * len(causes) + [True]
    assert unmeasured(plan) == []


def test_another_judgement_leaves_causes_as_they_are(ablated, tmp_path):
    root = Root(str(shutil.copytree(ablated.local, tmp_path / "run")))
    before = current_causes(root)
    frame = tables.read(root, ROSETTA.path())
    tables.write(root, ROSETTA.path(), frame.assign(trusted=~frame["trusted"]), fingerprint("rosetta"))
    assert before is not None
    assert current_causes(root) == before
    plan = plan_ablation(root.url, SETTINGS)
    assert plan.fingerprint.digest == before
    assert ablate.fill_ablations(root, plan) == ablate.make_causes(root, plan) == "skipped"


def test_causes_of_other_units_are_not_joined(ablated, tmp_path):
    root = Root(str(shutil.copytree(ablated.local, tmp_path / "run")))
    assert current_causes(root) is not None
    zarr.open_array(f"{root.local}/activations/d.zarr/see/mean", mode="r+")[3] += 1
    assert current_causes(root) is None
    plan = planned(root, "cause")
    assert with_causes(plan, pd.DataFrame({"unit_a": [0], "unit_b": [5]}), ("g", "d"))[MEASURED].isna().all(axis=None)
    assert unmeasured(plan) == [
        f"trust.tests asks for 'cause', which is not measured, so nothing is trusted; run rosetta ablate {root.shown} "
        f"and then rosetta trust {root.shown}"
    ]


def test_a_run_without_causes_has_the_fingerprint_that_it_had(planted, ablated):
    assert current_causes(planted) is None
    assert unmeasured(planned(planted)) == []
    without, with_them = (fingerprint_of(planned(root)).depends for root in (planted, ablated))
    assert "causes" not in without
    assert with_them["causes"] == current_causes(ablated)
