"""The correlation stage over stores: any memory, any root, interrupted anywhere, the same numbers."""

import numpy as np
import oracle
import pytest
import xarray as xr
from plans import plan_over
from stores import BLOCKS, LAYERS, begin, fill, least, side, write_blocks

from rosetta.errors import UserError
from rosetta.mining import factors, groups, plan
from rosetta.mining.halves import drawn_halves, run_halves
from rosetta.mining.plan import plan_pair
from rosetta.units import Units
from storage.artifacts import catalogue, correlations, layout, nearest, neighbours, pairs
from storage.artifacts.activations import ActivationStore
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.halves import numbers_of
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root
from tasks.correlate import graph, tiles
from tasks.correlate import pair as stage
from tasks.correlate.pair import CORRELATE, correlate
from tasks.correlate.setting import Setting

SIDES = {name: side(name) for name in LAYERS}


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(str(tmp_path))


@pytest.fixture
def small_panels(monkeypatch):
    """Panels of 16 units and steps of 4 images, so that small stores are cut in many tiles."""
    for module in (factors, plan, groups, pairs, correlations, neighbours, stage, tiles):
        monkeypatch.setattr(module, "PANEL", 16)
    monkeypatch.setattr("rosetta.mining.moments.PANEL", 16)
    monkeypatch.setattr(plan, "_STEP_BYTES", 4 * 5 * 2000)


def expected(maps_a, maps_b):
    return np.block([[oracle.textbook_pearson(x, y) for y in maps_b.values()] for x in maps_a.values()])


@pytest.mark.parametrize("url", ["{tmp}/run", "memory://correlate"])
@pytest.mark.usefixtures("small_panels")
def test_over_stores_at_any_url(tmp_path, url):
    root = Root(url.format(tmp=tmp_path))
    maps = {name: fill(root, name) for name in LAYERS}
    plan = plan_over(root, ["a", "b"])
    assert CORRELATE.make(plan) == "done"
    for a, b in (("a", "b"), ("a", "a")):
        found = CorrelationStore.read(root, a, b).pearson()
        np.testing.assert_allclose(found, expected(maps[a], maps[b]), atol=1e-5, rtol=0)
        assert np.isnan(found[7]).all()
    assert CORRELATE.make(plan) == "skipped"
    root.remove("")


