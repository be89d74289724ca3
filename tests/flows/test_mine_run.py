"""A small real run from the shell: right numbers, plain artifacts, nothing done twice."""

import json
import shutil
import subprocess
import sys

import numpy as np
import oracle
import pandas as pd
import plain_xarray
import pytest
import xarray as xr
from packaged import recipe_text
from scipy.stats import kurtosis

pytestmark = pytest.mark.slow


def done(mined: dict) -> set[str]:
    """Names of the stages that had something to do."""
    return {stage["name"] for stage in mined["stages"] if stage["outcome"] == "done"}


@pytest.mark.parametrize(
    "name", ["dcgan", "lite0", *(pytest.param(name, marks=pytest.mark.soak) for name in ("mobilenet", "untrained"))]
)
def test_pearson_is_the_textbooks_for_every_pair_of_layers(run, name):
    root, _ = run
    dcgan = xr.open_datatree(root / "activations/dcgan.zarr", engine="zarr")
    other = xr.open_datatree(root / f"activations/{name}.zarr", engine="zarr")
    stored = xr.open_zarr(root / f"correlations/dcgan~{name}.zarr")
    seen = 0
    of_a, of_b = ([node for node in tree.children.values() if "order" in node.attrs] for tree in (dcgan, other))
    for layer_a in of_a:
        for layer_b in of_b:
            maps = layer_a["activation"].values, layer_b["activation"].values
            found = stored["pearson"].values[np.ix_(layer_a["unit"].values, layer_b["unit"].values)]
            np.testing.assert_allclose(found, oracle.textbook_pearson(*maps), atol=1e-5, rtol=0)
            seen += found.size
    assert seen == stored["pearson"].size


def test_tables_follow_from_the_matrices_by_definition(run):
    root, printed = run
    names = ["dcgan", "lite0", "mobilenet", "untrained"]
    pearson = {n: xr.open_zarr(root / f"correlations/dcgan~{n}.zarr")["pearson"].values for n in names}
    buddies = pd.read_parquet(root / "tables/buddies.parquet")
    for name in names:
        rows = buddies[(buddies["model_a"] == "dcgan") & (buddies["model_b"] == name)]
        found = set(zip(*(rows[c].tolist() for c in ("unit_a", "unit_b", "rank_ab", "rank_ba")), strict=True))
        assert found == oracle.buddies(pearson[name], 5, same=name == "dcgan")
        assert printed["counts"]["buddies"][f"dcgan~{name}"] == len(rows)

    expected = oracle.rosetta({name: pearson[name] for name in ("lite0", "mobilenet")}, 5)
    table = pd.read_parquet(root / "tables/rosetta.parquet")
    assert table["model"].tolist() == ["dcgan", "lite0", "mobilenet"] * len(expected)
    assert table["unit"].tolist() == [unit for anchor, best, _ in expected for unit in (anchor, *best)]
    np.testing.assert_allclose(table["mean_pearson"][::3], [mean for _, _, mean in expected])
    assert table["pearson"][::3].isna().all()

    clusters = {frozenset(rows["anchor_unit"]) for _, rows in table.groupby("cluster")}
    assert clusters == oracle.components([row[0] for row in expected], pearson["dcgan"], 5)
    summary = pd.read_parquet(root / "tables/clusters.parquet")
    assert summary["size"].sum() == len(expected) == printed["counts"]["rosetta"]
    assert len(summary) == len(clusters) == printed["counts"]["clusters"]


def test_units_table_says_what_the_stores_hold(run):
    root, _ = run
    units = pd.read_parquet(root / "tables/units.parquet")
    for (model, layer), rows in units.groupby(["model", "layer"]):
        maps = xr.open_datatree(root / f"activations/{model}.zarr", engine="zarr")[layer]["activation"].values
        flat = maps.astype(np.float64).transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
        assert rows["channel"].tolist() == list(range(len(flat)))
        # Sums of a single map are float32; those over images are float64.
        np.testing.assert_allclose(rows["mean"], flat.mean(axis=1), atol=1e-9 + 1e-6 * flat.std(axis=1).max(), rtol=0)
        np.testing.assert_allclose(rows["std"], flat.std(axis=1), atol=1e-9, rtol=1e-6)
        np.testing.assert_array_equal(rows["maximum"], flat.max(axis=1).astype(np.float32))
        alive = flat.std(axis=1) > 0
        np.testing.assert_allclose(rows["kurtosis"][alive], kurtosis(flat[alive], axis=1, fisher=False), rtol=1e-3)
        assert rows["kurtosis"][~alive].isna().all()
        mass = np.maximum(maps, 0).astype(np.float64).sum(axis=(2, 3))
        for share, images in zip(rows["half_share"], mass.T, strict=True):
            falling = np.sort(images)[::-1]
            fewest = np.argmax(np.cumsum(falling) >= images.sum() / 2 * (1 - 1e-6)) + 1
            assert share == pytest.approx(fewest / len(images)) if images.sum() else np.isnan(share)


