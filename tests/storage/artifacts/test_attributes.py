"""Attributes of stores: flat enough for netCDF, the same when read, and layers in forward order."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON, KEYS

from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.attributes import decode, encode
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root


@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_attributes_come_back_as_they_were(attributes):
    stored = encode(attributes)
    assert all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in stored.values())
    known = {name: value for name, value in attributes.items() if value is not None}
    flags_as_numbers = {name: int(value) if isinstance(value, bool) else value for name, value in known.items()}
    assert text(decode(stored)) == text(flags_as_numbers)
    assert text(decode(attributes)) == text(attributes), "as format 2 stored them"


def text(value):
    return json.dumps(value, sort_keys=True)


def test_damaged_attributes_are_an_error():
    with pytest.raises(ValueError, match="Expecting value"):
        decode({"layers_json": "["})


@pytest.fixture
def store(tmp_path):
    """Layers whose names sort the other way round, and no data but zeros."""
    units = Units((Layer("zeta", 2, (2, 2)), Layer("mid", 1, (2, 2)), Layer("alpha", 3, (1, 1))))
    store = ActivationStore.create(
        Root(str(tmp_path)),
        "d",
        fingerprint("activations", of="d"),
        units=units,
        images=2,
        block=2,
        chunk=2,
        codecs=dict.fromkeys(("zeta", "mid", "alpha"), "zstd"),
        labels={"source": np.array(["a.png", "b.png"], dtype=object)},
        attributes={"preprocessing": {"size": [2, 2], "mean": None}, "generator": False, "weights_sha256": None},
    )
    store.finish()
    return tmp_path / "activations/d.zarr"


def test_plain_xarray_has_layers_in_forward_order_and_sources_as_coordinates(store):
    tree = xr.open_datatree(store, engine="zarr")
    assert list(tree.children) == ["zeta", "mid", "alpha", "bookkeeping"]
    assert tree.coords["source"].values.tolist() == ["a.png", "b.png"]


def test_plain_xarray_writes_a_store_as_netcdf(store, tmp_path):
    tree = xr.open_datatree(store, engine="zarr")
    tree.to_netcdf(tmp_path / "d.nc")
    back = xr.load_datatree(tmp_path / "d.nc")
    xr.testing.assert_identical(back, tree.load())
    assert list(back.children) == list(tree.children)
    assert json.loads(back.attrs["preprocessing_json"]) == {"size": [2, 2], "mean": None}
    assert (back.attrs["generator"], back.attrs["complete"], "weights_sha256" in back.attrs) == (0, 1, False)
