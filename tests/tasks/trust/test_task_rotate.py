"""The stage `rotate`: excess over rotation of every unit, by rotating the maps themselves, and wherever it runs."""

import numpy as np
import oracle
import planted
import pytest
from plans import make, plan_over

from rosetta.errors import UserError
from rosetta.mining.trust.rotation import rotation, rotation_count
from rosetta.recipe import Trust
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import EXCESS
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.trust.profile import PROFILE
from tasks.trust.rotate import ROTATE

IMAGES, ROTATIONS = 48, 200
NAMES = ("g", "d", "pixels")
KNOBS = Trust(rotations=ROTATIONS)


def rotated(root, setting=Setting(threads=2), names=NAMES):
    plan = plan_over(root, names, setting, ("pixels",), trust=KNOBS)
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, ROTATE)
    return plan


def again(root, setting, names=NAMES):
    """The bytes of all tables, made once more."""
    plan = plan_over(root, names, setting, ("pixels",), trust=KNOBS)
    for pair in plan.instances(EXCESS.per):
        root.remove(EXCESS.path(*pair))
    make(plan, ROTATE)
    return [root.read_bytes(EXCESS.path(*pair)) for pair in plan.instances(EXCESS.per)]


def zoo(root, images=IMAGES):
    """An anchor whose layers share units with another model, one of them on a coarser grid, with constant units."""
    random = np.random.default_rng(0)
    pixels = planted.pictures(random, images)
    planted.write_images(root, pixels)
    signal = random.normal(size=(8 * images, 3, 3))

    def layer(grid, more):
        shared = planted.sample(signal, grid).reshape(8, images, *grid)
        return np.concatenate(
            [shared + planted._noise(random, images, grid, 8), planted._noise(random, images, grid, more)]
        )

    g = {"same": layer((6, 6), 7), "coarse": layer((3, 4), 4)}
    d = {"x": layer((6, 6), 5), "y": layer((4, 6), 3)}
    g["same"][2] = 1.5
    d["y"][0] = 0.5
    for model, maps in (("g", g), ("d", d)):
        planted.write_maps(root, model, {name: values.swapaxes(0, 1) for name, values in maps.items()})
    planted.write_maps(root, "pixels", {"plain": planted.pixel_maps(pixels, (4, 4))[:, :5]})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = Root(str(tmp_path_factory.mktemp("excess"))).absolute
    zoo(root)
    rotated(root)
    return root


def expected(root, layer):
    """(unit,) the mean over rotations of the best of rotated maps at each unit's rank, in float64."""
    maps = ActivationStore.read(root, "g").maps(layer, slice(None)).astype(np.float64)
    alive = np.flatnonzero(maps.std(axis=(0, 2, 3)) > 0)
    maps = maps[:, alive]
    standard = (maps - maps.mean(axis=(0, 2, 3), keepdims=True)) / maps.std(axis=(0, 2, 3), keepdims=True)
    others = ActivationStore.read(root, "d")
    theirs = [others.maps(name, slice(None)) for name in ("x", "y")]

    def best(of):
        with np.errstate(invalid="ignore"):
            return np.nanmax(np.concatenate([oracle.textbook_pearson(of, one) for one in theirs], axis=1), axis=1)

    units = len(ActivationStore.read(root, "g").peaks(layer)[0])
    count = min(rotation_count(units, ROTATIONS), 25)
    bests = []
    for number in range(count):
        r = rotation(len(alive), (0, 0, *f"g/{layer}".encode(), number)).double().numpy()
        bests.append(np.sort(best(np.einsum("nuyx,uv->nvyx", standard, r)))[::-1])
    own, ranks = np.full(units, np.nan), np.full(units, np.nan)
    own[alive] = best(maps)
    ranks[alive[np.argsort(-own[alive])]] = np.mean(bests, axis=0)
    return own, ranks


