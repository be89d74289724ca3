"""What guides a generator is what lies in the tables and stores of its run."""

import finished
import numpy as np
import pytest

from rosetta.errors import UserError
from storage.filesystem.root import Root
from tasks.guided.matches import GuidedRun


def test_matches_and_statistics_are_those_of_the_run(tmp_path):
    run = GuidedRun.open(Root(str(finished.write(tmp_path / "run"))))
    buddies = run.data.buddies
    assert run.data.targets == tuple(run.matches.others) == ("d",), "the control guides nothing"
    assert run.matches.unit_g.tolist() == buddies.loc[buddies["model_b"] == "d", "unit_a"].tolist()
    assert {key: units.tolist() for key, units in run.strongest("g").items()} == {0: [0]}
    maps = finished.maps_of("d")
    peaks = np.concatenate([layer.max(axis=(2, 3)).mean(axis=0) for layer in maps.values()])
    np.testing.assert_allclose(run.statistics("d").peak, peaks, rtol=1e-3)
    assert run.statistics("g") is run.matches.generator


@pytest.mark.parametrize(
    "missing", ["tables/buddies.parquet", "tables/rosetta.parquet", "activations/d.zarr/zarr.json"]
)
def test_a_run_that_is_not_finished_is_one_line(tmp_path, missing):
    root = finished.write(tmp_path / "run")
    (root / missing).unlink()
    with pytest.raises(UserError, match="rosetta mine first") as told:
        GuidedRun.open(Root(str(root)))
    assert "\n" not in str(told.value)


def test_without_judgement_a_run_still_guides(tmp_path):
    root = finished.write(tmp_path / "run")
    (root / "tables/trust.parquet").unlink()
    assert len(GuidedRun.open(Root(str(root))).matches)


def test_only_targets_can_guide(tmp_path):
    run = GuidedRun.open(Root(str(finished.write(tmp_path / "run"))))
    run.require_targets(("d",))
    with pytest.raises(UserError, match=r"^model 'c' has no matches in .*; there are d$"):
        run.require_targets(("c",))
