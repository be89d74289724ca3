"""Every number of trust.parquet against its definition on the maps themselves, in float64."""

import numpy as np
import oracle
import planted
import pytest
import torch

from rosetta.mining.grid import common_grid
from rosetta.mining.halves import run_halves
from rosetta.mining.trust.pixels import resampling
from storage.artifacts.activations import ActivationStore
from storage.artifacts.features import FeatureStore
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting

IMAGES = 70
K = 4


@pytest.fixture(scope="module", params=["matrix", "matrix without halves", "matrix in runs", "neighbours"])
def judged(request, tmp_path_factory):
    """Three models with grids that cross (one finer down, the other across), some units dead or dead in a half."""
    root = Root(str(tmp_path_factory.mktemp("trust"))).absolute
    random = np.random.default_rng(5)
    pixels = planted.pictures(random, IMAGES)
    planted.write_images(root, pixels)
    shared = random.normal(size=(6 * IMAGES, 3, 3))
    place = random.normal(size=(6, 4, 4))

    def layer(grid):
        field = planted.sample(shared, grid).reshape(6, IMAGES, *grid)
        where = planted.sample(place, grid)[:, None]
        plain = planted.pixel_maps(pixels, grid)[:, 3:9].swapaxes(0, 1)
        noise = planted._noise(random, IMAGES, grid, 6)
        return (3 + field + where + plain + noise).swapaxes(0, 1)

    a = {"low": layer((5, 9)), "high": layer((12, 7))}
    b = {"x": layer((9, 4)), "y": layer((20, 80)), "z": layer((1, 3))}
    a["low"][:, 2] = 1.5
    keep, _, how = request.param.partition(" ")
    # Stores of earlier versions do not know their halves.
    first = run_halves(IMAGES) if how == "in runs" else np.random.default_rng(8).random(IMAGES) < 0.45
    stored = None if how == "in runs" else first
    b["x"][~first, 1] = 0.25
    planted.write_maps(root, "a", a, block=16, first=stored)
    planted.write_maps(root, "b", b, block=8, first=stored)
    planted.write_controls(root, random, pixels, stored)
    with pytest.MonkeyPatch.context() as patch:
        if how == "without halves":  # as correlations of earlier versions are
            patch.setattr("tasks.correlate.pair.LEAST_IMAGES", IMAGES + 1)
        setting = Setting(threads=2, keep=keep)
        table, notes = planted.judge(root, ("a", "b", "pixels", "untrained"), neighbours=K, setting=setting)
    return root, table, notes


def pairs_of(root, table, model="b"):
    """Rows with both units' maps, (image, y, x) on the pair's common grid, float64."""
    stores = {name: ActivationStore.read(root, name) for name in ("a", model)}
    maps = {
        (name, layer.name): store.maps(layer.name, slice(None))
        for name, store in stores.items()
        for layer in store.units.layers
    }
    for row in table[(table["model_a"] == "a") & (table["model_b"] == model)].itertuples():
        a = maps["a", row.layer_a][:, row.channel_a]
        b = maps[model, row.layer_b][:, row.channel_b]
        grid = common_grid(a.shape[1:], b.shape[1:])
        yield row, *(upsampled(one, grid) for one in (a, b)), grid


def upsampled(maps, grid):
    values = torch.from_numpy(maps.astype(np.float64))[:, None]
    return torch.nn.functional.interpolate(values, grid, mode="bilinear", align_corners=False)[:, 0].numpy()


def correlation(a, b):
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_halves_are_the_correlations_over_those_images(judged):
    root, table, _ = judged
    first = halves_of(root)
    assert 0.35 < first.mean() < 0.6
    for row, a, b, _ in pairs_of(root, table):
        expected = correlation(a[first], b[first]), correlation(a[~first], b[~first])
        np.testing.assert_allclose((row.pearson_half_1, row.pearson_half_2), expected, atol=1e-5)


def test_replicates_means_a_buddy_in_either_half(judged):
    root, table, _ = judged
    first, second = (buddies for _, buddies in chosen_by(root))
    rows = table[table["model_b"] == "b"]
    pairs = zip(rows["unit_a"], rows["unit_b"], strict=True)
    assert rows["replicates"].tolist() == [pair in first & second for pair in pairs]
    assert 0 < rows["replicates"].sum() < len(rows)


def test_held_out_is_the_correlation_where_the_pair_was_not_chosen(judged):
    root, table, _ = judged
    (first, by_first), (second, by_second) = chosen_by(root)
    rows = table[table["model_b"] == "b"]
    ways = set()
    for row in rows.itertuples():
        pair = row.unit_a, row.unit_b
        # Chosen in one half, correlated in the other.
        values = [other[pair] for chosen, other in ((by_first, second), (by_second, first)) if pair in chosen]
        ways.add(len(values))
        expected = np.mean(values) if values else np.nan
        np.testing.assert_allclose(row.pearson_held_out, expected, atol=1e-5, equal_nan=True)
    assert ways == {1, 2}


