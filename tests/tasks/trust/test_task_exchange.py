"""The stage `exchange`: the dictionary counted with images exchanged, by the definition and wherever it runs."""

import numpy as np
import oracle
import planted
import pytest
import streamed_runs
from plans import make, plan_over

from rosetta.errors import UserError
from rosetta.mining.trust.null_dictionary import CONCEPTS, NEURONS, null_counts
from rosetta.recipe import Trust
from storage.artifacts import catalogue, tables
from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.correlate import graph
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting, plan_for
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.trust.exchange import EXCHANGE, count_exchanged
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

IMAGES, K = 75, 3
NAMES = ("g", "d", "e", "pixels")


def exchanged(root, models, setting=Setting(threads=2), neighbours=K, controls=("pixels",), **knobs):
    """The table of the null, and what there is to note."""
    plan = plan_over(root, models, setting, controls, neighbours=neighbours, trust=Trust(**knobs))
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, EXCHANGE)
    return table_of(root), tables.attributes(root, catalogue.NULL.path())["notes"]


def table_of(root):
    return tables.read(root, catalogue.NULL.path())


def again(root, setting, **knobs):
    """The bytes of the table, made once more."""
    root.remove(catalogue.NULL.path())
    make(plan_over(root, NAMES, setting, ("pixels",), neighbours=K, trust=Trust(**knobs)), EXCHANGE)
    return root.read_bytes(catalogue.NULL.path())


def zoo(root, images=IMAGES, shared=0.0, units=40, layers=2):
    """Three models of smooth units, of which some may be shared, with pictures and their pixels as a control."""
    random = np.random.default_rng(0)
    pixels = planted.pictures(random, images)
    planted.write_images(root, pixels)
    signal = random.normal(size=(units * images, 3, 3))
    for model, grids in {"g": ((6, 6), (8, 3)), "d": ((7, 5),), "e": ((4, 4), (8, 8))}.items():
        maps = {}
        for number, grid in enumerate(grids[:layers]):
            common = planted.sample(signal, grid).reshape(units, images, *grid)
            own = planted._noise(random, images, grid, units)
            maps[f"{model}{number}"] = (shared**0.5 * common + (1 - shared) ** 0.5 * own).swapaxes(0, 1)
        planted.write_maps(root, model, maps, block={"g": 16, "d": 8, "e": 64}[model])
    planted.write_maps(root, "pixels", {"plain": planted.pixel_maps(pixels, (4, 4))})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = Root(str(tmp_path_factory.mktemp("null"))).absolute
    zoo(root, shared=0.1)
    return root, *exchanged(root, NAMES)


def test_counts_are_those_of_the_definition(run):
    """Correlations of upsampled maps in float64, neighbours by sorting, neurons and concepts from their definition."""
    root, table, notes = run
    assert notes == []
    stores = {name: ActivationStore.read(root, name) for name in NAMES[:3]}
    units = {name: store.units for name, store in stores.items()}
    maps = {
        layer.name: store.maps(layer.name, slice(None)) for store in stores.values() for layer in store.units.layers
    }
    own = oracle.exchanged_pearson(maps, units["g"], units["g"], IMAGES, 0).astype(np.float32)
    length = IMAGES // 4
    for number in range(4):
        images = IMAGES if number == 0 else 4 * length
        matrices = {
            model: oracle.exchanged_pearson(maps, units["g"], units[model], images, number * length).astype(np.float32)
            for model in ("d", "e")
        }
        neurons = [row[0] for row in oracle.rosetta(matrices, K)]
        expected = {model: len(oracle.buddies(matrix, K)) for model, matrix in matrices.items()}
        expected |= {NEURONS: len(neurons), CONCEPTS: len(oracle.components(neurons, own, K))}
        rows = table[table["exchange"] == number]
        assert dict(zip(rows["of"], rows["count"], strict=True)) == expected
    assert table["exchange"].max() == 3


@pytest.mark.parametrize("exchanges", [4, 6])
def test_more_exchanges_make_more_rows(run, exchanges):
    root, before, _ = run
    again(root, Setting(threads=1), exchanges=exchanges)
    after = table_of(root)
    assert after["exchange"].max() == exchanges
    own = [frame[frame["exchange"] == 0].to_numpy().tolist() for frame in (before, after)]
    assert own[0] == own[1]


