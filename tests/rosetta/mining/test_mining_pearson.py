"""The correlation against the textbook, over grids, splits and hostile values."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import textbook_pearson
from strategies import SEEDS, grids

from rosetta.mining.factors import factors, pull_back
from rosetta.mining.grid import upsampling
from rosetta.mining.moments import Accumulator, merge_moments
from rosetta.mining.pearson import pearson
from rosetta.units import Layer, Units


def block_moments(units_a, maps_a, shift_a, units_b, maps_b, shift_b):
    """The moments of one block of images."""
    total = Accumulator(units_a, units_b)
    total.add(factors(units_a, maps_a, shift_a, units_b.grids()), factors(units_b, maps_b, shift_b, units_a.grids()))
    return total.moments()


def correlate(layers_a, layers_b, splits, dtype=np.float32):
    """Correlate lists of (image, channel, y, x) arrays, one per layer, in blocks that end at `splits`."""
    sides = []
    for layers in (layers_a, layers_b):
        units = Units(tuple(Layer(f"l{i}", x.shape[1], x.shape[2:]) for i, x in enumerate(layers)))
        stored = {f"l{i}": x.astype(dtype) for i, x in enumerate(layers)}
        flat = [x.astype(np.float64).transpose(1, 0, 2, 3).reshape(x.shape[1], -1) for x in stored.values()]
        mean = np.concatenate([x.mean(axis=1) for x in flat])
        constant = np.concatenate([x.max(axis=1) == x.min(axis=1) for x in flat])
        sides.append((units, stored, mean.astype(np.float32), constant))
    (units_a, maps_a, shift_a, constant_a), (units_b, maps_b, shift_b, constant_b) = sides
    images = len(layers_a[0])
    edges = [0, *sorted({s % images for s in splits} - {0}), images]
    parts = [
        block_moments(
            units_a,
            {name: torch.from_numpy(x[start:stop]) for name, x in maps_a.items()},
            shift_a,
            units_b,
            {name: torch.from_numpy(x[start:stop]) for name, x in maps_b.items()},
            shift_b,
        )
        for start, stop in itertools.pairwise(edges)
    ]
    return pearson(merge_moments(parts), units_a, units_b, constant_a, constant_b), maps_a, maps_b


def textbook(maps_a, maps_b):
    return np.block([[textbook_pearson(a, b) for b in maps_b.values()] for a in maps_a.values()])


@given(
    grids_a=st.lists(grids(9), min_size=1, max_size=3),
    grids_b=st.lists(grids(9), min_size=1, max_size=3),
    images=st.integers(2, 12),
    splits=st.lists(st.integers(0, 100), max_size=3),
    seed=SEEDS,
)
def test_equals_the_textbook_on_any_grids_and_splits(grids_a, grids_b, images, splits, seed):
    random = np.random.default_rng(seed)
    layers_a = [random.normal(random.normal(), 1, (images, 3, *grid)) for grid in grids_a]
    layers_b = [np.maximum(random.normal(0, 2, (images, 2, *grid)), 0) for grid in grids_b]
    # Shared structure, so that correlations spread over the whole range.
    layers_b[0][:, 0] = layers_a[0][:, 0].mean(axis=(1, 2))[:, None, None] * np.ones(grids_b[0])
    result, maps_a, maps_b = correlate(layers_a, layers_b, splits)
    np.testing.assert_allclose(result, textbook(maps_a, maps_b), atol=1e-5, rtol=0)


@given(
    grids_a=st.lists(grids(9), min_size=1, max_size=3), others=st.lists(grids(9), min_size=1, max_size=4), seed=SEEDS
)
def test_factors_made_for_several_partners_give_each_pair_its_own_bytes(grids_a, others, seed):
    random = np.random.default_rng(seed)
    shapes = [(3, grid) for grid in grids_a], *([(2, grid)] for grid in others)
    sides = []
    for layers in shapes:
        units = Units(tuple(Layer(f"l{i}", channels, grid) for i, (channels, grid) in enumerate(layers)))
        maps = {x.name: torch.from_numpy(random.normal(size=(5, x.channels, *x.grid))).float() for x in units.layers}
        sides.append((units, maps, random.normal(size=len(units)).astype(np.float32)))
    (units_a, *_), *partners = sides
    union = dict.fromkeys(grid for units, *_ in partners for grid in units.grids())
    of_all = factors(*sides[0], tuple(union))
    for partner in partners:
        alone = block_moments(*sides[0], *partner)
        total = Accumulator(units_a, partner[0])
        total.add(of_all, factors(*partner, tuple(dict.fromkeys([(4, 6), *units_a.grids(), (1, 9)]))))
        for name, values in vars(total.moments()).items():
            np.testing.assert_array_equal(values, getattr(alone, name), err_msg=name)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_huge_means_over_tiny_spreads(scale):
    random = np.random.default_rng(0)
    layers_a = [
        random.normal(0, scale, (16, 4, 5, 7)) + 1e3 * scale * 300,
        random.normal(0, 1, (16, 3, 8, 3)),
    ]
    layers_b = [random.normal(0, scale, (16, 4, 6, 6)) - 1e3 * scale * 500]
    layers_b[0][:, 0] = layers_a[0][:, 0].mean(axis=(1, 2))[:, None, None] + random.normal(0, scale / 10, (16, 6, 6))
    result, maps_a, maps_b = correlate(layers_a, layers_b, [5])
    np.testing.assert_allclose(result, textbook(maps_a, maps_b), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 65504.0, 1e-40])
def test_a_constant_unit_has_no_correlation(value):
    random = np.random.default_rng(1)
    a, b = random.normal(size=(6, 3, 4, 4)), random.normal(size=(6, 3, 7, 7))
    a[:, 1] = value
    b[:, 2] = value
    result, _, _ = correlate([a], [b], [2])
    assert np.isnan(result[1]).all()
    assert np.isnan(result[:, 2]).all()
    assert np.isfinite(result[[0, 2]][:, :2]).all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, 3.3, 1234.567])
def test_a_constant_unit_has_none_whatever_the_shift(value):
    # A shift that is only near the mean leaves a constant unit a tiny variance of rounding; it must not count.
    random = np.random.default_rng(4)
    sides = []
    for grid in ((5, 7), (11, 13)):
        maps = random.normal(size=(6, 2, *grid)).astype(np.float32)
        maps[:, 0] = value
        sides += [Units((Layer("l", 2, grid),)), {"l": torch.from_numpy(maps)}, np.float32([value / 2, 0])]
    constant = np.array([True, False])
    result = pearson(block_moments(*sides), sides[0], sides[3], constant, constant)
    assert np.isnan(result[0]).all()
    assert np.isnan(result[:, 0]).all()
    assert np.isfinite(result[1, 1])


def test_float16_maps_near_the_limit():
    random = np.random.default_rng(2)
    a = random.uniform(50_000, 65_000, (8, 4, 6, 6))
    b = random.uniform(-1e-4, 1e-4, (8, 4, 3, 9))
    result, maps_a, maps_b = correlate([a], [b], [3], np.float16)
    np.testing.assert_allclose(result, textbook(maps_a, maps_b), atol=1e-5, rtol=0)


def test_a_unit_correlates_fully_with_itself():
    maps = np.random.default_rng(3).normal(size=(9, 5, 6, 4))
    result, _, _ = correlate([maps], [maps], [4])
    np.testing.assert_allclose(np.diag(result), 1.0, atol=1e-6)


@given(coarse=st.integers(1, 40), more=st.integers(0, 90))
def test_upsampling_is_torchs(coarse, more):
    fine = coarse + more
    eye = torch.eye(coarse, dtype=torch.float64)[:, None, None, :]
    expected = torch.nn.functional.interpolate(eye, size=(1, fine), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(upsampling(coarse, fine), expected[:, 0, 0].T.numpy(), atol=1e-12)


@given(own=grids(9), other=grids(9), seed=SEEDS)
def test_pulling_back_is_the_adjoint_of_upsampling(own, other, seed):
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn((2, 3, *own), generator=random)
    probe = torch.randn((2, 3, min(own[0], other[0]), min(own[1], other[1])), generator=random)
    upsampled = torch.nn.functional.interpolate(probe.double(), size=own, mode="bilinear", align_corners=False)
    left = (upsampled * maps.double()).sum(dim=(2, 3))
    right = (probe.double() * pull_back(maps, other).double()).sum(dim=(2, 3))
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


def test_upsampling_refuses_to_shrink():
    with pytest.raises(ValueError, match="not from 4 to 3"):
        upsampling(4, 3)


@pytest.mark.parametrize(
    ("offset", "spread", "dtype"), [(0.0, 1.0, np.float32), (1e6, 1.0, np.float32), (60_000.0, 400.0, np.float16)]
)
@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.slow])])
def test_a_thousand_million_positions(offset, spread, dtype, times):
    # The same million positions many times over have the correlations of that million, which float64 knows.
    random = np.random.default_rng(5)
    shared = random.normal(size=(64, 1, 128, 128))
    weights = np.array([0.0, 0.02, 0.7, -1.0])[None, :, None, None]
    sides = []
    for sign in (1, -1):
        noise = random.normal(size=(64, 4, 128, 128))
        maps = (offset + spread * np.tanh(weights * shared * sign + 0.5 * noise)).astype(dtype)
        shift = maps.astype(np.float64).mean(axis=(0, 2, 3)).astype(np.float32)
        sides.append((Units((Layer("l", 4, (128, 128)),)), {"l": torch.from_numpy(maps)}, shift))
    made = [factors(*side, ((128, 128),)) for side in sides]
    total = Accumulator(sides[0][0], sides[1][0])
    for _ in range(times):
        total.add(*made)
    assert total.moments().images * 128 * 128 > 1e6 * times
    varies = np.zeros(4, dtype=bool)
    found = pearson(total.moments(), sides[0][0], sides[1][0], varies, varies)
    flat = [maps["l"].double().transpose(0, 1).flatten(1).numpy() for _, maps, _ in sides]
    np.testing.assert_allclose(found, np.corrcoef(*flat)[:4, 4:], atol=1e-5, rtol=0)
    assert np.abs(found).max() > 0.5