# Where the common grid is finer, the correlations among a layer's units are taken from its own grid.
@pytest.mark.parametrize(("layer", "tolerance"), [("same", 1e-4), ("coarse", 0.01)])
def test_excess_is_that_of_rotated_maps(run, monkeypatch, tmp_path, layer, tolerance):
    monkeypatch.setattr("tasks.trust.rotate.rotation_count", lambda units, least: min(rotation_count(units, least), 25))
    again(run, Setting(threads=1))
    table = tables.read(run, EXCESS.path("g", "d"))
    assert table["unit_a"].tolist() == list(range(27))
    rows = table[table["layer_a"] == layer]
    own, ranks = expected(run, layer)
    np.testing.assert_allclose(rows["pearson_best"], own, atol=1e-5)
    np.testing.assert_allclose(rows["pearson_rotated"], ranks, atol=tolerance)
    np.testing.assert_allclose(rows["excess"], own - ranks, atol=tolerance)
    assert np.isnan(rows["excess"]).sum() == np.isnan(rows["alone"]).sum() == (layer == "same")
    assert rows["alone"].max() > 0.5


def test_threads_and_processes_give_the_same_bytes(run):
    run.write_bytes("recipe.toml", b"")
    whole = again(run, Setting(threads=1))
    assert again(run, Setting(threads=3)) == whole
    with local_processes(2) as address:
        assert again(run, Setting(cluster=address)) == whole


def test_parts_of_a_layer_are_ranked_together(run, monkeypatch):
    monkeypatch.setattr("rosetta.mining.trust.rotation.LARGEST", 4)
    again(run, Setting(threads=1))
    table = tables.read(run, EXCESS.path("g", "d"))
    for _, rows in table.dropna().groupby("layer_a"):
        by_rank = rows.sort_values("pearson_best", ascending=False)["pearson_rotated"]
        assert by_rank.is_monotonic_decreasing
        assert len(by_rank) > 4


def test_what_is_there_stays_and_what_is_left_out_is_not_made(run):
    plan = rotated(run)
    assert ROTATE.is_finished(plan)
    assert EXCESS.measured == "rotation"
    assert not run.exists(EXCESS.path("g", "g"))
    before = run.read_bytes(EXCESS.path("g", "pixels"))
    run.remove(EXCESS.path("g", "d"))
    make(plan, ROTATE)
    assert ROTATE.is_finished(plan)
    assert run.read_bytes(EXCESS.path("g", "pixels")) == before
    without = plan_over(run, NAMES, trust=Trust(leave_out=("rotation",), tests=("chance",)))
    assert ROTATE.instances(without) == []


def test_too_little_memory_is_said(run):
    with pytest.raises(
        UserError, match=r"compute\.memory: 0 MiB is too little; rotating layer same of g needs at least"
    ):
        again(run, Setting(threads=1, memory=1 << 16))


@pytest.mark.parametrize("why", ["few images", "ranks", "neighbours"])
def test_what_cannot_be_rotated_is_no_number(tmp_path, why):
    root = Root(str(tmp_path))
    zoo(root, images=15 if why == "few images" else 20)
    setting = Setting(
        threads=1,
        correlation="spearman" if why == "ranks" else "pearson",
        keep="neighbours" if why == "neighbours" else "matrix",
    )
    rotated(root, setting)
    table = tables.read(root, EXCESS.path("g", "d"))
    assert len(table) == 27
    assert table[["pearson_rotated", "excess", "alone"]].isna().all(axis=None)
    assert table["pearson_best"].notna().sum() == 26


def test_a_pair_whose_first_model_is_not_correlated_with_itself_is_not_rotated(tmp_path):
    root = Root(str(tmp_path))
    zoo(root)
    plan = plan_over(root, NAMES, Setting(threads=1), ("pixels",), trust=KNOBS, pairs="all")
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, ROTATE)
    assert tables.read(root, EXCESS.path("d", "pixels"))["excess"].isna().all()
    assert tables.read(root, EXCESS.path("g", "pixels"))["excess"].notna().sum() == 26
