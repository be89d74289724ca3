"""How much of a map others explain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from rosetta.mining.explained import explained, likest_first


def upsampled(values, grid):
    tensor = torch.from_numpy(values.astype(np.float64))[None, None]
    return torch.nn.functional.interpolate(tensor, grid, mode="bilinear", align_corners=False)[0, 0].numpy()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_against_a_bounded_least_squares_of_upsampled_maps(seed, count):
    random = np.random.default_rng(seed)
    target = np.maximum(random.normal(size=(5, 7)), 0).astype(np.float32)
    maps = [random.normal(size=random.integers(2, 9, size=2)).astype(np.float32) for _ in range(count)]
    fine = tuple(np.max([target.shape, *(one.shape for one in maps)], axis=0))
    columns = np.stack([np.maximum(upsampled(one, fine), 0).ravel() for one in maps], axis=1)
    wanted = upsampled(target, fine).ravel() / target.max()
    fit = lsq_linear(columns, wanted, (0, np.inf), tol=1e-14)
    found = explained(target, maps)
    assert (found.weight >= 0).all()
    residue = ((columns @ found.weight - wanted) ** 2).sum()
    assert residue <= 2 * fit.cost * (1 + 1e-6) + 1e-12
    assert found.share == pytest.approx(1 - residue / ((wanted - wanted.mean()) ** 2).sum(), abs=1e-9)
    for one, pearson in zip(maps, found.pearson, strict=True):
        common = tuple(np.max([target.shape, one.shape], axis=0))
        expected = np.corrcoef(upsampled(target, common).ravel(), upsampled(one, common).ravel())[0, 1]
        assert pearson == pytest.approx(expected, abs=1e-9)


def test_a_sum_of_maps_is_explained_and_a_constant_one_is_not():
    random = np.random.default_rng(0)
    maps = [np.abs(random.normal(size=(6, 6))).astype(np.float32) for _ in range(4)]
    target = 2 * maps[1] + maps[3]
    found = explained(target, maps)
    assert found.weight * target.max() == pytest.approx([0, 2, 0, 1], abs=1e-5)
    assert found.share == pytest.approx(1)
    for nothing in (np.zeros((3, 3), np.float32), np.ones((3, 3), np.float32)):
        found = explained(nothing, maps)
        assert np.isnan(found.share)
        assert (found.weight == 0).all()
        assert np.isnan(found.pearson).all()
    assert explained(target, []).share <= 0


def test_the_map_most_like_it_comes_first_and_constant_maps_last():
    pearson, weight = np.array([0.2, np.nan, 0.9, 0.9, -0.5]), np.array([0.8, 0.0, 0.0, 0.1, 0.0])
    assert likest_first(pearson, weight).tolist() == [3, 2, 0, 4, 1]
