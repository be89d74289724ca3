"""The ways to correlate, from the shell: a plan first, other clusters, neighbours only, ranks."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from distributed import Client
from packaged import recipe_text
from scipy.stats import rankdata

pytestmark = pytest.mark.slow

MODELS = ("dcgan", "lite0", "untrained")
TABLES = ("units", "buddies", "trust", "rosetta", "clusters")
ROUNDED = {
    "p_value": {"rtol": 0.01},
    "q_value": {"rtol": 0.02},
    "pearson_half_1": {"atol": 1e-5},
    "pearson_half_2": {"atol": 1e-5},
    "pearson_centred": {"atol": 1e-5},
    "positional": {"atol": 1e-4},
}
"""Where only neighbours are kept, correlations are added up again from both halves, in another order than the stored
ones: to the 1e-5 that every correlation is held to. A q-value may move by a bin, 1.2 %."""


@pytest.fixture(scope="module")
def mined(rosetta, tmp_path_factory):
    """Mines under a root of its own that shares the dumps of the first; gives the root and what was printed."""
    folder = tmp_path_factory.mktemp("ways")
    first = folder / "first"
    recipe = folder / "small.toml"
    recipe.write_text(recipe_text(first, models=MODELS))

    def mine(name, *changes):
        root = folder / name
        if first.exists() and not root.exists():
            root.mkdir()
            for shared in ("images.zarr", "activations"):
                (root / shared).symlink_to(first / shared)
        options = [word for change in changes for word in ("--set", change)]
        return root, rosetta.json("mine", recipe, "--root", root, *options)

    mine("first")
    return mine


@pytest.fixture(scope="module")
def scheduler():
    """A scheduler with two workers, started as a user would; its address."""
    from tasks.cluster.engine import local_processes

    with local_processes(0) as address:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
        options = ["--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
        workers = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, env=os.environ)
        try:
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            yield address
        finally:
            workers.terminate()
            workers.wait(30)


@pytest.mark.soak  # of small models test_one_server.py and test_task_correlate_cluster.py say the same
def test_the_same_tables_from_threads_local_and_an_address_from_matrix_and_neighbours(mined, scheduler):
    expected, printed = mined("first")
    ways = {
        "local": ["compute.cluster=local"],
        "address": [f"compute.cluster={scheduler}"],
        "neighbours": ["matching.keep=neighbours"],
        "neighbours-local": ["matching.keep=neighbours", "compute.cluster=local", "compute.workers=2"],
    }
    for name, changes in ways.items():
        root, other = mined(name, *changes)
        assert other["counts"] == printed["counts"]
        for table in TABLES:
            one, two = (pd.read_parquet(place / f"tables/{table}.parquet") for place in (expected, root))
            rounded = [column for column in ROUNDED if column in one and "neighbours" in name]
            pd.testing.assert_frame_equal(one.drop(columns=rounded), two.drop(columns=rounded), check_exact=True)
            for column in rounded:
                bound = {"rtol": 0.0, **ROUNDED[column]}
                np.testing.assert_allclose(one[column], two[column], err_msg=f"{table} {column}", **bound)
        pair = xr.open_zarr(root / "correlations/dcgan~lite0.zarr")
        if "neighbours" in name:
            assert "pearson" not in pair
            assert pair["neighbours_ab"].shape == (960, 32)
        else:
            whole = xr.open_zarr(expected / "correlations/dcgan~lite0.zarr")
            xr.testing.assert_identical(whole["pearson"].load(), pair["pearson"].load())


@pytest.mark.parametrize("memory", [pytest.param("2 GiB", marks=pytest.mark.soak), "200 MiB"])
def test_ranks(rosetta, tmp_path, memory):
    recipe = tmp_path / "ranks.toml"
    recipe.write_text(recipe_text(tmp_path / "root", models=("dcgan", "lite0"), images="count = 96"))
    options = ['models.dcgan.layers=["main.2", "main.5"]', 'models.lite0.layers=["blocks.2", "blocks.4"]']
    options += ["matching.correlation=spearman", f"compute.memory={memory}"]
    options = [word for option in options for word in ("--set", option)]
    planned = rosetta.json("mine", recipe, "--plan", *options)["pairs"][1]
    sketched = planned["way"] == "spearman, sketched"
    assert sketched == (memory == "200 MiB")
    assert rosetta.json("mine", recipe, *options)["counts"]["rosetta"] > 0
    root = tmp_path / "root"
    found = xr.open_zarr(root / "correlations/dcgan~lite0.zarr").load()
    maps = []
    for model, layer in (("dcgan", "main.5"), ("lite0", "blocks.4")):
        stored = xr.open_datatree(root / f"activations/{model}.zarr", engine="zarr")[layer]["activation"].values
        upsampled = torch.nn.functional.interpolate(
            torch.from_numpy(stored).double(), size=(14, 14), mode="bilinear", align_corners=False
        )
        maps.append(rankdata(upsampled.float().transpose(0, 1).flatten(1).numpy(), axis=1))
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(*maps)[: len(maps[0]), len(maps[0]) :]
    part = found["pearson"].values[np.ix_(found["layer_a"].values == "main.5", found["layer_b"].values == "blocks.4")]
    np.testing.assert_allclose(part, expected, atol=1e-3 if sketched else 1e-5, rtol=0)


def test_a_plan_and_nothing_else(rosetta, tmp_path):
    recipe = tmp_path / "small.toml"
    recipe.write_text(recipe_text(tmp_path / "root", models=MODELS))
    before = sorted(tmp_path.rglob("*"))
    planned = rosetta.json("mine", recipe, "--plan")
    assert sorted(tmp_path.rglob("*")) == before
    assert [pair["pair"] for pair in planned["pairs"]] == ["dcgan~dcgan", "dcgan~lite0", "dcgan~untrained"]
    assert all(pair["peak_bytes"] <= planned["memory_bytes"] for pair in planned["pairs"])
    said = rosetta("mine", recipe, "--plan")
    assert said.returncode == 0
    assert said.stderr == ""
    assert "dcgan~lite0" in said.stdout
    assert "nothing was written" in said.stdout
