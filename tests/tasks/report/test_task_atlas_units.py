"""Files of units of the atlas, against the maps that the run was made of, in float64."""

import numpy as np
import pandas as pd
import pytest
from atlas_files import (
    GRIDS,
    IMAGES,
    MODELS,
    STORES,
    decoded,
    expected_bytes,
    layers_of,
    opened,
    read,
    unit_map,
    unit_of,
)

from rosetta.view.atlas.unit_rows import places
from storage.artifacts import catalogue, tables
from storage.filesystem.root import Root
from tasks.report.atlas import unit_maps
from tasks.report.atlas.unit_maps import Detail
from tasks.report.atlas.unit_tables import unit_tables
from tasks.report.atlas.write import write_atlas

UNITS = [
    (model, layer, channel)
    for model, name in enumerate(MODELS)
    for layer in range(len(GRIDS[name]))
    for channel in (0, 3, 5, 8)
]
"""Spots, noise, and the one that is dead."""


def of(maps, model: int, layer: int, channel: int) -> tuple[int, np.ndarray]:
    """The unit, and its maps (image, y, x)."""
    first, values = list(layers_of(maps[MODELS[model]]))[layer]
    return first + channel, values[:, channel].astype(np.float64)


@pytest.mark.parametrize(("model", "layer", "channel"), UNITS)
def test_images_and_maps_of_the_rows(made, model, layer, channel):
    root, maps, folder, run = made
    one = unit_of(folder, run, model, layer, channel)
    unit, values = of(maps, model, layer, channel)
    peaks = values.max(axis=(1, 2))
    order = sorted(range(IMAGES), key=lambda image: (-peaks[image], image))
    assert one["images"] == [image for row in places(IMAGES) for image in order[row]]
    assert one["peaks"] == pytest.approx(peaks[one["images"]], rel=1e-3)
    assert one["grid"] == [min(side, 16) for side in list(GRIDS[MODELS[model]].values())[layer]]
    assert len(one["maps"]) == len(one["images"])
    if channel == 8:
        assert not any(decoded(text, one["grid"]).any() for text in one["maps"]), "no scale, no colour"
        return
    for image, text in zip(one["images"], one["maps"], strict=True):
        expected = expected_bytes(root, maps, model, unit, image, 16)
        np.testing.assert_allclose(decoded(text, one["grid"]), expected, atol=0.51)


@pytest.mark.parametrize(("model", "layer", "channel"), UNITS)
def test_the_histogram_counts_every_value(made, model, layer, channel):
    _, maps, folder, run = made
    one = unit_of(folder, run, model, layer, channel)
    _, values = of(maps, model, layer, channel)
    found = one["histogram"]
    if channel == 8:
        assert found is None
        return
    assert found["images"] == IMAGES
    assert sum(found["counts"]) == values.size
    edges = np.linspace(found["low"], found["high"], len(found["counts"]) + 1)
    # Ends are told with four digits: values as close to an edge as that may lie in the next bar.
    margin = 2e-3 * (edges[-1] - edges[0])
    sums = np.cumsum(found["counts"])[:-1]
    for edge, below in zip(edges[1:-1], sums, strict=True):
        assert (values < edge - margin).sum() <= below <= (values < edge + margin).sum()
    assert found["high"] == pytest.approx(values.max(), rel=1e-3)


def test_maps_of_the_nearest_units_are_over_the_same_images(made):
    root, maps, folder, run = made
    seen = 0
    for model, layer, channel in UNITS:
        one = unit_of(folder, run, model, layer, channel)
        expected = [
            str(MODELS.index(other)) for other in STORES[MODELS[model]] if one["near"][str(MODELS.index(other))]
        ]
        assert list(one["near_maps"]) == expected
        for other, shown in one["near_maps"].items():
            nearest = one["near"][other][0][0]
            assert len(shown["maps"]) == 8
            for image, text in zip(one["images"], shown["maps"], strict=False):
                small = expected_bytes(root, maps, int(other), nearest, image, 16)
                np.testing.assert_allclose(decoded(text, shown["grid"]), small, atol=0.51)
                seen += 1
            values = np.array([unit_map(maps, int(other), nearest, image) for image in range(IMAGES)])
            assert shown["low"] == pytest.approx(values.mean(), rel=1e-3, abs=1e-6)
            assert shown["high"] == pytest.approx(values.max(), rel=1e-3)
    assert seen > 200


@pytest.mark.parametrize("others", [8, 0])
def test_where_room_is_scarce_units_without_a_match_have_fewer_maps(made, tmp_path, monkeypatch, others):
    root, _, folder, full = made
    monkeypatch.setattr(unit_maps, "DETAILS", (Detail(16, 16, None), Detail(8, 8, others)))
    monkeypatch.setattr(unit_maps, "ROOM", 1)
    run = write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    buddies = tables.read(root, catalogue.BUDDIES.path())
    buddies = buddies[buddies["model_a"] != buddies["model_b"]]
    matched = {
        (side, unit) for s in "ab" for side, unit in zip(buddies[f"model_{s}"], buddies[f"unit_{s}"], strict=True)
    }
    seen = set()
    for model, name in enumerate(MODELS):
        for layer, place in enumerate(run["models"][model]["layers"]):
            for channel in range(place["channels"]):
                one, whole = (unit_of(*of, model, layer, channel) for of in ((tmp_path, run), (folder, full)))
                has = (name, place["first"] + channel) in matched
                seen.add(has)
                assert len(one["maps"]) == (len(one["images"]) if has else others)
                assert (one["grid"] is None) == (not has and others == 0)
                assert set(one["near_maps"]) == (set(whole["near_maps"]) if has else set())
                assert max(one["grid"] or [0]) <= 8
                for key in ("images", "peaks", "histogram", "near"):
                    assert one[key] == whole[key]
    assert seen == {True, False}