@pytest.mark.usefixtures("small_panels")
def test_any_memory_and_any_number_of_threads_give_the_same_bytes(root):
    maps = {name: fill(root, name) for name in LAYERS}
    found, tilings = [], set()
    for number, (memory, threads) in enumerate(
        [(1 << 30, 1), (1 << 30, 3), (least(*SIDES.values()), 1), (3 * least(*SIDES.values()), 2)]
    ):
        cut = plan_pair(*SIDES.values(), memory=memory, threads=threads, fewer=True)
        tilings.add(len(cut.tiles))
        correlate(root, {("a", "b"): fingerprint("c", number=number)}, Setting(memory=memory, threads=threads))
        found.append(CorrelationStore.read(root, "a", "b").pearson())
        root.remove(catalogue.CORRELATIONS.path("a", "b"))
    np.testing.assert_allclose(found[0], expected(maps["a"], maps["b"]), atol=1e-5, rtol=0)
    assert len(tilings) > 2
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.usefixtures("small_panels")
@pytest.mark.parametrize("tiles_of", ["one tile", "many tiles"])
def test_a_model_with_itself_is_symmetric_and_computed_once(root, tiles_of, monkeypatch):
    maps = fill(root, "a")
    setting = Setting() if tiles_of == "one tile" else Setting(memory=least(SIDES["a"], SIDES["a"]))
    written, write = [], CorrelationStore.write
    monkeypatch.setattr(
        CorrelationStore, "write", lambda self, panel, *p: (written.append(panel), write(self, panel, *p))
    )
    correlate(root, {("a", "a"): fingerprint("c")}, setting)
    found = CorrelationStore.read(root, "a", "a").pearson()
    of_panel = np.arange(len(found)) // 16
    mirrored = of_panel[:, None] != of_panel
    np.testing.assert_array_equal(found[mirrored], found.T[mirrored])
    np.testing.assert_allclose(found, expected(maps, maps), atol=1e-5, rtol=0)
    panels = -(-len(found) // 16)
    assert sorted(written) == [(row, column) for row in range(panels) for column in range(panels)]


@pytest.mark.usefixtures("small_panels")
def test_only_what_is_missing_is_computed(root, monkeypatch):
    for name in LAYERS:
        fill(root, name)
    wanted, little = fingerprint("c", of="ab"), Setting(memory=least(*SIDES.values()))
    correlate(root, {("a", "b"): wanted}, little)
    whole = CorrelationStore.read(root, "a", "b").pearson()

    store = CorrelationStore.open(root, wanted, "a", "b")
    store.group.attrs["complete"] = False
    layout.written_of(store.group)[2, 1] = False
    for name in ("pearson", "pearson_half_1"):
        store.group[name][32:48, 16:32] = 9.0
    done = []
    monkeypatch.setattr(graph, "write_tile", lambda job, tile, m: (done.append(tile), tiles.write_tile(job, tile, m)))
    correlate(root, {("a", "b"): wanted}, little)
    assert len(done) == 1
    np.testing.assert_array_equal(CorrelationStore.read(root, "a", "b").pearson(), whole)


@pytest.mark.usefixtures("small_panels")
@pytest.mark.parametrize("pair", ["ab", "aa"])
def test_neighbours_without_the_matrix(root, pair):
    for name in LAYERS:
        fill(root, name)
    a, b = pair
    correlate(root, {(a, b): fingerprint("m")}, Setting(threads=2))
    of_matrix = nearest.neighbours(root, a, b, 6)
    root.remove(catalogue.CORRELATIONS.path(a, b))
    setting = Setting(memory=least(SIDES[a], SIDES[b]), keep="neighbours", keep_neighbours=8)
    correlate(root, {(a, b): fingerprint("n")}, setting)
    of_neighbours = nearest.neighbours(root, a, b, 6)
    for one, other in zip(of_matrix, of_neighbours, strict=True):
        np.testing.assert_array_equal(one.unit, other.unit)
        np.testing.assert_array_equal(one.pearson, other.pearson)
    stored = xr.open_zarr(root.local / catalogue.CORRELATIONS.path(a, b))
    assert set(stored.data_vars) == {"neighbours_ab", "neighbours_ba", "pearson_ab", "pearson_ba"}
    assert stored["neighbours_ba"].dims == ("unit_b", "neighbour")
    assert "layer_b" in stored["neighbours_ba"].coords

    # Cut off between the last panel and the end, it ends the same.
    store = NeighbourStore.open(root, fingerprint("n"), a, b)
    store.group.attrs["complete"] = False
    assert NeighbourStore.open(root, fingerprint("n"), a, b).complete is False
    correlate(root, {(a, b): fingerprint("n")}, setting)
    assert NeighbourStore.read(root, a, b).complete
    np.testing.assert_array_equal(nearest.neighbours(root, a, b, 6)[0].unit, of_neighbours[0].unit)


def test_bfloat16_is_near(root):
    maps = {name: fill(root, name) for name in LAYERS}
    correlate(root, {("a", "b"): fingerprint("c")}, Setting(precision="bfloat16"))
    found = CorrelationStore.read(root, "a", "b").pearson()
    truth = expected(maps["a"], maps["b"])
    np.testing.assert_allclose(found, truth, atol=0.01, rtol=0)
    assert np.nanmax(np.abs(found - truth)) > 1e-6, "this was not computed in bfloat16"


def test_labels(root, tmp_path):
    for name in LAYERS:
        fill(root, name)
    correlate(root, {("a", "b"): fingerprint("c")}, Setting())
    pair = xr.open_zarr(tmp_path / "correlations/a~b.zarr")
    assert pair["layer_b"].values.tolist() == ["x"] * 25 + ["y"] * 20 + ["z"] * 5
    assert pair["channel_a"].values[[0, 39, 40, 69]].tolist() == [0, 39, 0, 29]


def test_memory_that_holds_nothing(root):
    for name in LAYERS:
        fill(root, name)
    with pytest.raises(UserError, match=r"compute.memory: 0 MiB is too little; a~b needs at least \d+"):
        correlate(root, {("a", "b"): fingerprint("c")}, Setting(memory=1000, threads=2))
    assert not root.exists(catalogue.CORRELATIONS.path("a", "b"))


def test_stores_of_different_images(root):
    fill(root, "a")
    fill(root, "b", images="others")
    with pytest.raises(UserError, match="activations of a and b come from different images"):
        correlate(root, {("a", "b"): fingerprint("c")}, Setting())
    assert not root.exists(catalogue.CORRELATIONS.path("a", "b"))


PAIRS = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "a")]


