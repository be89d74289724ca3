"""Views over all layers of a model, against the maps that were written."""

import zipfile
from pathlib import Path

import finished
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import storage
from rosetta.errors import UserError

VERSIONS = Path(__file__).parents[2] / "stores_of_versions"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return storage.open_run(finished.write(tmp_path_factory.mktemp("run") / "root"))


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A run of format 2."""
    place = tmp_path_factory.mktemp("older")
    with zipfile.ZipFile(VERSIONS / "2/root.zip") as archive:
        archive.extractall(place)
    return storage.open_run(place)


@pytest.mark.parametrize("model", finished.LAYERS)
def test_all_units_of_a_model_in_one_dataset(run, model):
    units, maps = run.units(model), finished.maps_of(model)
    every = np.concatenate([layer.max(axis=(2, 3)) for layer in maps.values()], axis=1)
    assert units["peak"].dims == ("image", "unit")
    assert units["peak"].chunks is not None, "read when it is computed"
    np.testing.assert_array_equal(units["peak"], every)
    np.testing.assert_array_equal(units["maximum"], every.max(axis=0))
    table = run.unit_table.query("model == @model")
    for name in ("unit", "layer", "channel", "grid_y", "grid_x", "mean", "std", "kurtosis"):
        np.testing.assert_array_equal(units[name], table[name])
    assert set(units.xindexes) == {"unit", "image"}
    assert units["class"].values.tolist() == [image % 2 for image in range(finished.IMAGES)]
    assert all(units[name].attrs["long_name"] for name in units.data_vars)


def test_what_the_tables_say_of_units(run):
    anchor, matched, control = (run.units(model) for model in "gdc")
    for units in (anchor, matched):
        assert units["buddies"].values.tolist() == [1, 0, 0]
        assert units["pearson"].values[0] == pytest.approx(run.concept(0).pearson("d"))
        assert np.isnan(units["pearson"].values[1:]).all()
        assert units["rosetta"].values.tolist() == units["concept"].values.tolist() == [0, -1, -1]
        assert units["trusted"].values.tolist() == [True, False, False]
    assert control["concept"].values.tolist() == [-1, -1]


def test_units_over_all_layers_answer_as_one_array(run):
    units = run.units("d").load()
    bright = np.arange(finished.IMAGES)
    likeness = xr.corr(units["peak"], xr.DataArray(bright, dims="image"), "image")
    assert likeness.idxmax("unit") == 0, "whose spot is brighter image by image"
    by_class = units["peak"].groupby("class").mean("image")
    every = units["peak"].values
    np.testing.assert_allclose(by_class.sel({"class": 1}), every[1::2].mean(axis=0), rtol=1e-6)


@given(st.sampled_from(list(finished.LAYERS)), st.data())
def test_maps_are_those_of_each_unit(run, model, data):
    layer, maps = data.draw(st.sampled_from(list(finished.maps_of(model).items())))
    first = run.units(model)["layer"].values.tolist().index(layer)
    channels = data.draw(st.lists(st.integers(0, maps.shape[1] - 1), min_size=1, max_size=5))
    images = data.draw(st.none() | st.lists(st.integers(0, finished.IMAGES - 1), max_size=5))
    found = run.maps(model, [first + channel for channel in channels], images)
    shown = list(range(finished.IMAGES)) if images is None else images
    np.testing.assert_array_equal(found, maps[np.array(shown, dtype=int)][:, channels])
    assert found.dims == ("image", "unit", "y", "x")
    assert found["unit"].values.tolist() == [first + channel for channel in channels]
    assert found["channel"].values.tolist() == channels
    assert set(found["layer"].values.tolist()) == {layer}
    assert found["image"].values.tolist() == shown
    assert found["class"].values.tolist() == [image % 2 for image in shown]
    assert found["y"].values[0] == pytest.approx(0.5 / maps.shape[2])


def test_maps_of_several_layers_with_one_grid(older):
    layers = older.activations("painter")
    grids = {layer.name: layer.grid for layer in older.stores["painter"].units.layers}
    assert len(set(grids.values())) == 2
    of_both = [name for name in grids if grids[name] == grids["body.1"]]
    units = [int(layers[name]["unit"][channel]) for channel in (2, 0) for name in of_both]
    maps = older.maps("painter", units, [3, 1])
    expected = [layers[name]["activation"].values[[3, 1], channel] for channel in (2, 0) for name in of_both]
    np.testing.assert_array_equal(maps, np.stack(expected, axis=1))


def test_part_of_the_activations(run):
    tree = run.activations("g", [2, 0], slice(3, 1, -1))
    first, second = finished.maps_of("g").values()
    assert list(tree.children) == [finished.HOSTILE, "late"]
    np.testing.assert_array_equal(tree[finished.HOSTILE]["activation"], first[[3, 2]][:, [0]])
    np.testing.assert_array_equal(tree["late"]["peak"], second[[3, 2]].max(axis=(2, 3)))
    assert list(run.activations("g", 1).children) == [finished.HOSTILE]
    assert tree.coords["class"].values.tolist() == [1, 0]


def test_format_2_reads_the_same(older):
    units, tree = older.units("ada"), older.activations("ada")
    assert tree.rosetta.layers == tuple(older.layers("ada"))
    for name in older.layers("ada"):
        raw = xr.open_zarr(older.root.local / "activations/ada.zarr", group=name)
        np.testing.assert_array_equal(tree[name]["activation"], raw["activation"].astype(np.float32))
        np.testing.assert_array_equal(units["peak"][:, units["layer"].values == name], raw["peak"])
        assert set(tree[name].xindexes) == {"image", "channel", "unit", "y", "x"}
    assert "rounding" not in units
    assert tree.to_dataset().data_vars.keys() == set()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: run.units("dd"), ("model 'dd'", "did you mean 'd'")),
        (lambda run: run.maps("e", 0), ("model 'e'",)),
        (lambda run: run.maps("d", 3), ("unit 3 is not in d", "0 to 2")),
        (lambda run: run.maps("d", -1), ("unit -1",)),
        (lambda run: run.maps("d", [0, 2]), ("early 8 × 4", "deep 2 × 2", "one grid at a time")),
        (lambda run: run.maps("d", []), ("no unit",)),
        (lambda run: run.maps("d", 0, 10), ("image 10", "0 to 9")),
        (lambda run: run.maps("d", 0.5), ("unit np.float64(0.5)", "whole numbers")),
        (lambda run: run.maps("d", 0, ["a.png"]), ("image", "a.png", "whole numbers")),
        (lambda run: run.activations("d", [7]), ("unit 7",)),
    ],
)
def test_what_is_not_there_is_one_line(run, ask, words):
    with pytest.raises(UserError) as refusal:
        ask(run)
    assert "\n" not in str(refusal.value)
    for word in words:
        assert word in str(refusal.value)