def test_of_many_values_every_second_block_is_counted(made, tmp_path, monkeypatch):
    root, maps, _, _ = made
    values = IMAGES * sum(part.shape[1] * part[0, 0].size for part in maps["e"].values())
    monkeypatch.setattr("tasks.report.atlas.census.COUNTED", values // 2 + 1)
    run = write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    found = unit_of(tmp_path, run, MODELS.index("e"), 0, 0)["histogram"]
    assert 0 < found["images"] < IMAGES
    assert sum(found["counts"]) == found["images"] * 36


def test_a_layer_says_what_its_units_can_be_sorted_by(made):
    root, _, folder, run = made
    trust = tables.read(root, catalogue.TRUST.path())
    trust = trust[(trust["model_a"] != trust["model_b"]) & (trust["model_b"] != "untrained")]
    rows = trust[trust["model_b"] == "d"].sort_values("pearson", ascending=False).drop_duplicates("unit_b")
    best = rows.set_index("unit_b")
    for layer, place in enumerate(run["models"][MODELS.index("d")]["layers"]):
        value = read(folder, f"unit/{MODELS.index('d')}.{layer}")
        for channel, (match, held_out) in enumerate(zip(value["match"], value["held_out"], strict=True)):
            row = best["pearson"].get(place["first"] + channel)
            assert match == (None if row is None else pytest.approx(row, rel=1e-3))
            other = best["pearson_held_out"].get(place["first"] + channel)
            assert held_out == (None if other is None or np.isnan(other) else pytest.approx(other, rel=1e-3))
        assert "auroc" not in value, "images have no labels"


def test_what_tables_say_of_single_units(made, tmp_path, monkeypatch):
    """Causes of matches that are in the dictionary, names of this dictionary, and none of another one."""
    root, _, _, _ = made
    run = opened(root)
    rosetta = run.rosetta
    row = rosetta[rosetta["model"] == "d"].iloc[0]
    cause = {
        "rosetta": row["rosetta"], "cluster": row["cluster"], "anchor_unit": row["anchor_unit"], "model": "d",
        "unit": row["unit"], "layer": row["layer"], "channel": row["channel"], "causal_effect": 0.25,
        "causal_change": 0.5, "causal_rank": 0.0, "random_units": 40, "random_effect": 0.01, "causal_p": 0.024,
        "causal_q": 0.03,
    }  # fmt: skip
    stale = {**cause, "unit": (row["unit"] + 1) % 18, "anchor_unit": 17}
    name = {"model": "d", "unit": row["unit"], "layer": row["layer"], "channel": row["channel"]}
    mask = {
        **name,
        "cluster": 0,
        "strongest": False,
        "rank": 1,
        "label": "nose",
        "iou": 0.2,
        "threshold": 1.0,
        "named": True,
    }
    silenced = {"cluster": row["cluster"], "model": "d", "units": 2, "random": 0.1, "p_value": 0.05}
    measured = [
        {**silenced, "rank": rank, "class": rank, "label": label, "change": change}
        for rank, label, change in [(0, "", 0.3), (1, "cat", 2.0), (2, "", 1.0), (-1, "dog", -3.0)]
    ]
    made_up = {
        catalogue.CAUSES.path(): pd.DataFrame([stale, cause]),
        catalogue.MASKS.path(): pd.DataFrame([mask]),
        catalogue.SILENCED.path(): pd.DataFrame(measured),
    }
    run._tables.update(made_up)
    exists = Root.exists
    monkeypatch.setattr(Root, "exists", lambda self, path: path in run._tables or exists(self, path))
    unit, anchor = int(row["unit"]), int(row["anchor_unit"])
    found = unit_tables(run, "d")
    assert found.lists["causes"] == {unit: [[0, anchor, 0.25, 0.5, 0.0, 0.01, 0.024, 0.03]]}
    assert unit_tables(run, "g").lists["causes"] == {anchor: [[1, unit, 0.25, 0.5, 0.0, 0.01, 0.024, 0.03]]}
    assert found.lists["silenced"][unit] == [
        [int(row["cluster"]), 2, 0.3, 0.1, 0.05, [["cat", 2.0], ["class 2", 1.0]], [["dog", -3.0]]]
    ]
    assert found.names == {unit: "nose"}
    assert found.columns["iou"][unit] == 0.2
    assert found.columns["effect"][unit] == 0.25
    later = opened(root)
    later._tables.update(made_up)
    vars(later)["outdated"] = (catalogue.MASKS,)  # a cached property
    assert unit_tables(later, "d").names == {}, "names of another dictionary"