PLAIN_READER = """
import json, sys, warnings
warnings.simplefilter("error", UserWarning)
import pandas, xarray, zarr
root = sys.argv[1]
tree = xarray.open_datatree(f"{root}/activations/lite0.zarr", engine="zarr")
assert tree["blocks.0"]["activation"].dims == ("image", "channel", "y", "x")
assert tree["blocks.0"]["activation"].sizes["image"] == 24
assert "unit" in tree["blocks.1"].coords and int(tree["blocks.1"]["unit"][0]) == 16
assert tree["bookkeeping/written"].dims == ("block",) and bool(tree["bookkeeping/written"].all())
assert tree.attrs["model"] == "timm/tf_efficientnet_lite0" and len(tree.attrs["weights_sha256"]) == 64
assert json.loads(tree.attrs["preprocessing_json"])["size"] == [224, 224]
images = xarray.open_zarr(f"{root}/images.zarr")
assert images["pixels"].shape == (24, 64, 64, 3) and images["latent"].dims == ("image", "z")
pair = xarray.open_zarr(f"{root}/correlations/dcgan~lite0.zarr").load()
assert pair["pearson"].dims == ("unit_a", "unit_b")
assert set(pair.coords) == {"unit_a", "layer_a", "channel_a", "unit_b", "layer_b", "channel_b"}
strong = pair["pearson"].where(pair["layer_b"] == "blocks.0", drop=True)
assert strong.sizes["unit_b"] == 16
assert zarr.open_group(f"{root}/activations/dcgan.zarr", mode="r").metadata.zarr_format == 3
for table in ("units", "buddies", "trust", "rosetta", "clusters"):
    assert len(pandas.read_parquet(f"{root}/tables/{table}.parquet"))
assert not {"rosetta", "storage", "tasks", "flows"} & set(sys.modules)
"""


def test_artifacts_open_without_this_project(run, tmp_path):
    root, _ = run
    # -P and another folder: nothing of the checkout can be imported.
    read = subprocess.run(
        [sys.executable, "-P", "-c", PLAIN_READER, str(root)], cwd=tmp_path, capture_output=True, text=True
    )
    assert read.returncode == 0, read.stderr


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty", "ignore:Degrees of freedom", "ignore:invalid")
@pytest.mark.parametrize(("name", "stores"), [("lite0", 3), pytest.param("", 2 + 3 * 4, marks=pytest.mark.soak)])
def test_every_variable_says_what_it_is_and_computes_as_in_float64(run, name, stores):
    root, _ = run
    paths = sorted(root.rglob(f"*{name}.zarr"))
    assert len(paths) == stores
    for store in paths:
        plain_xarray.require_names(store)
        plain_xarray.require_reductions(store)
        plain_xarray.require_correlations(store)


def test_a_second_run_does_nothing(run, rosetta, tmp_path):
    root, first = run
    recipe = tmp_path / "again.toml"
    recipe.write_text(recipe_text(root))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    again = rosetta.json("mine", recipe)
    assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}
    assert again["counts"] == first["counts"]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_a_new_model_costs_its_own_dump_and_pairs(run, rosetta, tmp_path):
    root, _ = run
    small = tmp_path / "small.toml"
    small.write_text(recipe_text(tmp_path / "root", models=("dcgan", "lite0", "untrained")))
    assert rosetta("mine", small).returncode == 0
    small.write_text(recipe_text(tmp_path / "root"))
    compared = [path for name in ("correlations", "tables/trust") for path in (tmp_path / "root" / name).rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in compared}
    grown = rosetta.json("mine", small)
    expected = {"dump mobilenet", "correlate", "units", "match", "dictionary", "report", "judge", "trust"}
    expected |= {"rotate", "exchange", "examine", "assign", "stability", "layers", "rarefy", "classes"}
    assert done(grown) == expected
    assert {path: path.stat().st_mtime_ns for path in before if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }
    for table in ("units", "buddies", "trust", "rosetta", "clusters"):
        path = f"tables/{table}.parquet"
        assert (tmp_path / "root" / path).read_bytes() == (root / path).read_bytes()


