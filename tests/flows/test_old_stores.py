"""What older versions of the layout left is still read, to the same numbers; what a newer one left is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tinyzoo
from old_roots import VERSIONS, is_correlated, of_trust, recipe_at, unpack
from stores_of_versions.make import PLACE, numbers

from flows.plan.checks import prepare
from flows.plan.gather import plan_of_root
from flows.plan.identity import examined
from flows.plan.stages import fingerprints
from flows.upgrade import upgrade_root
from rosetta.errors import UserError
from storage import open_run
from storage.artifacts.catalogue import instance_at
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import FORMAT
from storage.artifacts.layout import attributes_at
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.status import status
from tasks.plan import Plan
from tasks.report.page import PAGE


def test_the_present_version_is_kept():
    assert str(FORMAT) in VERSIONS, "run tests/stores_of_versions/make.py and commit what it leaves"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_opens_with_the_same_numbers(version, tmp_path):
    root = unpack(version, tmp_path)
    told = json.loads((PLACE / version / "expected.json").read_text())
    found = numbers(open_run(root))
    assert found.keys() == told.keys()
    for key, value in told.items():
        same = found[key] if key == "models" else pytest.approx(found[key], rel=1e-12, nan_ok=True)
        assert same == value, key


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_whole_and_complete(version, tmp_path):
    root = Root(str(unpack(version, tmp_path)))
    assert check_root(root) == []
    lacking = {entry.artifact for entry in status(root).artifacts if entry.state != "complete"}
    assert {instance_at(path).artifact.added for path in lacking} == {True}


@pytest.mark.parametrize("version", VERSIONS)
def test_features_and_profiles_of_every_version_are_read(version, tmp_path):
    root = Root(str(unpack(version, tmp_path)))
    features, profile = FeatureStore.read(root), ProfileStore.read(root, "ada")
    images, count, side = features.shape
    values = features.features(slice(None))
    assert values.dtype == np.float32
    assert values.shape == (images, count, side, side)
    assert set(np.abs(values[0, :3]).ravel() <= 1) == {True}
    means = values.astype(np.float64).mean(axis=(0, 2, 3))
    for layer in profile.units.layers:
        assert profile.of_layer(layer.name, "kurtosis").shape == (layer.channels,)
        assert profile.of_layer(layer.name, "shape").dtype == np.float16
        assert profile.of_layer(layer.name, "mean_map").shape == (layer.channels, *layer.grid)
        for grid in profile.commons(layer.name):
            moments = profile.features_on(grid)
            np.testing.assert_allclose(moments.mean, means, rtol=1e-4)
            np.testing.assert_array_equal(moments.covariance, moments.covariance.T)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_every_version_goes_on_as_it_was(version, tmp_path):
    """All of its artifacts are those that its stores ask for, though it does not say what its models did.

    What follows from the tests of trust, the page last, is made again: there are more of them now.
    """
    root = unpack(version, tmp_path)
    require_as_it_was(root, plan_of_root(Root(str(root)), recipe_at(root)))


def require_as_it_was(root: Path, plan: Plan) -> None:
    told = json.loads((root / "provenance.json").read_text())["fingerprints"]
    now = fingerprints(plan)
    found = {path: digest for path, digest in now.items() if path != PAGE and not of_trust(path)}
    assert {path: found.pop(path) for path in told if path != PAGE and not of_trust(path)}.items() <= told.items()
    # Provenance did not always list these.
    assert {path: attributes_at(plan.place(path))["fingerprint"] for path in found} == found
    assert {path.partition("/")[0] for path in found} <= {"features.zarr", "profiles"}


@pytest.fixture(scope="module", params=VERSIONS)
def present(request, tmp_path_factory) -> Path:
    """The run of a version in the present format. To be read, not changed."""
    root = unpack(request.param, tmp_path_factory.mktemp(f"from-{request.param}"))
    upgrade_root(str(root))
    return root


def test_a_run_of_every_version_goes_on_once_it_is_upgraded(present):
    """All of its artifacts are those that the recipe asks for today."""
    plan = prepare(recipe_at(present))
    for one in (plan, plan_of_root(Root(str(present)), recipe_at(present))):
        require_as_it_was(present, one)
    assert is_correlated(plan)


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        (
            "default_layers",
            ("body.0", "body.3"),
            'model.units: [["body.1", 6, 8, 8], ["body.3", 6, 4, 4]] → [["body.0"',
        ),
        ("image_size", (20, 20), "model.preprocessing.size: [16, 16] → [20, 20]"),
    ],
)
def test_a_run_whose_maps_are_others_now_says_so(present, attribute, value, says, monkeypatch):
    monkeypatch.setattr(tinyzoo.Looker, attribute, value)
    examined.cache_clear()
    with pytest.raises(UserError) as refused:
        prepare(recipe_at(present))
    assert str(refused.value).startswith(f"activations/ada.zarr was made from something else ({says}")
    examined.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_page_of_every_version_is_written_anew(version, rosetta, tmp_path):
    root = unpack(version, tmp_path)
    shutil.rmtree(root / "report")
    done = rosetta("report", root)
    assert done.returncode == 0, done.stderr
    assert (root / "report/index.html").exists()


def test_a_newer_root_is_refused_in_one_line(tmp_path, here):
    root = unpack(VERSIONS[-1], tmp_path)
    record = json.loads((root / "provenance.json").read_text())
    (root / "provenance.json").write_text(json.dumps({**record, "format": FORMAT + 1}))
    with pytest.raises(UserError, match=f"written by a newer rosetta .format {FORMAT + 1}"):
        open_run(root)
    for command in ("status", "check", "report", "prune", "trust"):
        refused = here(command, root)
        assert refused.returncode == 2
        assert "newer rosetta" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_a_newer_store_is_refused_too(tmp_path):
    root = unpack(VERSIONS[-1], tmp_path)
    for name in ("images.zarr", "activations/ada.zarr"):
        about = root / name / "zarr.json"
        # Plain in the attributes of format 2, and as text in them since.
        newer = re.sub(rf'(\\?"format\\?": ){VERSIONS[-1]}', rf"\g<1>{FORMAT + 1}", about.read_text())
        about.write_text(newer)
    with pytest.raises(UserError, match=r"images\.zarr was written by a newer rosetta"):
        open_run(root)
