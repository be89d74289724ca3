"""The correlation stage over stores: any memory, any root, interrupted anywhere, the same numbers."""

import numpy as np
import oracle
import pytest
import xarray as xr

from rosetta.errors import UserError
from rosetta.mining.plan import plan_pair
from rosetta.units import Layer, Units
from storage import correlations
from storage.activations import ActivationStore, LayerBlock
from storage.blocks import block_slice
from storage.correlations import CorrelationStore
from storage.fingerprint import fingerprint
from storage.location import Root
from tasks.correlate import correlate

IMAGES = 22
LAYERS = {
    "a": (Layer("low", 40, (3, 5)), Layer("high", 30, (9, 4))),
    "b": (Layer("x", 25, (6, 6)), Layer("y", 20, (2, 2)), Layer("z", 5, (12, 7))),
}
BLOCKS = {"a": 8, "b": 4}


def fill(root: Root, name: str) -> dict[str, np.ndarray]:
    """A store of smooth random maps with one dead unit; its maps by layer."""
    random = np.random.default_rng(len(name))
    units = Units(LAYERS[name])
    store = ActivationStore.create(
        root,
        name,
        fingerprint("activations", of=name),
        units=units,
        images=IMAGES,
        block=BLOCKS[name],
        dtypes={layer.name: "float16" for layer in units.layers},
        attributes={},
    )
    scene = random.normal(size=(IMAGES, 1, 1, 1))
    maps = {
        layer.name: (scene * random.normal(size=(1, layer.channels, 1, 1)) + random.normal(
            size=(IMAGES, layer.channels, *layer.grid)
        )).astype(np.float16)
        for layer in units.layers
    }  # fmt: skip
    maps[units.layers[0].name][:, 7] = 2.5
    for block in range(-(-IMAGES // store.block)):
        span = block_slice(block, store.block, IMAGES)
        parts = {}
        for layer in units.layers:
            values = maps[layer.name][span]
            flat = values.astype(np.float64).transpose(1, 0, 2, 3).reshape(layer.channels, -1)
            mean = flat.mean(axis=1)
            square = ((flat - mean[:, None]) ** 2).sum(axis=1)
            parts[layer.name] = LayerBlock(values, values.max(axis=(2, 3)).astype(np.float32), mean, square)
        store.write(block, parts)
    store.finish()
    return maps


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path))


def expected(maps_a, maps_b):
    return np.block([[oracle.textbook_pearson(x, y) for y in maps_b.values()] for x in maps_a.values()])


@pytest.mark.parametrize("url", ["{tmp}/run", "memory://correlate"])
def test_over_stores_at_any_url(tmp_path, url):
    root = Root(url.format(tmp=tmp_path))
    maps = {name: fill(root, name) for name in LAYERS}
    for a, b in (("a", "b"), ("a", "a")):
        assert correlate.fn(root, fingerprint("c", a=a, b=b), a, b, 1 << 30, 2, "cpu").outcome == "done"
        found = CorrelationStore.read(root, a, b).pearson()
        np.testing.assert_allclose(found, expected(maps[a], maps[b]), atol=1e-5, rtol=0)
        assert np.isnan(found[7]).all()
        assert correlate.fn(root, fingerprint("c", a=a, b=b), a, b, 1 << 30, 2, "cpu").outcome == "skipped"
    root.remove("")


def test_little_memory_and_interruption_give_the_same_numbers(root, monkeypatch):
    maps = {name: fill(root, name) for name in LAYERS}
    monkeypatch.setattr(correlations, "_CHUNK", 4 * 50 * 16)  # bands of 16 rows
    little = 240_000
    units = [Units(LAYERS[name]) for name in LAYERS]
    plan = plan_pair(*units, blocks=(8, 4), itemsize=2, band=16, memory=little, threads=2)
    assert plan.rows < 70, "this memory takes more than one pass"

    wanted = fingerprint("c", of="ab")
    correlate.fn(root, wanted, "a", "b", little, 2, "cpu")
    whole = CorrelationStore.read(root, "a", "b").pearson()
    np.testing.assert_allclose(whole, expected(maps["a"], maps["b"]), atol=1e-5, rtol=0)

    store = CorrelationStore.open(root, "a", "b", wanted)
    store.group.attrs["complete"] = False
    store.group["written"][2:4] = False
    store.group["pearson"][32:64] = 9.0
    assert correlate.fn(root, wanted, "a", "b", little, 2, "cpu").outcome == "done"
    np.testing.assert_array_equal(CorrelationStore.read(root, "a", "b").pearson(), whole)


def test_labels(root, tmp_path):
    for name in LAYERS:
        fill(root, name)
    correlate.fn(root, fingerprint("c"), "a", "b", 1 << 30, 1, "cpu")
    pair = xr.open_zarr(tmp_path / "correlations/a~b.zarr")
    assert pair["layer_b"].values.tolist() == ["x"] * 25 + ["y"] * 20 + ["z"] * 5
    assert pair["channel_a"].values[[0, 39, 40, 69]].tolist() == [0, 39, 0, 29]


def test_memory_that_holds_nothing(root):
    for name in LAYERS:
        fill(root, name)
    with pytest.raises(UserError, match=r"compute.memory: 0 MiB is too little; this pair of models needs 1 MiB"):
        correlate.fn(root, fingerprint("c"), "a", "b", 1000, 2, "cpu")


@pytest.mark.parametrize("memory", [2**k for k in range(20, 34)])
def test_a_plan_keeps_its_memory(memory):
    a = Units(tuple(Layer(f"a{i}", 1000, (16, 16)) for i in range(4)))
    b = Units(tuple(Layer(f"b{i}", 768, (14, 14)) for i in range(4)))
    if memory < 2**26:
        with pytest.raises(UserError, match=r"compute\.memory"):
            plan_pair(a, b, blocks=(16, 8), itemsize=2, band=128, memory=memory, threads=2)
        return
    plan = plan_pair(a, b, blocks=(16, 8), itemsize=2, band=128, memory=memory, threads=2)
    assert 2 * plan.peak_bytes <= memory
    assert plan.rows % 128 == 0
    assert plan.task_images in (8, 16)
    assert plan.step_images in (1, 2, 4, 8)
