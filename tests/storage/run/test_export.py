"""A part of a run in one file: what is in it, in either kind of file, and that it is there as a whole or not at all."""

import json

import finished
import numpy as np
import pytest
import xarray as xr

import storage
from rosetta.errors import UserError
from storage.run.export import exported, matched_units, require_new, write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return storage.open_run(finished.write(tmp_path_factory.mktemp("run") / "root"))


@pytest.fixture(scope="module")
def tree(run):
    return exported(run, {"d": [2, 0], "g": slice(1, None)}, [7, 0, 3])


@pytest.mark.parametrize("name", ["part.nc", "part.zarr"])
def test_what_is_written_is_what_the_run_holds(run, tree, tmp_path, name):
    write(tree, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    back = xr.open_datatree(tmp_path / name)
    shown = [7, 0, 3]
    assert back["image"].values.tolist() == shown
    assert back["class"].values.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(back["images"]["pixels"], finished.pixels()[shown])
    assert back["images"]["latent"].dims == ("image", "z")
    early, deep = finished.maps_of("d").values()
    np.testing.assert_array_equal(back["maps/d/early"]["activation"], early[shown][:, [0]])
    np.testing.assert_array_equal(back["maps/d/deep"]["activation"], deep[shown][:, [0]])
    assert back["maps/d"].rosetta.sel(unit=2)["activation"].shape == (3, 2, 2)
    xr.testing.assert_equal(back["units/d"].to_dataset(), run.units("d").isel(unit=[2, 0], image=shown))
    assert back["units/g"]["unit"].values.tolist() == [1, 2]
    assert json.loads(back["maps/g"].attrs["depends_json"])["of"] == "g"
    assert back.attrs["summary"] == "4 units of d, g over 3 of 10 images"
    assert 'name = "spots"' in back.attrs["recipe"]


def test_matches_of_the_chosen_units(run):
    assert exported(run, {"d": 0})["matches"]["unit_a"].values.tolist() == [0]
    alone = exported(run, {"d": 1, "g": 2})["matches"]
    assert alone.sizes["match"] == 0


@pytest.mark.parametrize("name", ["none.nc", "none.zarr"])
def test_no_matches_and_no_images(run, tmp_path, name):
    write(exported(run, {"d": 1}, []), tmp_path / name)
    back = xr.open_datatree(tmp_path / name)
    assert (back["matches"].sizes["match"], back.sizes["image"]) == (0, 0)


def test_units_of_neurons_are_the_default(run):
    assert {model: units.tolist() for model, units in matched_units(run).items()} == {"g": [0], "d": [0]}


@pytest.mark.parametrize("name", ["part.nc", "part.zarr"])
def test_a_file_is_whole_or_not_there(run, tmp_path, name):
    broken = exported(run, {"d": 0})
    (run.root.local / "activations/d.zarr/early/activation/c/1/0/0/0").rename(tmp_path / "aside")
    with pytest.raises(FileNotFoundError, match="missing"):
        write(broken, tmp_path / name)
    (tmp_path / "aside").rename(run.root.local / "activations/d.zarr/early/activation/c/1/0/0/0")
    assert list(tmp_path.iterdir()) == []


def test_where_something_is_nothing_is_written(run, tree, tmp_path):
    (tmp_path / "there.nc").write_text("mine")
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "link.nc").symlink_to("nowhere")
    for name, words in {
        "there.nc": "exists",
        "there.zarr": "exists",
        "link.nc": "exists",
        "part.csv": r"part.csv is neither .* ends in \.nc or \.zarr",
        "part": "neither",
        "no/folder.nc": "there is no folder .*/no",
    }.items():
        for refuse in (require_new, lambda out: write(tree, out)):
            with pytest.raises(UserError, match=words):
                refuse(tmp_path / name)
    assert (tmp_path / "there.nc").read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.nc", "there.nc", "there.zarr"]


def test_plain_xarray_writes_every_store_as_netcdf(run, tmp_path):
    stores = sorted(run.root.local.rglob("*.zarr"))
    assert len(stores) == 7
    for store in stores:
        with xr.open_datatree(store, engine="zarr") as tree:
            tree.to_netcdf(tmp_path / "any.nc")
            xr.testing.assert_identical(xr.load_datatree(tmp_path / "any.nc"), tree.load())


@pytest.mark.parametrize(
    "view",
    [
        lambda run: run.units("g"),
        lambda run: run.maps("g", [0, 1]),
        lambda run: run.images,
        lambda run: run.correlation("d", "g"),
        lambda run: run.unit("d", 2).maps(),
    ],
)
def test_every_view_is_written_as_netcdf(run, tmp_path, view):
    view(run).to_netcdf(tmp_path / "any.nc")
    loaded = xr.load_dataset(tmp_path / "any.nc")
    expected = view(run)
    xr.testing.assert_equal(loaded, expected.to_dataset() if isinstance(expected, xr.DataArray) else expected.load())


def test_a_tree_of_activations_is_written_as_netcdf(run, tmp_path):
    run.activations("g", [0, 2]).to_netcdf(tmp_path / "any.nc")
    back = xr.load_datatree(tmp_path / "any.nc")
    np.testing.assert_array_equal(back["late"]["activation"], finished.maps_of("g")["late"])
    assert back.rosetta.layers == (finished.HOSTILE, "late")