def halves_of(root: Root, a: str, b: str) -> list[np.ndarray]:
    """All that is kept of a pair."""
    store = CorrelationStore.read(root, a, b)
    everything = slice(None), slice(None)
    return [store.pearson(), store.half_part(*everything)]


@pytest.mark.usefixtures("small_panels")
def test_pairs_read_together_have_the_bytes_of_each_alone(root, monkeypatch):
    for name in LAYERS:
        fill(root, name)
    reads, maps = [], ActivationStore.maps

    def counted(store, layer, images, *rest):
        reads.append((layer, images.start))
        return maps(store, layer, images, *rest)

    monkeypatch.setattr(ActivationStore, "maps", counted)
    correlate(root, {pair: fingerprint("c", of=pair) for pair in PAIRS}, Setting(threads=1, ahead=3))
    assert len(reads) == len(set(reads)), "each block of each model once"
    together = {pair: halves_of(root, *pair) for pair in PAIRS}
    root.remove("correlations")
    for pair in PAIRS:
        correlate(root, {pair: fingerprint("c", of=pair)}, Setting(memory=least(*(SIDES[model] for model in pair))))
        for one, other in zip(together[pair], halves_of(root, *pair), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small_panels")
def test_a_pair_that_is_there_is_not_read_again(root, monkeypatch):
    for name in LAYERS:
        fill(root, name)
    prints = {pair: fingerprint("c", of=pair) for pair in PAIRS}
    correlate(root, {("a", "b"): prints["a", "b"]}, Setting())
    written, write = [], CorrelationStore.write
    monkeypatch.setattr(
        CorrelationStore,
        "write",
        lambda self, *rest: (
            written.append((self.attributes["model_a"], self.attributes["model_b"])),
            write(self, *rest),
        ),
    )
    correlate(root, prints, Setting())
    assert set(written) == set(PAIRS) - {("a", "b")}


@pytest.mark.usefixtures("small_panels")
@pytest.mark.parametrize(("count", "is_drawn"), [(16, True), (22, False), (22, True), (70, True)])
def test_the_first_half_is_kept_beside_all(root, count, is_drawn):
    random = np.random.default_rng(count)
    first = drawn_halves(map(str, range(count)), 2, None) if is_drawn else run_halves(count)
    labels = {"half": numbers_of(first)} if is_drawn else {}
    maps = {}
    for name, layers in LAYERS.items():
        units = Units(layers)
        scene = random.normal(size=(count, 1, 1, 1))
        maps[name] = {
            layer.name: (scene + random.normal(size=(count, layer.channels, *layer.grid))).astype(np.float32)
            for layer in layers
        }
        low = maps[name][layers[0].name]
        low[:, 7] = 2.5
        low[first, 9], low[~first, 11] = 0.1, -3.0
        store = begin(
            root, name, fingerprint("activations", of=name), units, images=count, block=BLOCKS[name], labels=labels
        )
        write_blocks(store, maps[name])
    for pair in (("a", "b"), ("a", "a")):
        correlate(root, {pair: fingerprint("c")}, Setting(memory=least(*(side(model, count=count) for model in pair))))
        halves = [{layer: values[first] for layer, values in maps[model].items()} for model in pair]
        found = halves_of(root, *pair)[1]
        np.testing.assert_allclose(found, expected(*halves), atol=1e-5, rtol=0)
        assert np.isnan(found[[7, 9]]).all()
        assert not np.isnan(np.delete(found[11], [7, 9])).any()


@pytest.mark.parametrize(("count", "setting"), [(15, Setting()), (22, Setting(correlation="spearman"))])
def test_where_nothing_is_judged_no_half_is_kept(root, count, setting):
    for name in LAYERS:
        fill(root, name, count=count)
    correlate(root, {("a", "b"): fingerprint("c")}, setting)
    assert set(xr.open_zarr(root.local / catalogue.CORRELATIONS.path("a", "b")).data_vars) == {"pearson"}
