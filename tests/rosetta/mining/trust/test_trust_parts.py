"""The parts of trust, each against its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, genpareto

from rosetta.mining.trust.chance import Covariances, permutation_variance
from rosetta.mining.trust.discoveries import p_counts, q_values
from rosetta.mining.trust.null import Null, Shapes, null_of, standardised_shifts
from rosetta.mining.trust.pixels import (
    FeatureBlock,
    FeatureProducts,
    FeatureSpan,
    FeatureSums,
    partial_correlation,
    resampling,
)
from rosetta.mining.trust.selectivity import half_share
from rosetta.mining.trust.thumbs import thumb_grid, thumbs


@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=60))
def test_q_values_are_benjamini_and_hochbergs_and_never_smaller(values):
    p = np.array(values)
    q = q_values(p, p_counts(p.astype(np.float32)))
    expected = false_discovery_control(p)
    assert (q >= expected * (1 - 1e-6)).all()
    assert (q <= np.minimum(expected * 1.013, 1.0)).all()


def test_p_values_are_counted_in_parts_and_nan_is_no_test():
    p = np.array([1e-30, 0.01, np.nan, 0.4, 1.0], dtype=np.float32)
    whole = p_counts(p)
    assert whole.sum() == 4
    np.testing.assert_array_equal(whole, p_counts(p[:2]) + p_counts(p[2:]))
    assert np.isnan(q_values(np.array([np.nan]), whole)).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 7), st.integers(1, 4), st.integers(1, 4), st.integers(0, 5))
def test_variance_over_all_permutations_is_exact(images, height, width, seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 2, images, height * width))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    packed = []
    upper = np.triu_indices(height * width)
    for maps in (a, b):
        covariance = np.einsum("unp,unq->upq", maps, maps) / images
        packed.append([Covariances((height, width), np.arange(2), covariance[:, *upper].astype(np.float32))])
    found = permutation_variance(*packed, images, (2, 2))
    from itertools import permutations

    products = np.einsum("unp,vmp->uvnm", a, b) / (height * width) / images
    orders = np.array(list(permutations(range(images))))
    every = products[:, :, np.arange(images), orders].sum(axis=3)
    np.testing.assert_allclose(found, every.var(axis=2), rtol=2e-5, atol=1e-9)


def test_chance_between_thumbs_on_different_grids_is_taken_on_the_coarser():
    random = np.random.default_rng(1)
    images = 30
    fine = torch.from_numpy(random.normal(size=(3, images, 8, 6)).astype(np.float32))
    coarse = thumbs(fine, (4, 6))
    other = torch.from_numpy(random.normal(size=(2, images, 4, 6)).astype(np.float32)).flatten(2)

    def covariances(maps, grid):
        centred = maps - maps.mean(dim=1, keepdim=True)
        square = torch.einsum("unp,unq->upq", centred, centred) / images
        upper = torch.triu_indices(square.shape[1], square.shape[1])
        return [Covariances(grid, np.arange(len(maps)), square[:, upper[0], upper[1]].numpy())]

    right = covariances(other, (4, 6))
    brought = permutation_variance(covariances(fine.flatten(2), (8, 6)), right, images, (3, 2))
    direct = permutation_variance(covariances(coarse, (4, 6)), right, images, (3, 2))
    np.testing.assert_allclose(brought, direct, rtol=1e-4)


def test_thumbs_are_means_over_cells_where_the_grid_divides():
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 1, 6)).astype(np.float32))
    np.testing.assert_allclose(thumbs(maps, (1, 6)).numpy(), maps.flatten(2).numpy())
    assert thumb_grid((112, 5)) == (8, 5)
    constant = torch.full((1, 1, 13, 9), 2.5)
    assert thumbs(constant, (8, 8)).mean().item() == pytest.approx(2.5, rel=1e-5)


def test_all_shifts_of_a_pair_are_those_of_its_thumbs():
    random = np.random.default_rng(2)
    a, b = random.normal(size=(2, 1, 11, 4)).astype(np.float32)
    found = standardised_shifts(Shapes((2, 2), np.arange(1), a), Shapes((2, 2), np.arange(1), b))
    expected = np.array([(a[0] * np.roll(b[0], lag, axis=0)).sum() for lag in range(1, 11)])
    expected = (expected - expected.mean()) / expected.std()
    # Which way the order is shifted does not matter: all shifts but none are there.
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-5)


def noise(random, units, images, heavy=False):
    maps = random.normal(size=(units, images, 9)).astype(np.float32)
    if heavy:
        maps *= random.pareto(1.5, size=(units, images, 1)).astype(np.float32)
    return [Shapes((3, 3), np.arange(units), maps)]


@pytest.mark.parametrize("heavy", [False, True])
def test_tail_holds_on_shifts_that_it_was_not_fitted_to(heavy):
    random = np.random.default_rng(3)
    units, partners = noise(random, 60, 128, heavy), noise(random, 32, 128, heavy)
    null = null_of(units, partners, 60)
    fresh = noise(random, 200, 128, heavy)
    unseen = np.stack(
        [
            np.concatenate(
                [
                    standardised_shifts(
                        Shapes((3, 3), np.arange(1), units[0].thumbs[unit : unit + 1]),
                        Shapes((3, 3), np.arange(1), fresh[0].thumbs[other : other + 1]),
                    )
                    for other in range(0, 200, 4)
                ]
            )
            for unit in range(60)
        ]
    )
    p = null.p_values(unseen.astype(np.float32))
    assert null.believed.mean() > 0.9
    for level in (0.5, 0.1, 0.01, 1e-3, 1e-4):
        assert (p <= level).mean() == pytest.approx(level, rel=0.35 if level > 1e-4 else 1.0)


def test_tail_is_a_generalised_pareto_where_it_is_believed_and_floored_where_not():
    body = np.linspace(-3, 2, 512, dtype=np.float32)[None].repeat(2, axis=0)
    null = Null(body, 999, np.full(2, 2.0), np.full(2, 0.5), np.array([0.0, 0.2]), np.array([True, True]))
    far = np.array([[2.5, 9.0], [2.5, 9.0]], dtype=np.float32)
    expected = 0.02 * np.stack([genpareto.sf(far[0] - 2, 0, scale=0.5), genpareto.sf(far[1] - 2, 0.2, scale=0.5)])
    np.testing.assert_allclose(null.p_values(far), expected, rtol=1e-5)
    doubted = Null(body, 999, null.threshold, null.scale, null.shape, np.array([False, True])).p_values(far)
    assert doubted[0].min() == pytest.approx(1e-3)
    np.testing.assert_allclose(doubted[1], expected[1], rtol=1e-5)
    assert np.isnan(null.p_values(np.full((2, 1), np.nan, dtype=np.float32))).all()


@given(st.integers(1, 90), st.integers(1, 90))
def test_resampling_of_features_is_torchs(features, common):
    values = torch.rand(1, 1, 1, features, dtype=torch.float64)
    how = {"mode": "bilinear", "align_corners": False} if common >= features else {"mode": "area"}
    if common < features and features % common:
        # torch's cells overlap where the sizes do not divide; ours share the positions on the edge.
        np.testing.assert_allclose(resampling(features, common).sum(axis=1), 1.0)
        np.testing.assert_allclose(resampling(features, common).sum(axis=0), common / features)
        return
    expected = torch.nn.functional.interpolate(values, (1, common), **how)[0, 0, 0].numpy()
    np.testing.assert_allclose(resampling(features, common) @ values[0, 0, 0].numpy(), expected, atol=1e-12)


def up(maps, grid):
    return torch.nn.functional.interpolate(maps.double(), grid, mode="bilinear", align_corners=False)


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.integers(4, 12),
)
def test_products_with_features_are_those_on_the_common_grid(native, partner, side):
    common = tuple(map(max, native, partner))
    maps, features = torch.randn(3, 5, *native), torch.randn(5, 4, side, side)
    products = FeatureProducts(native, side, (common, native), torch.device("cpu"))
    found = products.cross(maps, FeatureSpan.of(features).rows(products, slice(0, 5)))
    for index, grid in enumerate((common, native)):
        down, across = (torch.from_numpy(np.array(resampling(side, size))) for size in grid)
        seen = down @ features.double() @ across.T
        expected = torch.einsum("cnyx,nfyx->cf", up(maps, grid), seen)
        np.testing.assert_allclose(found[:, index].numpy(), expected.numpy(), atol=1e-3, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(3, 12))
def test_moments_of_features_are_those_on_the_common_grid(common, side):
    features = torch.randn(9, 3, side, side)
    features[:, 2] = 0.5
    sums = FeatureSums(side, 3, (common,))
    sums.add(FeatureBlock(features[:4]))
    sums.add(FeatureBlock(features[4:]))
    found = sums.moments()[common]
    down, across = (torch.from_numpy(np.array(resampling(side, size))) for size in common)
    flat = (down @ features.double() @ across.T).transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(found.mean, flat.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(flat, bias=True), atol=1e-5)
    assert found.covariance[2, 2] == 0


def test_partial_correlation_is_that_of_the_residuals():
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 5)) @ random.normal(size=(5, 5))
    features = np.column_stack([features, features[:, 0] + features[:, 1], np.full(400, 3.0)])
    a = features @ random.normal(size=7) + random.normal(size=400)
    b = features @ random.normal(size=7) + random.normal(size=400)
    design = np.column_stack([np.ones(400), features])
    left = [one - design @ np.linalg.lstsq(design, one, rcond=None)[0] for one in (a, b)]
    with np.errstate(all="ignore"):
        every = np.corrcoef(np.column_stack([a, b, features]).T)
    found = partial_correlation(
        every[0, 1][None], every[0, 2:][None], every[1, 2:][None], np.cov(features.T, bias=True).round(12)
    )
    assert found[0] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-9)
    whole = every[2, 2:][None]
    assert np.isnan(partial_correlation(every[2, 1][None], whole, every[1, 2:][None], np.cov(features.T, bias=True)))


def test_half_share_is_the_fewest_images_with_half_of_the_activation():
    mass = np.array([[1, 1, 1, 1], [8, 1, 1, 1], [0, 0, 0, 0], [3, 2, 2, 1]], dtype=np.float32)
    np.testing.assert_array_equal(half_share(mass), [0.5, 0.25, np.nan, 0.5])