def test_threads_and_processes_give_the_same_bytes(run):
    root, _, _ = run
    root.write_bytes("recipe.toml", b"")
    whole = again(root, Setting(threads=1))
    assert again(root, Setting(threads=3)) == whole
    with local_processes(2) as address:
        assert again(root, Setting(cluster=address)) == whole


def test_pairs_that_are_not_read_together_give_the_same_bytes(run, monkeypatch):
    root, _, _ = run
    whole = again(root, Setting(threads=1))

    def apart(setting, sides, pairs, where):
        return [group for pair in pairs for group in plan_for(setting, sides, [pair], where)]

    monkeypatch.setattr("tasks.trust.exchange.plan_for", apart)
    assert again(root, Setting(threads=1)) == whole


def test_tiles_give_the_same_counts(tmp_path, monkeypatch):
    root = Root(str(tmp_path)).absolute
    random = np.random.default_rng(0)
    planted.write_images(root, planted.pictures(random, 40))
    for model, layers in {
        "g": ((1300, (2, 2)), (200, (3, 1))),
        "d": ((1400, (3, 2)),),
        "pixels": ((3, (1, 1)),),
    }.items():
        maps = {f"{model}{i}": random.normal(size=(40, count, *grid)) for i, (count, grid) in enumerate(layers)}
        planted.write_maps(root, model, maps)
    models, planned, tiles = ("g", "d", "pixels"), graph.tiles_of, []
    monkeypatch.setattr("tasks.trust.exchange.tiles_of", lambda group: tiles.append(planned(group)) or tiles[-1])
    whole, _ = exchanged(root, models, Setting(threads=1))
    assert {len(some) for some in tiles} == {1}
    plan = plan_over(root, models, Setting(threads=1, memory=90 << 20), ("pixels",), neighbours=K)
    tiles.clear()
    count_exchanged(plan)
    assert len(tiles[-1]) == 4
    assert table_of(root).equals(whole)
    with pytest.raises(UserError, match=r"compute\.memory: 10 MiB is too little; .* needs at least \d+ MiB"):
        count_exchanged(plan_over(root, models, Setting(threads=1, memory=10 << 20), ("pixels",), neighbours=K))


def test_shared_units_are_more_than_the_null(tmp_path):
    root = Root(str(tmp_path))
    zoo(root, shared=0.6, layers=1, units=150)
    table, _ = exchanged(root, NAMES, neighbours=1)
    found = {one.of: one for one in null_counts(table)}
    # Of as many mutual nearest as there can be, about half are there by chance alone.
    assert all(1.5 < found[model].ratio < 3 for model in ("d", "e")), found
    assert all(found[of].ratio_low > 1 for of in ("d", "e", NEURONS)), found
    assert 0 < found[NEURONS].fdr < 0.5


@pytest.mark.parametrize("why", ["few images", "ranks"])
def test_where_matches_cannot_be_judged_the_run_alone_is_counted(tmp_path, why):
    root = Root(str(tmp_path))
    few = why == "few images"
    zoo(root, images=15 if few else 20, units=6)
    setting = Setting(threads=1, correlation="pearson" if few else "spearman")
    table, notes = exchanged(root, NAMES, setting)
    assert set(table["exchange"]) == {0}
    assert set(table["of"]) == {"d", "e", NEURONS, CONCEPTS}
    assert notes[0].startswith("15 images are too few" if few else "trust judges Pearson correlations")
    assert all(np.isnan(one.ratio) for one in null_counts(table))


def test_it_is_made_once_and_not_where_it_is_left_out(run):
    root, _, _ = run
    plan = plan_over(root, NAMES, Setting(threads=1), ("pixels",), neighbours=K)
    make(plan, EXCHANGE)
    assert EXCHANGE.is_finished(plan)
    assert EXCHANGE.make(plan) == "skipped"
    without = plan_over(root, NAMES, trust=Trust(leave_out=("exchange",), tests=("chance",)))
    assert EXCHANGE.instances(without) == []


def test_where_maps_of_few_images_are_kept_layers_are_rotated_and_no_images_exchanged(tmp_path):
    plan = streamed_runs.mined(tmp_path, f"images.keep={streamed_runs.KEEP}", stop=JOIN_TRUST)
    table = table_of(plan.root)
    assert set(table["exchange"]) == {0}
    assert tables.attributes(plan.root, catalogue.NULL.path())["notes"] == [
        "images cannot be exchanged where the maps of only some are kept"
    ]
    for pair in plan.instances(catalogue.EXCESS.per):
        assert tables.read(plan.root, catalogue.EXCESS.path(*pair))["excess"].notna().any()
