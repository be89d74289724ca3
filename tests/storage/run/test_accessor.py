"""`tree.rosetta` on what plain xarray opens, of either format, and in either order of imports."""

import subprocess
import sys
import zipfile
from pathlib import Path

import finished
import numpy as np
import pytest
import xarray as xr

from rosetta.errors import UserError
from storage.run.accessor import RosettaAccessor

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=["3", "2"])
def opened(request, tmp_path_factory):
    """A tree of activations as plain xarray opens it, and the maps of its layers in forward order."""
    place = tmp_path_factory.mktemp("run")
    if request.param == "3":
        store = finished.write(place / "root") / "activations/g.zarr"
        return xr.open_datatree(store, engine="zarr"), finished.maps_of("g")
    with zipfile.ZipFile(REPOSITORY / "tests/stores_of_versions/2/root.zip") as archive:
        archive.extractall(place)
    tree = xr.open_datatree(place / "activations/painter.zarr", engine="zarr")
    return tree, {name: tree[name]["activation"].values for name in ("body.1", "body.3")}


def test_layers_and_units_in_forward_order(opened):
    tree, maps = opened
    assert isinstance(tree.rosetta, RosettaAccessor)
    assert tree.rosetta.layers == tuple(maps)
    units = tree.rosetta.units()
    np.testing.assert_array_equal(units["peak"], np.concatenate([one.max(axis=(2, 3)) for one in maps.values()], 1))
    assert units["unit"].values.tolist() == list(range(sum(one.shape[1] for one in maps.values())))
    assert units["layer"].values.tolist() == [name for name, one in maps.items() for _ in range(one.shape[1])]
    assert units.sel(unit=1)["channel"] == 1


def test_any_one_unit(opened):
    tree, maps = opened
    unit = 0
    for name, layer in maps.items():
        for channel in range(layer.shape[1]):
            found = tree.rosetta.sel(unit=unit)
            np.testing.assert_array_equal(found["activation"], layer[:, channel])
            assert found["activation"].dims == ("image", "y", "x")
            assert (int(found["unit"]), int(found["channel"])) == (unit, channel)
            np.testing.assert_array_equal(tree.rosetta.sel(unit=unit, image=3)["activation"], layer[3, channel])
            # What it takes without the accessor.
            plain = tree[name].to_dataset().set_xindex("unit").sel(unit=unit)
            np.testing.assert_array_equal(plain["activation"], found["activation"])
            unit += 1


def test_several_units_are_a_tree_of_their_layers(opened):
    tree, maps = opened
    (first, second), (early, late) = maps, maps.values()
    count = early.shape[1]
    found = tree.rosetta.sel(unit=[count, 1, 0], image=[4, 2])
    assert list(found.children) == [first, second]
    np.testing.assert_array_equal(found[first]["activation"], early[[4, 2]][:, [1, 0]])
    np.testing.assert_array_equal(found[second]["activation"], late[[4, 2]][:, [0]])
    assert found[first]["unit"].values.tolist() == [1, 0]
    assert found.rosetta.layers == (first, second)
    assert list(tree.rosetta.sel(unit=range(2)).children) == [first]
    assert tree.rosetta.sel(unit=[]).children == {}


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda tree: tree.rosetta.sel(unit=999), ("unit 999 is not in this tree", "0 to")),
        (lambda tree: tree.rosetta.sel(unit=[0, -1]), ("unit -1",)),
        (lambda tree: tree.rosetta.sel(unit="0"), ("unit '0' is not an index",)),
        (lambda tree: tree.rosetta.sel(unit=0.5), ("unit 0.5 is not an index",)),
        (lambda tree: xr.DataTree().rosetta.layers, ("no layers with activations",)),
    ],
)
def test_what_is_not_there_is_one_line(opened, ask, words):
    with pytest.raises(UserError) as refusal:
        ask(opened[0])
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "imports",
    ["import rosetta, xarray", "import xarray, rosetta", "import storage, xarray", "import xarray, storage"],
)
def test_the_accessor_is_there_in_either_order_of_imports(imports):
    code = f"{imports}; print(xarray.DataTree().rosetta)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "RosettaAccessor" in done.stdout


def test_nothing_waits_for_xarray_that_needs_none():
    code = "import sys, rosetta, storage, flows.command.main; print('xarray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
