"""Correlating layers that are mostly zeros: the numbers of dense ones, without the zeros."""

from collections.abc import Mapping

import numpy as np
import oracle
import pytest
from stores import begin, write_blocks
from test_task_correlate import small_panels  # noqa: F401

from rosetta.mining.plan import plan_pair
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.correlate import reading
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting, plan_side

IMAGES = 21
FEATURES = (Layer("features", 40, (6, 5)), Layer("more", 11, (6, 5)))
OTHERS = (Layer("same", 20, (6, 5)), Layer("coarse", 9, (3, 4)), Layer("fine", 10, (11, 10)))
Maps = Mapping[str, np.ndarray]


def features(root: Root, *, name: str = "sae", codec: str = "zstd", dense: str = "") -> Maps:
    """A store of features, three in a hundred active, one of them never; a layer may be dense beside them."""
    random = np.random.default_rng(0)
    maps = {}
    for layer in FEATURES:
        shape = (IMAGES, layer.channels, *layer.grid)
        share = 0.9 if layer.name == dense else 0.03
        maps[layer.name] = np.where(random.random(shape) < share, random.exponential(size=shape), 0).astype(np.float32)
    maps["features"][:, 7] = 0
    made = fingerprint("activations", of=name, images="these")
    write_blocks(begin(root, name, made, Units(FEATURES), images=IMAGES, block=8, codec=codec), maps)
    return maps


def others(root: Root) -> Maps:
    """A store of dense maps on other grids, too."""
    random = np.random.default_rng(1)
    maps = {one.name: random.normal(size=(IMAGES, one.channels, *one.grid)).astype(np.float32) for one in OTHERS}
    made = fingerprint("activations", of="b", images="these")
    write_blocks(begin(root, "b", made, Units(OTHERS), images=IMAGES, block=4), maps)
    return maps


def expected(a: Maps, b: Maps) -> np.ndarray:
    return np.block([[oracle.textbook_pearson(x, y) for y in b.values()] for x in a.values()])


@pytest.mark.usefixtures("small_panels")
@pytest.mark.parametrize("dense", ["", "more"])
def test_correlations_are_those_of_the_maps(tmp_path, dense):
    """Against dense maps on any grid, either way round, and with itself; a dense layer in a panel of a sparse one."""
    root = Root(str(tmp_path))
    maps = {"sae": features(root, dense=dense), "b": others(root)}
    for number, pair in enumerate([("sae", "b"), ("b", "sae"), ("sae", "sae")]):
        correlate(root, {pair: fingerprint("c", number=number)}, Setting())
        found = CorrelationStore.read(root, *pair).pearson()
        np.testing.assert_allclose(found, expected(maps[pair[0]], maps[pair[1]]), atol=5e-6, rtol=0)
    assert np.isnan(found[7]).all()


def test_a_step_is_read_without_its_zeros(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    features(root)
    others(root)
    monkeypatch.setattr(ActivationStore, "maps", lambda self, layer, *_: pytest.fail(f"{layer} was read whole"))
    assert reading.sparse_layers(ActivationStore.read(root, "sae")) == {"features", "more"}
    correlate(root, {("sae", "sae"): fingerprint("c")}, Setting())


@pytest.mark.usefixtures("small_panels")
def test_any_memory_and_any_number_of_threads_give_the_same_bytes(tmp_path):
    root = Root(str(tmp_path))
    features(root)
    others(root)
    sides = [plan_side(ActivationStore.read(root, name), Setting()) for name in ("sae", "b")]
    assert all(sides[0].stored(layer) < 4 * layer.values / 3 for layer in FEATURES)
    least = plan_pair(*sides, memory=1 << 40, threads=1).peak_bytes // 2
    found, tilings = [], set()
    for number, (memory, threads) in enumerate([(1 << 30, 1), (1 << 30, 3), (least, 1)]):
        tilings.add(len(plan_pair(*sides, memory=memory, threads=threads, fewer=True).tiles))
        correlate(root, {("sae", "b"): fingerprint("c", number=number)}, Setting(memory=memory, threads=threads))
        found.append(CorrelationStore.read(root, "sae", "b").pearson())
        root.remove(CORRELATIONS.path("sae", "b"))
    assert len(tilings) > 1
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


@pytest.mark.parametrize(("codec", "share", "is_sparse"), [("zstd", 0.03, True), ("lz4", 0.03, False)])
def test_a_store_says_which_of_its_layers_are_mostly_zeros(tmp_path, codec, share, is_sparse):
    root = Root(str(tmp_path))
    features(root, codec=codec)
    store = ActivationStore.read(root, "sae")
    assert store.mostly_zeros("features", 0.04) == is_sparse
    assert not store.mostly_zeros("features", 0.01)


def test_entries_are_what_is_not_zero(tmp_path):
    """Of any images and channels, in chunks that these cut anywhere."""
    root = Root(str(tmp_path))
    maps = features(root)["features"]
    store = ActivationStore.read(root, "sae")
    for images, channels in [(slice(0, 21), slice(None)), (slice(3, 18), slice(5, 31)), (slice(20, 21), slice(39, 40))]:
        part, begin_at = maps[images, channels], 0
        for entries in store.entries("features", images, channels):
            whole = np.zeros((part.shape[1], entries.images * 30), np.float32)
            whole[np.repeat(np.arange(part.shape[1]), entries.counts), entries.places] = entries.values
            block = part[begin_at : begin_at + entries.images]
            np.testing.assert_array_equal(whole, block.swapaxes(0, 1).reshape(part.shape[1], -1))
            begin_at += entries.images
        assert begin_at == len(part)
