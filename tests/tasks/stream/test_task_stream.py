"""A run that keeps the maps of some images finds what one that keeps all of them finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from streamed_runs import COUNT, KEEP, files, mined

from rosetta.errors import UserError
from rosetta.mining.draw import kept_of
from rosetta.zoo import Model
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, TRUST
from storage.artifacts.images import ImageStore
from storage.artifacts.profiles import ProfileStore
from tasks.plan import Plan
from tasks.stream import stage

KEPT = f"images.keep={KEEP}"
KEY = ["model_a", "unit_a", "model_b", "unit_b"]


def test_correlations_and_judgements_are_those_of_all_images(tmp_path: Path) -> None:
    stored, streamed = mined(tmp_path / "stored", "compute.dtype=float32"), mined(tmp_path / "streamed", KEPT)
    for pair in stored.pairs:
        path = f"correlations/{'~'.join(pair)}.zarr"
        then, now = (xr.open_zarr(f"{plan.root.url}/{path}") for plan in (stored, streamed))
        for name in ("pearson", "pearson_half_1"):
            np.testing.assert_allclose(now[name], then[name], rtol=0, atol=1e-6)
    for path in (BUDDIES.path(), TRUST.path()):
        then, now = (tables.read(plan.root, path).sort_values(KEY) for plan in (stored, streamed))
        assert len(then) > 10
        pd.testing.assert_frame_equal(then.reset_index(drop=True)[KEY], now.reset_index(drop=True)[KEY])
        for column in set(then) & {"pearson", "pearson_half_1", "pearson_half_2", "pearson_partial", "p_value"}:
            np.testing.assert_allclose(now[column], then[column], rtol=0, atol=2e-3, err_msg=column)


def test_only_the_maps_of_the_kept_images_are_stored(tmp_path: Path) -> None:
    stored, streamed = mined(tmp_path / "stored"), mined(tmp_path / "streamed", KEPT)
    images = ImageStore.read(streamed.root)
    kept = kept_of(COUNT, KEEP)
    assert images.count == KEEP
    assert images.indices(slice(None)).tolist() == kept.tolist()
    assert images.sources() == [f"seed 0 index {index}" for index in kept]
    every = ImageStore.read(stored.root)
    np.testing.assert_array_equal(images.pixels(slice(None)), every.pixels(slice(None))[kept])
    np.testing.assert_array_equal(images.latents(slice(None)), every.latents(slice(None))[kept])
    np.testing.assert_array_equal(images.first_half(), every.first_half()[kept])
    np.testing.assert_array_equal(images.first_half_of_run(COUNT), every.first_half())
    for model in stored.names:
        of_kept, of_all = (ActivationStore.read(plan.root, model) for plan in (streamed, stored))
        assert of_kept.images == KEEP
        tree = xr.open_datatree(f"{streamed.root.url}/activations/{model}.zarr", engine="zarr")
        for layer in of_kept.units.layers:
            assert tree[layer.name]["image"].values.tolist() == kept.tolist()
            maps = of_kept.maps(layer.name, slice(None))
            np.testing.assert_allclose(maps, of_all.maps(layer.name, slice(None))[kept], atol=2e-3)
        profile = ProfileStore.read(streamed.root, model)
        assert profile.images == COUNT
        np.testing.assert_allclose(profile.of_units("mean"), of_all.mean(), atol=1e-4)
        np.testing.assert_allclose(profile.of_units("std"), of_all.std(), rtol=1e-3)


def test_sums_are_gone_once_they_are_correlated(tmp_path: Path) -> None:
    plan = mined(tmp_path / "streamed", KEPT)
    assert plan.root.list("stream") == []


def test_any_number_of_passes_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = mined(tmp_path / "once", KEPT)
    passes = []
    whole = stage.plan_passes

    def tight(units, pairs, profiles, block, memory):
        found = [part for one in pairs for part in whole(units, [one], {}, block, memory)]
        passes[:] = [*whole(units, [], profiles, block, memory), *found]
        return passes

    monkeypatch.setattr(stage, "plan_passes", tight)
    often = mined(tmp_path / "often", KEPT)
    assert len(passes) == 4
    assert same(once, often)


def same(one: Plan, other: Plan) -> bool:
    then, now = (files(plan.root, "correlations", "profiles", "tables") for plan in (one, other))
    assert then.keys() == now.keys()
    different = [path for path in then if then[path] != now[path]]
    assert different == []
    return bool(then)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (("images.keep=151",), "images.keep = 151 is more than the 150 images of the run"),
        (("images.keep=15",), "images.keep"),
        ((KEPT, "matching.correlation=spearman"), "correlation = 'spearman' ranks all maps"),
        ((KEPT, "matching.keep=neighbours"), "keep = 'neighbours' is judged by all maps"),
        ((KEPT, "images.from=elsewhere"), "images.from shares the maps of all images"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        mined(tmp_path / "bad", *changes)


def test_keeping_as_many_as_there_are_keeps_all(tmp_path: Path) -> None:
    plan = mined(tmp_path / "all", f"images.keep={COUNT}")
    assert plan.streamed is None
    assert ActivationStore.read(plan.root, "ada").images == COUNT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """A unit that fails for a single image, whose maps are not kept."""
    observe, image = Model.observe, next(index for index in range(COUNT) if index not in kept_of(COUNT, KEEP))

    def failing(self: Model, images: Any, indices: Any = None, take: Any = None) -> Any:
        def spoilt(layer: str, maps: Any) -> None:
            if self.spec.name == "bob" and layer == "body.3" and image in list(indices):
                maps = maps.clone()
                maps[list(indices).index(image), 2] = value
            take(layer, maps)

        return observe(self, images, indices, spoilt)

    monkeypatch.setattr(Model, "observe", failing)
    with pytest.raises(UserError, match=rf"model bob, layer body.3: NaN or infinity in channels 2 for images {image};"):
        mined(tmp_path / "run", KEPT)
