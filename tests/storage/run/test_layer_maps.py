"""Maps that are read as they are selected, against NumPy's own indexing, and how many bytes that takes."""

import dask
import numpy as np
import pytest
import stores
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from storage.filesystem.traffic import Traffic, counted
from storage.run.layer_maps import lazy_maps, read_maps

LAYER = "low"
SHAPE = (stores.IMAGES, 40, 3, 5)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = Root(str(tmp_path_factory.mktemp("run")))
    maps = stores.fill(root, "a")
    return ActivationStore.read(root, "a"), maps[LAYER]


def indexers(length):
    """An integer, a slice or a list, as xarray takes them."""
    number = st.integers(-length, length - 1)
    part = st.builds(slice, *[st.none() | st.integers(-length, length)] * 2, st.sampled_from([None, 1, 2, 5, -1, -3]))
    return number | part | st.lists(number, max_size=6).map(lambda many: np.array(many, dtype=int))


@given(st.tuples(*map(indexers, SHAPE)))
def test_any_selection_is_that_of_numpy(stored, key):
    store, maps = stored
    lazy = xr.DataArray(lazy_maps(store, LAYER, {}))
    expected = xr.DataArray(maps, dims=lazy.dims)
    selected = dict(zip(lazy.dims, key, strict=True))
    np.testing.assert_array_equal(lazy.isel(selected), expected.isel(selected))


@given(
    st.lists(st.integers(0, SHAPE[0] - 1), max_size=8).map(np.array),
    st.lists(st.integers(0, SHAPE[1] - 1), max_size=8).map(np.array),
)
def test_selected_before_it_is_cut_into_chunks(stored, images, channels):
    store, maps = stored
    images, channels = images.astype(np.intp), channels.astype(np.intp)
    expected = maps[images][:, channels]
    np.testing.assert_array_equal(lazy_maps(store, LAYER, {}, image=images, channel=channels), expected)
    np.testing.assert_array_equal(read_maps(store, LAYER, images, channels), expected)


@pytest.mark.parametrize(
    ("selected", "most"),
    [
        (lambda maps: maps.isel(channel=3), 0.4),
        (lambda maps: maps.isel(channel=3).mean(("y", "x")), 0.4),
        (lambda maps: maps.isel(image=4), 0.4),
        (lambda maps: maps.isel(image=4, channel=slice(2, 5)), 0.16),
    ],
)
def test_no_more_is_read_than_the_chunks_that_are_asked_for(stored, selected, most):
    """Chunks are of 8 images and 10 of 40 channels."""
    store, _ = stored
    lazy = xr.DataArray(lazy_maps(ActivationStore(store.group), LAYER, {}))
    before, traffic = counted.set(Traffic()), counted.get
    with dask.config.set(scheduler="synchronous"):  # in this context, which is the one that is counted
        lazy.compute()
        everything = traffic().read.bytes
        selected(lazy).compute()
    assert 0 < traffic().read.bytes - everything <= most * everything
    counted.reset(before)
