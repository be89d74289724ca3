"""The stage that examines matches: every number from the stores, whatever memory, engine and restarts."""

import numpy as np
import pandas as pd
import planted
import pytest
from examined import examined as oracle
from plans import make, plan_over
from streamed_runs import COUNT, KEEP, mined

from rosetta.errors import UserError
from rosetta.recipe import Trust
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, EXAMINED
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.cluster.engine import Capacity, local_processes
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.trust import examine
from tasks.trust.examine import EXAMINE
from tasks.trust.examine_plan import in_groups
from tasks.trust.examine_worker import MEASURED, sampled_chunks
from tasks.trust.table import with_measured

IMAGES = 70
PAIRS = (("a", "a"), ("a", "b"))
blocks_of = examine.blocks_of
_CODES = np.random.default_rng(2).integers(0, 9, size=IMAGES)


def write_root(root: Root, images: int = IMAGES, classes: np.ndarray | None = _CODES) -> None:
    """Two models whose grids cross, one unit of them dead."""
    random = np.random.default_rng(5)
    pixels = planted.pictures(random, images)
    store = ImageStore.create(
        root, fingerprint("images"), images=images, size=pixels.shape[1:3], block=images, latents=None, classes=classes
    )
    store.write(0, pixels)
    store.finish()
    shared = random.normal(size=(6 * images, 3, 3))

    def layer(grid):
        field = planted.sample(shared, grid).reshape(6, images, *grid)
        return (3 + 2 * field + planted._noise(random, images, grid, 6)).swapaxes(0, 1)

    a = {"low": layer((5, 9)), "high": layer((12, 7))}
    a["low"][:, 2] = 1.5
    planted.write_maps(root, "a", a, block=16)
    planted.write_maps(root, "b", {"x": layer((9, 4)), "y": layer((20, 30)), "z": layer((1, 3))}, block=8)
    root.write_bytes("recipe.toml", b"")


def examined(root: Root, setting: Setting = Setting(threads=2), trust: Trust = Trust()) -> list[bytes]:
    """The tables of both pairs, made again."""
    root.remove("tables/examined")
    make(plan_over(root, ("a", "b"), setting, neighbours=3, trust=trust), EXAMINE)
    return content(root)


def content(root: Root) -> list[bytes]:
    return [root.read_bytes(EXAMINED.path(*pair)) for pair in PAIRS]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Root:
    root = Root(str(tmp_path_factory.mktemp("examine"))).absolute
    write_root(root)
    make(plan_over(root, ("a", "b"), neighbours=3), CORRELATE, MATCH, WRITE_FEATURES)
    return root


@pytest.fixture(scope="module")
def whole(root) -> list[bytes]:
    return examined(root)


def test_every_number_is_that_of_its_formula(root, whole):
    stores = {name: ActivationStore.read(root, name) for name in ("a", "b")}
    buddies = tables.read(root, BUDDIES.path())
    seen = set()
    for pair, table in zip(PAIRS, whole, strict=True):
        frame = tables.decode(table)
        rows = buddies[(buddies["model_a"] == pair[0]) & (buddies["model_b"] == pair[1])]
        pd.testing.assert_frame_equal(
            frame[["unit_a", "unit_b", "pearson"]], rows[["unit_a", "unit_b", "pearson"]].reset_index(drop=True)
        )
        for row in frame.itertuples():
            maps = [
                stores[model].maps(layer, slice(None), slice(channel, channel + 1))[:, 0]
                for model, layer, channel in zip(
                    pair, (row.layer_a, row.layer_b), (row.channel_a, row.channel_b), strict=True
                )
            ]
            r, *expected = oracle(*maps, _CODES)
            found = row.influence, row.few_positions, row.pearson_robust, row.pearson_within
            np.testing.assert_allclose(found, expected, atol=2e-5)
            assert row.pearson_low < r < row.pearson_high
            seen.add((row.layer_a, row.layer_b))
    assert len(seen) > 6, "of many pairs of grids"


def test_several_groups_and_little_memory_give_the_same_bytes(root, whole, monkeypatch):
    groups = []

    def spied(*arguments):
        found = in_groups(*arguments)
        groups.append(len(found[0]))
        return found

    monkeypatch.setattr(examine, "in_groups", spied)
    monkeypatch.setattr("tasks.trust.examine_plan._BEYOND", 0)
    assert examined(root, Setting(threads=1)) == whole
    assert examined(root, Setting(threads=1, memory=1300 << 10)) == whole
    assert groups[0] == 1 < groups[1]


def test_too_little_memory_names_the_layers_and_what_would_do(root):
    with pytest.raises(UserError, match=r"compute.memory: 9 MiB is too little; examining .* of a with .* at least \d+"):
        examined(root, Setting(threads=1, memory=9 << 20))


def test_workers_make_the_same_bytes_as_threads(root, whole):
    with local_processes(2) as address:
        assert examined(root, Setting(cluster=address)) == whole