def test_all_pairs(rosetta, run, tmp_path):
    root, _ = run
    shutil.copytree(root, tmp_path / "root")
    recipe = tmp_path / "all.toml"
    recipe.write_text(recipe_text(tmp_path / "root"))
    grown = rosetta.json("mine", recipe, "--set", "matching.pairs=all", "--replace")
    pairs = set(grown["counts"]["buddies"])
    assert pairs == {
        *(f"dcgan~{name}" for name in ("dcgan", "lite0", "mobilenet", "untrained")),
        "lite0~mobilenet",
        "lite0~untrained",
        "mobilenet~untrained",
    }
    assert not [name for name in done(grown) if name.startswith("dump")]


def test_provenance_and_recipe(run):
    root, _ = run
    record = json.loads((root / "provenance.json").read_text())
    assert set(record["weights_sha256"]) == {"dcgan", "lite0", "mobilenet", "untrained"}
    assert record["runs"][0]["versions"]["torch"]
    fingerprint = xr.open_zarr(root / "correlations/dcgan~lite0.zarr").attrs["fingerprint"]
    assert record["fingerprints"]["correlations/dcgan~lite0.zarr"] == fingerprint
    assert 'match = "order"' in (root / "recipe.toml").read_text()


def test_check_and_status(run, rosetta, tmp_path):
    root, _ = run
    shutil.copytree(root, tmp_path / "root")
    assert rosetta.json("check", tmp_path / "root")["damaged"] == []
    states = rosetta.json("status", tmp_path / "root")["artifacts"]
    assert {entry["state"] for entry in states} == {"complete"}

    chunk = tmp_path / "root/activations/lite0.zarr/blocks.2/activation/c/3/0/0/0"
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    chunk.write_bytes(damaged)
    (tmp_path / "root/activations/dcgan.zarr/main.5/activation/c/1/0/0/0").unlink()
    (tmp_path / "root/tables/buddies.parquet").write_bytes(b"PAR1 nonsense")
    checked = rosetta("check", tmp_path / "root")
    assert checked.returncode == 2
    assert "activations/lite0.zarr/blocks.2/activation" in checked.stdout
    assert "activations/dcgan.zarr/main.5/activation: entries 8 to 15 of image are missing" in checked.stdout
    assert "tables/buddies.parquet" in checked.stdout
    assert len(checked.stdout.splitlines()) == 3


def test_without_a_server_prefect_runs_embedded(environment, rosetta, tmp_path):
    alone = type(rosetta)({k: v for k, v in environment.items() if k != "PREFECT_API_URL"})
    recipe = tmp_path / "alone.toml"
    recipe.write_text(recipe_text(tmp_path / "root", models=("dcgan", "untrained", "lite0"), images="count = 4"))
    mined = alone("mine", recipe)
    assert mined.returncode == 0, mined.stderr
    assert "Rosetta neurons in" in mined.stdout
    assert "Traceback" not in mined.stderr


PREFECT_READER = """
import sys
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
runs = FlowRunFilter(name={"any_": ["mine small"]})
tasks = TaskRunFilter(name={"any_": sys.argv[1:]})
with get_client(sync_client=True) as client:
    print(*{run.name for run in client.read_flow_runs(flow_run_filter=runs)}, sep="\\n")
    print(*{run.name for run in client.read_task_runs(flow_run_filter=runs, task_run_filter=tasks)}, sep="\\n")
    print(*{artifact.key for artifact in client.read_latest_artifacts(flow_run_filter=runs)}, sep="\\n")
"""


def test_prefect_knows_the_run_by_readable_names(run, environment):
    tasks = ["dump lite0", "correlate", "match", "report"]
    read = subprocess.run(
        [sys.executable, "-c", PREFECT_READER, *tasks], env=environment, capture_output=True, text=True
    )
    names = read.stdout.splitlines()
    for name in ("mine small", *tasks, "small-report", "small-buddies"):
        assert name in names, read.stdout + read.stderr
