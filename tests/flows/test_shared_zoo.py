"""A zoo that many runs share: each model is dumped once, and every command finds what lies elsewhere."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tinyzoo import recipe_text

from storage import open_run
from storage.artifacts.shared import shared_places, users
from storage.filesystem.root import Root

pytestmark = pytest.mark.slow


def mine(tiny, folder, name, models, images="", count=20):
    recipe = folder / f"{name}.toml"
    recipe.write_text(recipe_text(folder / name, models, images, count))
    return tiny.json("mine", recipe)


def done(mined):
    return [stage["name"] for stage in mined["stages"] if stage["outcome"] == "done"]


@pytest.fixture(scope="module")
def sweep(tiny, tmp_path_factory):
    """Three runs over one shared root, and what each printed; to be read, not changed."""
    folder = tmp_path_factory.mktemp("sweep")
    shared = f'from = "{folder / "zoo"}"'
    runs = {
        "one": mine(tiny, folder, "one", ("painter", "ada", "bob"), shared),
        "two": mine(tiny, folder, "two", ("painter", "bob", "cyd"), shared),
        "three": mine(tiny, folder, "three", ("ada", "cyd", "dan"), shared, count=0),
    }
    return folder, runs


def test_three_recipes_dump_each_model_once(sweep):
    folder, runs = sweep
    dumps = [stage for mined in runs.values() for stage in done(mined) if stage.startswith("dump")]
    assert sorted(dumps) == ["dump ada", "dump bob", "dump cyd", "dump dan", "dump painter"]
    assert [stage for mined in runs.values() for stage in done(mined) if stage in ("images", "features")] == [
        "images",
        "features",
    ]
    assert sorted(path.name for path in (folder / "zoo/activations").iterdir()) == [
        f"{name}.zarr" for name in ("ada", "bob", "cyd", "dan", "painter")
    ]
    for name in runs:
        assert not {"images.zarr", "activations", "features.zarr", "profiles"} & {
            path.name for path in (folder / name).iterdir()
        }


def test_a_shared_run_gives_what_a_run_of_its_own_gives(sweep, tiny, tmp_path):
    folder, _ = sweep
    mine(tiny, tmp_path, "alone", ("painter", "bob", "cyd"))
    for table in ("units", "buddies", "trust", "rosetta", "clusters"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / f"alone/tables/{table}.parquet"),
            pd.read_parquet(folder / f"two/tables/{table}.parquet"),
        )


def test_every_reader_finds_what_lies_elsewhere(sweep, tiny):
    folder, _ = sweep
    run = open_run(folder / "three")
    assert run.images.sizes["image"] == 20
    assert run.activations("dan")["body.1"].activation.shape == (20, 10, 8, 8)
    assert run.unit("dan", 3).layer == "body.1"
    direct = xr.open_zarr(folder / "zoo/images.zarr").pixels.values
    np.testing.assert_array_equal(run.pixels(slice(None)), direct)
    assert tiny.json("check", folder / "three")["damaged"] == []
    assert tiny("report", folder / "three").returncode == 0
    assert tiny("trust", folder / "three").returncode == 0
    inverted = tiny("invert", folder / "two", "3:4", "--steps", "2", "--json")
    assert inverted.returncode == 0, inverted.stderr


def test_nothing_is_left_to_do_a_second_time(sweep, tiny):
    folder, _ = sweep
    again = tiny("mine", folder / "two.toml")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("Nothing to do")


def test_the_shared_root_knows_its_users(sweep):
    folder, _ = sweep
    found = {user.root.url: user.stores for user in users(Root(str(folder / "zoo")))}
    assert set(found) == {str(folder / name) for name in ("one", "two", "three")}
    for url, stores in found.items():
        assert sorted(place.path for place in shared_places(Root(url)).values()) == sorted(stores)


def test_a_model_of_another_name_is_found_and_one_of_another_kind_gets_a_name_of_its_own(sweep, tiny, tmp_path):
    folder, _ = sweep
    zoo = tmp_path / "zoo"
    shutil.copytree(folder / "zoo", zoo)
    text = recipe_text(tmp_path / "run", ("painter", "ada", "bob"), f'from = "{zoo}"')
    text = text.replace('name = "ada"', 'name = "eve"')  # ada's maps under another name
    text = text.replace('weights = "random:2"', 'weights = "random:9"')  # bob is not the bob that lies there
    recipe = tmp_path / "run.toml"
    recipe.write_text(text)
    before = {path: path.stat().st_mtime_ns for path in (zoo / "activations").rglob("*") if path.is_file()}
    assert [name for name in done(tiny.json("mine", recipe)) if name.startswith("dump")] == ["dump bob"]
    places = {path: place.path for path, place in shared_places(Root(str(tmp_path / "run"))).items()}
    assert places["activations/eve.zarr"] == "activations/ada.zarr"
    assert places["activations/bob.zarr"].startswith("activations/bob-")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(open_run(tmp_path / "run").buddies["model_b"]) == {"painter", "eve", "bob"}


@pytest.mark.parametrize(
    ("models", "images", "count", "says"),
    [
        (("painter", "ada"), 'from = "ZOO"', 21, "has other images (count: 20 → 21)"),
        (("ada", "bob"), 'from = "ZOO"', 7, "asks for 7 images but"),
        (("ada", "bob"), 'from = "NOWHERE"', 0, "has no images yet"),
        (("painter", "ada"), 'from = "ROOT"', 20, "is the run's own root"),
        (("painter", "ada"), 'from = "ONE"', 20, "has its stores from"),
    ],
)
def test_what_cannot_be_shared_is_one_line(sweep, tmp_path, here, models, images, count, says):
    folder, _ = sweep
    for word, path in (
        ("ZOO", folder / "zoo"),
        ("NOWHERE", tmp_path / "no"),
        ("ROOT", tmp_path),
        ("ONE", folder / "one"),
    ):
        images = images.replace(word, str(path))
    recipe = tmp_path / "run.toml"
    recipe.write_text(recipe_text(tmp_path, models, images, count))
    refused = here("mine", recipe)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.toml"]


def test_a_run_that_stops_sharing_makes_its_own(sweep, tiny, tmp_path):
    folder, _ = sweep
    zoo = tmp_path / "zoo"
    shutil.copytree(folder / "zoo", zoo)
    mine(tiny, tmp_path, "run", ("painter", "ada", "bob"), f'from = "{zoo}"')
    assert str(tmp_path / "run") in {user.root.url for user in users(Root(str(zoo)))}
    own = mine(tiny, tmp_path, "run", ("painter", "ada", "bob"))
    assert {"images", "dump painter", "dump ada", "dump bob"} <= set(done(own))
    assert not (tmp_path / "run/shared.json").exists()
    assert str(tmp_path / "run") not in {user.root.url for user in users(Root(str(zoo)))}


def test_a_tampered_list_of_shared_stores_opens_nothing_else(sweep, here, tmp_path):
    folder, _ = sweep
    root = tmp_path / "run"
    shutil.copytree(folder / "one", root)
    told = json.loads((root / "shared.json").read_text())
    (root / "shared.json").write_text(json.dumps(told))
    assert here("check", root).stdout == "shared.json: is damaged: its checksum is wrong\n"
    (root / "seals/shared.json.json").unlink()
    for bad in ("../../etc", "/etc/passwd", "tables/units.parquet"):
        told["stores"]["images.zarr"] = bad
        (root / "shared.json").write_text(json.dumps(told))
        refused = here("check", root)
        assert refused.returncode == 2
        assert "which runs cannot share" in refused.stderr


def test_a_model_that_left_every_recipe_is_shown_and_pruned(sweep, tiny, tmp_path):
    folder, _ = sweep
    zoo, root = tmp_path / "zoo", tmp_path / "run"
    shutil.copytree(folder / "zoo", zoo)
    shutil.rmtree(zoo / "users")
    mine(tiny, tmp_path, "run", ("painter", "ada", "bob"), f'from = "{zoo}"')
    mine(tiny, tmp_path, "run", ("painter", "ada"), f'from = "{zoo}"')
    stale = ["correlations/painter~bob.zarr"]
    stale += [f"tables/{of}/painter~bob.parquet" for of in ("trust", "excess", "examined", "assigned")]
    shown = tiny("prune", root)
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[:-1]] == stale
    assert shown.stdout.splitlines()[-1].endswith("Nothing was removed; add --yes to remove it.")
    printed = tiny.json("prune", root)
    assert [entry["path"] for entry in printed["leftovers"]] == stale
    assert (printed["removed"], all((root / path).exists() for path in stale)) == (False, True)
    assert tiny.json("prune", root, "--yes")["removed"]
    assert not any((root / path).exists() for path in stale)
    assert tiny("prune", root).stdout == "Nothing to remove.\n"
    assert tiny("prune", zoo, "--yes").returncode == 0
    assert sorted(path.name for path in (zoo / "activations").iterdir()) == ["ada.zarr", "painter.zarr"]
    assert tiny.json("check", root)["damaged"] == []
    assert tiny("mine", tmp_path / "run.toml").stdout.startswith("Nothing to do")


def test_status_names_what_is_shared(sweep, tiny):
    folder, _ = sweep
    found = tiny.json("status", folder / "two")
    assert (found["root"], found["run"], found["state"]) == (str(folder / "two"), "tiny", "complete")
    where = {entry["artifact"]: entry["shared"] for entry in found["artifacts"]}
    assert where["activations/cyd.zarr"] == f"{folder / 'zoo'}/activations/cyd.zarr"
    assert where["correlations/painter~cyd.zarr"] is None
    assert sorted(tiny.json("status", folder / "zoo")["users"]) == sorted(str(folder / name) for name in sweep[1])


def test_what_is_damaged_under_the_shared_root_is_mended_there(tiny, tmp_path):
    shared = f'from = "{tmp_path / "zoo"}"'
    mine(tiny, tmp_path, "one", ("painter", "ada", "bob"), shared)
    tables = {path.name: path.read_bytes() for path in (tmp_path / "one/tables").glob("*.parquet")}
    chunk = next(path for path in (tmp_path / "zoo/activations/bob.zarr").rglob("activation/c/0/*/*/0"))
    before = chunk.read_bytes()
    chunk.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    told = tiny("check", tmp_path / "one")
    assert told.returncode == 2
    assert told.stdout.startswith(f"{tmp_path}/zoo/activations/bob.zarr/")
    mended = tiny.json("mine", tmp_path / "one.toml", "--mend")
    assert [stage["name"] for stage in mended["stages"] if stage["outcome"] == "done"] == ["dump bob"]
    assert chunk.read_bytes() == before
    assert {path.name: path.read_bytes() for path in (tmp_path / "one/tables").glob("*.parquet")} == tables
    assert tiny("check", tmp_path / "one").stdout == "No damage found.\n"


def test_two_runs_that_want_the_same_model_dump_it_once(tiny, tmp_path):
    shared = f'from = "{tmp_path / "zoo"}"'
    mine(tiny, tmp_path, "first", ("painter", "ada"), shared)
    started = []
    for name in ("left", "right"):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(recipe_text(tmp_path / name, ("painter", "ada", "bob"), shared, 20))
        started.append(tiny.start("mine", recipe, "--json"))
    ended = [(*process.communicate(timeout=240), process.returncode) for process in started]
    assert [code for _, _, code in ended] == [0, 0], [errors for _, errors, _ in ended]
    said = [json.loads(out) for out, _, _ in ended]
    outcomes = sorted(stage["outcome"] for mined in said for stage in mined["stages"] if stage["name"] == "dump bob")
    assert outcomes == ["done", "skipped"]
    assert not list((tmp_path / "zoo").rglob("*.lock"))
