"""A store of activations: its files are as many as forecast, and what follows from its bookkeeping is rebuilt."""

import numpy as np
import pytest
import xarray as xr
import zarr
from stores import write_blocks

from rosetta.errors import UserError
from rosetta.units import Layer, Units
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore, file_count
from storage.artifacts.blocks import Blocks, model_blocks
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root

UNITS = Units((Layer("first", 30, (4, 6)), Layer("second.deep", 7, (2, 2)), Layer("again", 13, (1, 1))))
MADE = fingerprint("activations", of="m")
IMAGES, CHUNK, SHARD = 21, 2, 8
LABELS = {"source": np.array([f"a/{i}.png" for i in range(IMAGES)], object), "label": np.array(["a"] * IMAGES, object)}


def create(root: Root, units: Units = UNITS, images: int = IMAGES, **changes) -> ActivationStore:
    labels = {name: values[:images] for name, values in LABELS.items()} if images <= IMAGES else {}
    codecs = {layer.name: "lz4" for layer in units.layers}
    options = {"block": SHARD, "chunk": CHUNK, "codecs": codecs, "labels": labels, "attributes": {"name": "m"}}
    return ActivationStore.create(root, "m", MADE, units=units, images=images, **options | changes)


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path))


@pytest.fixture
def maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        layer.name: random.normal(size=(IMAGES, layer.channels, *layer.grid)).astype(np.float16).astype(np.float32)
        for layer in UNITS.layers
    }


def test_files_are_as_many_as_forecast(root, maps):
    write_blocks(create(root), maps)
    files = sum(path.is_file() for path in (root.local / "activations/m.zarr").rglob("*"))
    assert files == file_count(UNITS, IMAGES, SHARD, labels=len(LABELS))


def test_many_peaks_are_cut_along_channels(root):
    units = Units((Layer("wide", 600, (1, 1)),))
    images = 20_000
    store = create(root, units, images, block=8192, chunk=8192)
    write_blocks(store, {"wide": np.ones((images, 600, 1, 1), np.float32)})
    files = sum(path.is_file() for path in (root.local / "activations/m.zarr").rglob("*"))
    assert files == file_count(units, images, 8192, labels=0)


def test_plain_xarray_finds_names_and_coordinates(root, maps):
    write_blocks(create(root), maps)
    tree = xr.open_datatree(root.local / "activations/m.zarr", engine="zarr")
    layer = tree["second.deep"].to_dataset()
    np.testing.assert_array_equal(layer.activation, maps["second.deep"])
    assert layer.activation.dtype == np.float32
    assert layer.activation.dims == ("image", "channel", "y", "x")
    assert layer.unit.values.tolist() == list(range(30, 37))
    assert layer.x.values.tolist() == [0.25, 0.75]
    assert layer.layer.item() == "second.deep"
    assert set(layer.coords) == {"image", "channel", "y", "x", "unit", "layer", "source", "label"}
    assert set(layer.data_vars) == {"activation", "peak", "mean", "std", "rounding"}
    chosen = layer.activation.set_xindex("unit").sel(unit=31, image=4)
    np.testing.assert_array_equal(chosen, maps["second.deep"][4, 1])
    assert not set(tree.data_vars)
    raw = xr.open_zarr(root.local / "activations/m.zarr", group="again", mask_and_scale=False, consolidated=False)
    np.testing.assert_array_equal(raw.activation, maps["again"])


def test_peaks_of_a_layer_follow_from_the_bookkeeping(root, maps):
    store = create(root)
    write_blocks(store, maps)
    group = zarr.open_group(root.store("activations/m.zarr"), mode="r+")
    whole = store.peaks("first")
    np.testing.assert_array_equal(whole, maps["first"].max(axis=(2, 3)))
    layout.array_of(group, "first", "peak")[...] = 0
    layout.array_of(group, "first", "mean")[...] = 0
    ActivationStore(group).finish()
    again = ActivationStore.read(root, "m")
    np.testing.assert_array_equal(again.peaks("first"), whole)
    np.testing.assert_allclose(again.mean()[:30], maps["first"].mean(axis=(0, 2, 3), dtype=float), atol=1e-6)


def test_finishing_reads_bookkeeping_once_and_in_parts(root, maps, monkeypatch):
    write_blocks(create(root), maps)
    whole = {
        path.name: path.read_bytes()
        for path in (root.local / "activations/m.zarr/first/peak/c").rglob("*")
        if path.is_file()
    }
    expected = ActivationStore.read(root, "m")
    peaks, mean, std = expected.peaks("second.deep"), expected.mean(), expected.std()
    root.remove("activations")
    monkeypatch.setattr("storage.artifacts.activations._SLAB_BYTES", 4 * IMAGES * 8)  # of eight units
    store = create(root)
    largest, reads = 0, 0
    get = zarr.Array.__getitem__

    def counted(array, selection):
        nonlocal largest, reads
        part = get(array, selection)
        if array.path.startswith("bookkeeping/") and array.ndim > 1:
            largest, reads = max(largest, part.nbytes), reads + part.size
        return part

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    write_blocks(store, maps)
    assert reads == IMAGES * len(UNITS) + 3 * 3 * len(UNITS)
    assert largest <= max(4 * IMAGES * 8, 8 * 3 * len(UNITS))
    again = ActivationStore.read(root, "m")
    np.testing.assert_array_equal(again.peaks("second.deep"), peaks)
    np.testing.assert_array_equal([again.mean(), again.std()], [mean, std])
    assert {
        path.name: path.read_bytes()
        for path in (root.local / "activations/m.zarr/first/peak/c").rglob("*")
        if path.is_file()
    } == whole
    files = sum(path.is_file() for path in (root.local / "activations/m.zarr").rglob("*"))
    assert files == file_count(UNITS, IMAGES, SHARD, labels=len(LABELS))


@pytest.mark.parametrize("name", ["image", "source", "label", "class", "bookkeeping"])
def test_a_layer_called_like_a_part_of_the_store_is_refused(name, root):
    with pytest.raises(UserError, match=f"model m: layer '{name}' is called like a part of its store; leave it out"):
        create(root, Units((Layer(name, 3, (2, 2)),)))
    assert not root.exists("activations")


@pytest.mark.parametrize(
    ("layers", "channels", "grid", "images", "blocks"),
    [
        (1, 8, 4, 5, Blocks(8, 8)),
        (12, 3072, 14, 512, Blocks(8, 8)),
        (12, 3072, 14, 50_000, Blocks(8, 64)),
        (28, 4608, 16, 50_000, Blocks(4, 16)),
    ],
)
def test_shards_grow_with_the_images_and_stay_in_memory(layers, channels, grid, images, blocks):
    units = Units(tuple(Layer(f"l{number}", channels, (grid, grid)) for number in range(layers)))
    assert model_blocks(units, images, 16) == blocks


def test_a_vit_of_fifty_thousand_images_has_few_files():
    units = Units(tuple(Layer(f"l{number}", 3072, (14, 14)) for number in range(12)))
    assert file_count(units, 50_000, model_blocks(units, 50_000, 16).shard, labels=2) < 20_000