def test_a_run_that_stopped_goes_on_with_the_pairs_that_are_left(root, whole, monkeypatch):
    written, asked = [], []

    def stop(of_root, pair, *more):
        if written:
            raise KeyboardInterrupt
        written.append(pair)
        write(of_root, pair, *more)

    write = examine.write_examined
    with monkeypatch.context() as patch:
        patch.setattr(examine, "write_examined", stop)
        with pytest.raises(KeyboardInterrupt):
            examined(root, Setting(threads=1))
    monkeypatch.setattr(examine, "blocks_of", lambda pair, *more: asked.append(pair) or blocks_of(pair, *more))
    make(plan_over(root, ("a", "b"), neighbours=3), EXAMINE)
    assert len(written) == len(asked) == 1
    assert {*written, *asked} == {*PAIRS}
    assert content(root) == whole


def test_what_is_left_out_is_not_made_and_has_no_numbers(root):
    plan = plan_over(root, ("a", "b"), trust=Trust(tests=("chance",), leave_out=("maps", "rotation", "one_to_one")))
    assert EXAMINE.instances(plan) == []
    assert EXAMINE.artifacts(plan) == []
    frame = with_measured(plan, tables.read(root, BUDDIES.path()), PAIRS[1])
    assert frame[list(MEASURED)].isna().all(axis=None)


def test_whole_classes_are_drawn_if_asked(root, whole):
    by_class = [tables.decode(one) for one in examined(root, trust=Trust(resample="classes"))]
    for mine, of_images in zip(by_class, map(tables.decode, whole), strict=True):
        pd.testing.assert_frame_equal(mine.drop(columns=[*MEASURED[:2]]), of_images.drop(columns=[*MEASURED[:2]]))
        assert (mine["pearson_low"] != of_images["pearson_low"]).all()
    assert "notes" not in tables.attributes(root, EXAMINED.path(*PAIRS[1]))


@pytest.mark.parametrize(
    ("classes", "reason"),
    [(None, "the images have no classes"), (np.arange(IMAGES) % 7, "7 classes are too few")],
)
def test_where_classes_cannot_be_drawn_there_are_no_intervals_and_it_is_said(tmp_path, classes, reason):
    root = Root(str(tmp_path))
    write_root(root, classes=classes)
    plan = plan_over(root, ("a", "b"), neighbours=3, trust=Trust(resample="classes"))
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, EXAMINE)
    path = EXAMINED.path(*PAIRS[1])
    frame, notes = tables.read(root, path), tables.attributes(root, path)["notes"]
    assert notes == [f"no intervals: trust.resample draws classes, and {reason}; draw images instead"]
    assert frame[["pearson_low", "pearson_high"]].isna().all(axis=None)
    assert frame[["influence", "pearson_robust"]].notna().all(axis=None)
    assert frame["pearson_within"].isna().all() == (classes is None)


def test_too_few_images_are_not_examined(tmp_path):
    root = Root(str(tmp_path))
    write_root(root, 15, None)
    make(plan_over(root, ("a", "b"), neighbours=3), CORRELATE, MATCH, WRITE_FEATURES, EXAMINE)
    for pair in PAIRS:
        frame = tables.read(root, EXAMINED.path(*pair))
        assert len(frame)
        assert frame[list(MEASURED)].isna().all(axis=None)
        assert tables.attributes(root, EXAMINED.path(*pair))["notes"] == [
            "15 images are too few to judge matches by; give at least 16"
        ]


def test_of_a_streamed_run_the_images_that_are_kept_are_examined(tmp_path):
    plan = mined(tmp_path, f"images.keep={KEEP}", models=("painter", "ada"))
    path = EXAMINED.path(*plan.pairs[1])
    frame = tables.read(plan.root, path)
    assert tables.attributes(plan.root, path)["notes"] == [
        f"measured on the {KEEP} of {COUNT} images whose maps are stored"
    ]
    assert frame["influence"].notna().any()


def test_percentiles_are_taken_of_all_images_or_evenly_spread_ones():
    from rosetta.units import Layer

    np.testing.assert_array_equal(sampled_chunks(200, 16, Layer("l", 1, (64, 64))), np.arange(13))
    np.testing.assert_array_equal(sampled_chunks(512, 16, Layer("l", 1, (64, 64))), np.arange(16) * 2 + 1)
    assert len(sampled_chunks(512, 16, Layer("l", 1, (7, 7)))) == 32
    assert 16 * len(sampled_chunks(5000, 16, Layer("l", 1, (8, 8)))) == 1024


def test_groups_keep_every_core_busy(root):
    plan = plan_over(root, ("a", "b"))
    stores = {name: ActivationStore.read(root, name) for name in ("a", "b")}
    buddies = tables.read(root, BUDDIES.path())
    blocks = [one for a, b in PAIRS for one in blocks_of((a, b), stores[a].units, stores[b].units, buddies, IMAGES)]
    question, chunks = examine.question_of(plan), {"a": 16, "b": 8}
    groups, at_once = in_groups(blocks, IMAGES, chunks, question, 1 << 30, Capacity(3, 2, fewer=False))
    assert at_once == 2
    assert 4 <= len(groups) <= 6
    assert [block for group in groups for block in group] == blocks
