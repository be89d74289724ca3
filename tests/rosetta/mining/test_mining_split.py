"""Factors of a step that has images of both halves, against factors of either half by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grids

from rosetta.mining.factors import factors, halved_factors
from rosetta.mining.sparse import SparseRows
from rosetta.mining.split import Split
from rosetta.units import Layer, Units

MASKS = st.lists(st.booleans(), min_size=1, max_size=12).map(lambda flags: np.array(flags))


@given(MASKS)
def test_images_of_the_first_half_come_first_and_each_half_keeps_its_order(first):
    split = Split.of(first)
    order = np.arange(len(first)) if split.order is None else split.order.numpy()
    assert split.images == (first.sum(), (~first).sum())
    np.testing.assert_array_equal(order, [*np.flatnonzero(first), *np.flatnonzero(~first)])
    assert (split.order is None) == (order == np.arange(len(first))).all()


@given(MASKS, grids(6), st.lists(grids(8), min_size=1, max_size=3, unique=True), st.booleans(), SEEDS)
def test_either_half_has_the_factors_of_its_images(first, grid, others, is_sparse, seed):
    random = np.random.default_rng(seed)
    units = Units((Layer("l", 5, grid),))
    maps = random.normal(size=(len(first), 5, *grid)).astype(np.float32)
    if is_sparse:
        maps[random.random(maps.shape) < 0.8] = 0
    shift = random.normal(size=5).astype(np.float32)

    def given_as(images):
        rows = torch.from_numpy(np.ascontiguousarray(maps[images]))
        return {"l": SparseRows.of(rows.transpose(0, 1).flatten(1)) if is_sparse else rows}

    both = halved_factors(units, given_as(slice(None)), shift, others, Split.of(first))
    assert sum(both.images) == len(first)
    for half, images in zip(both.halves, (first, ~first), strict=True):
        if not images.any():
            assert half is None
            continue
        alone = factors(units, given_as(images), shift, others)
        assert half.images == alone.images
        torch.testing.assert_close(half.sums, alone.sums, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(half.squares, alone.squares, atol=1e-4, rtol=1e-5)
        for now, then in zip(half.maps, alone.maps, strict=True):
            assert now.keys() == then.keys()
            for target in then:
                torch.testing.assert_close(_dense(now[target]), _dense(then[target]), atol=1e-5, rtol=1e-5)


def _dense(factor):
    return factor.dense() if isinstance(factor, SparseRows) else factor


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_maps_of_other_types_are_put_in_order_too(dtype):
    first = np.array([False, True, True, False, True])
    units = Units((Layer("l", 3, (4, 5)),))
    maps = torch.randn(5, 3, 4, 5).to(dtype)
    made = halved_factors(units, {"l": maps}, np.zeros(3, np.float32), [(4, 5)], Split.of(first))
    expected = maps[[1, 2, 4, 0, 3]].float().transpose(0, 1).flatten(1)
    torch.testing.assert_close(made.maps[0][4, 5], expected)
