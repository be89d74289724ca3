"""What cannot be judged is said, in one line, and never becomes a number."""

import numpy as np
import planted
import pytest

from rosetta.errors import UserError
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting
from tasks.trust.table import reason_not_to, reservations

NUMBERS = ["p_value", "q_value", "pearson_half_1", "pearson_half_2", "pearson_centred", "pearson_partial"]


def small_zoo(root, images, pixels=None):
    """Two models that share a field, and the pixel features."""
    random = np.random.default_rng(3)
    pixels = planted.pictures(random, images) if pixels is None else pixels
    planted.write_images(root, pixels)
    field = random.normal(size=(6 * images, 3, 3))
    for model, grid in (("g", (5, 5)), ("d", (6, 4))):
        shared = planted.sample(field, grid).reshape(6, images, *grid)
        planted.write_maps(root, model, {"l": (shared + planted._noise(random, images, grid, 6)).swapaxes(0, 1)})
    planted.write_controls(root, random, pixels)


def test_too_few_images_are_not_judged(tmp_path):
    root = Root(str(tmp_path))
    small_zoo(root, 15)
    table, notes = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    assert notes == ["15 images are too few to judge matches by; give at least 16"]
    assert len(table)
    assert table[NUMBERS].isna().all(axis=None)
    assert not table["replicates"].any()
    assert not table["trusted"].any()


def test_sixteen_images_are_judged(tmp_path):
    root = Root(str(tmp_path))
    small_zoo(root, 16)
    table, notes = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    assert notes == []
    assert table.loc[table["model_b"] == "d", NUMBERS].notna().all(axis=None)


def test_without_a_control_there_is_no_lift_and_no_trust(tmp_path):
    root = Root(str(tmp_path))
    small_zoo(root, 40)
    table, notes = planted.judge(root, ("g", "d"), ())
    assert len(notes) == 1
    assert "no model of the recipe is a control, so nothing can be trusted" in notes[0]
    assert table[["control_best", "lift"]].isna().all(axis=None)
    assert table["q_value"].notna().all()
    assert not table["trusted"].any()


def test_one_image_repeated_is_not_judged(tmp_path):
    root = Root(str(tmp_path))
    one = planted.pictures(np.random.default_rng(0), 1)
    small_zoo(root, 30, np.repeat(one, 30, axis=0))
    table, notes = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    assert notes == ["only 1 of 30 images differ, too few to judge matches by; give at least 16"]
    assert table[NUMBERS].isna().all(axis=None)


def test_maps_that_are_the_same_in_every_image_have_no_chance(tmp_path):
    root = Root(str(tmp_path))
    small_zoo(root, 32)
    random = np.random.default_rng(4)
    for model, grid in (("g", (5, 5)), ("d", (6, 4))):
        root.remove(f"activations/{model}.zarr")
        still = planted.smooth(random, 6, grid)[None].repeat(32, axis=0)
        planted.write_maps(root, model, {"l": still})
    table, _ = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    rows = table[table["model_b"] == "d"]
    assert len(rows)
    assert rows[["p_value", "q_value", "pearson_centred"]].isna().all(axis=None)
    assert not rows["trusted"].any()


def test_a_model_that_is_dead_altogether_has_no_matches_and_spoils_none(tmp_path):
    root = Root(str(tmp_path))
    small_zoo(root, 32)
    root.remove("activations/pixels.zarr")
    planted.write_maps(root, "pixels", {"plain": np.ones((32, 4, 5, 5))})
    table, _ = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    assert not (table["model_b"] == "pixels").any()
    assert table.loc[table["model_b"] == "d", "q_value"].notna().all()
    assert table["lift"].isna().all()


def test_some_images_repeated_are_said(tmp_path):
    root = Root(str(tmp_path))
    pixels = planted.pictures(np.random.default_rng(0), 40)
    pixels[30:] = pixels[:10]
    small_zoo(root, 40, pixels)
    table, notes = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    assert notes == ["10 of 40 images repeat others: chance is underrated, and the halves share images"]
    assert table["q_value"].notna().any()


def test_ranks_are_not_judged():
    assert reason_not_to(100, 100, "spearman") == "trust judges Pearson correlations, and these are Spearman's"
    assert reason_not_to(100, 100, "pearson") == ""
    assert reservations(100, 100, ["pixels"]) == []


def test_too_little_memory_names_the_layer_and_what_would_do(tmp_path):
    root = Root(str(tmp_path))
    random = np.random.default_rng(0)
    planted.write_images(root, planted.pictures(random, 32))
    for model in ("g", "d"):
        planted.write_maps(
            root, model, {"small": random.normal(size=(32, 3, 4, 4)), "large": random.normal(size=(32, 64, 60, 60))}
        )
    with pytest.raises(UserError, match=r"compute.memory: 5 MiB is too little.*needs at least \d+ MiB"):
        planted.profiled(root, ("g", "d"), Setting(threads=2, memory=5 << 20))


@pytest.mark.parametrize(
    ("knobs", "column", "passes"),
    [
        ({"q": 1e-9}, "q_value", lambda values: values <= 1e-9),
        ({"partial": 0.62}, "pearson_partial", lambda values: values > 0.62),
    ],
)
def test_knobs_decide(tmp_path, knobs, column, passes):
    root = Root(str(tmp_path))
    small_zoo(root, 60)
    lenient, _ = planted.judge(root, ("g", "d", "pixels"), ("pixels",))
    root.remove("tables/trust.parquet")
    strict, _ = planted.judge(root, ("g", "d", "pixels"), ("pixels",), knobs=planted.FOUR.model_copy(update=knobs))
    assert strict["trusted"].sum() < lenient["trusted"].sum()
    np.testing.assert_array_equal(strict["trusted"], lenient["trusted"] & passes(lenient[column]))