def halves_of(root: Root) -> np.ndarray:
    """(image,) the first half."""
    return ActivationStore.read(root, "a").first_half()


def chosen_by(root: Root) -> list[tuple[np.ndarray, set[tuple[int, int]]]]:
    """Of either half the correlations of all units, float64, and the pairs that are buddies there."""
    found, first = [], halves_of(root)
    stores = [ActivationStore.read(root, name) for name in ("a", "b")]
    maps = [{layer.name: one.maps(layer.name, slice(None)) for layer in one.units.layers} for one in stores]
    for images in (first, ~first):
        pearson = np.block(
            [[oracle.textbook_pearson(a[images], b[images]) for b in maps[1].values()] for a in maps[0].values()]
        )
        found.append((pearson, {pair[:2] for pair in oracle.buddies(pearson.astype(np.float32), K)}))
    return found


def test_centred_is_the_correlation_without_mean_maps(judged):
    root, table, _ = judged
    rows = list(pairs_of(root, table))
    for row, a, b, _ in rows:
        expected = correlation(a - a.mean(axis=0), b - b.mean(axis=0))
        assert row.pearson_centred == pytest.approx(expected, abs=1e-4)
        assert row.positional == pytest.approx(1 - expected / row.pearson, abs=1e-3)
    assert max(row.positional for row, *_ in rows) > 0.3


@pytest.mark.parametrize("model", ["b", "untrained"])
def test_partial_is_the_correlation_of_residuals_of_a_regression_on_the_features(judged, model):
    root, table, _ = judged
    features = FeatureStore.read(root).features(slice(None)).astype(np.float64)
    rows = list(pairs_of(root, table, model))
    bases = {}
    for row, a, b, grid in rows:
        if grid not in bases:
            down, across = (resampling(features.shape[2], size) for size in grid)
            seen = np.einsum("ys,nfst,xt->nyxf", down, features, across, optimize=True)
            flat = seen.reshape(-1, features.shape[1])
            bases[grid] = np.linalg.qr(np.column_stack([np.ones(len(flat)), flat]))[0]
        left = [values.ravel() - bases[grid] @ (bases[grid].T @ values.ravel()) for values in (a, b)]
        expected = correlation(*left)
        assert row.pearson_partial == pytest.approx(expected, abs=1e-4)
        assert row.pixel_explained == pytest.approx(1 - expected / row.pearson, abs=2e-3)
    assert max(row.pixel_explained for row, *_ in rows) > 0.3


def test_control_best_is_the_best_of_all_units_of_all_other_controls(judged):
    root, table, _ = judged
    best = {}
    for control in ("pixels", "untrained"):
        store = ActivationStore.read(root, control)
        layer = store.units.layers[0].name
        blocks = [
            oracle.textbook_pearson(
                ActivationStore.read(root, "a").maps(name, slice(None)), store.maps(layer, slice(None))
            )
            for name in ("low", "high")
        ]
        with np.errstate(all="ignore"):
            best[control] = np.nanmax(np.where(np.isnan(m := np.concatenate(blocks)), -np.inf, m), axis=1)
    for row in table.itertuples():
        expected = max(values[row.unit_a] for control, values in best.items() if control != row.model_b)
        assert row.control_best == pytest.approx(expected, abs=1e-5)
        assert row.lift == pytest.approx(row.pearson - row.control_best, abs=1e-6)


def test_p_values_agree_with_permutations_of_the_images(judged):
    root, table, _ = judged
    random = np.random.default_rng(0)
    ranks, errors = [], []
    for row, a, b, _ in list(pairs_of(root, table))[::5]:
        a, b = ((one - one.mean()).reshape(IMAGES, -1) / one.std() for one in (a, b))
        products = a @ b.T / a.size  # (image of a, image of b): every pairing is a sum of its entries
        null = np.array([products[np.arange(IMAGES), random.permutation(IMAGES)].sum() for _ in range(2000)])
        share = (np.sum(null >= row.pearson) + 1) / 2001
        if np.isfinite(row.p_value):
            ranks.append((np.log10(max(row.p_value, 1e-3)), np.log10(max(share, 1e-3))))
            errors.append(abs(ranks[-1][0] - ranks[-1][1]))
    assert len(errors) >= 6
    assert np.median(errors) < 0.15
    assert max(errors) < 0.6


def test_a_unit_dead_in_a_half_is_said(judged):
    _, table, notes = judged
    rows = table[(table["model_b"] == "b") & (table["unit_b"] == 1)]
    assert len(rows)
    assert rows["pearson_half_1"].notna().all()
    assert rows["pearson_half_2"].isna().all()
    assert not rows["replicates"].any()
    assert not rows["trusted"].any()
    assert any(
        f"{len(rows)} of {len(table)} matches have a unit that never varies in one half" in note for note in notes
    )


def test_a_unit_with_itself_is_no_test(judged):
    _, table, _ = judged
    own = table[(table["model_a"] == "a") & (table["model_b"] == "a")]
    assert len(own)
    assert (own["unit_a"] != own["unit_b"]).all()
    assert own["p_value"].between(0, 1).all()
