"""The maps of a layer as an array that xarray reads piece by piece, through the reader of shards."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import by_block

Index = npt.NDArray[np.integer]


class LayerMaps(BackendArray):
    """(image, channel, y, x) float32. What is selected of it is read when it is computed, and nothing else."""

    def __init__(self, store: ActivationStore, layer: str) -> None:
        self._store, self._layer = store, layer
        one = next(one for one in store.units.layers if one.name == layer)
        self.shape = (store.images, one.channels, *one.grid)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        images, channels = (np.arange(length)[part] for length, part in zip(self.shape, key[:2], strict=False))
        maps = read_maps(self._store, self._layer, np.atleast_1d(images), np.atleast_1d(channels))
        maps = maps[:, :, key[2]][..., key[3]]
        maps = maps if channels.ndim else maps[:, 0]
        return maps if images.ndim else maps[0]


def read_maps(store: ActivationStore, layer: str, images: Index, channels: Index) -> npt.NDArray[np.float32]:
    """(image, channel, y, x) of a layer, in the order asked for; each chunk is read once."""
    grid = next(one.grid for one in store.units.layers if one.name == layer)
    maps = np.empty((len(images), len(channels), *grid), np.float32)
    columns = channels // store.width(layer)
    kinds = np.unique(columns)
    for run in np.split(kinds, np.flatnonzero(np.diff(kinds) > 1) + 1):  # of neighbouring columns of chunks
        across = np.flatnonzero(np.isin(columns, run))
        if not len(across):
            continue
        low, high = int(channels[across].min()), int(channels[across].max()) + 1
        for span, inside in by_block(images, store.chunk, store.images):
            part = store.maps(layer, span, slice(low, high))
            maps[np.ix_(inside, across)] = part[np.ix_(images[inside] - span.start, channels[across] - low)]
    return maps


def lazy_maps(store: ActivationStore, layer: str, attributes: Mapping[Any, Any], **chosen: Index) -> xr.Variable:
    """The maps of a layer (image, channel, y, x) as Dask reads them, block of images by block.

    Parameters
    ----------
    attributes
        Of the variable.
    chosen
        By dimension: what is selected of it.
    """
    maps = indexing.LazilyIndexedArray(LayerMaps(store, layer))
    whole = xr.Variable(("image", "channel", "y", "x"), maps, attributes)
    # The name keeps Dask from hashing the store to find one.
    return whole.isel(chosen).chunk({"image": store.block}, name=f"maps-{uuid4().hex}")
