"""Correlations with images exchanged against their definition on the maps themselves, in float64."""

import numpy as np
import pytest
import torch
from oracle import exchanged_pearson as expected_pearson

from rosetta.errors import UserError
from rosetta.mining.factors import factors
from rosetta.mining.grid import common_grid
from rosetta.mining.sparse import SparseRows
from rosetta.mining.trust.exchange import Exchange, ExchangedSums, OnGrids, Waves, exchanged_pearson
from rosetta.units import Layer, Units

IMAGES = 41
A = Units((Layer("p", 5, (4, 4)), Layer("q", 3, (2, 6)), Layer("r", 4, (4, 4))))
B = Units((Layer("x", 4, (3, 5)), Layer("y", 3, (7, 7))))


@pytest.fixture(scope="module")
def maps():
    """By layer (image, channel, y, x), one unit constant."""
    random = np.random.default_rng(0)
    found = {
        layer.name: (1 + random.normal(size=(IMAGES, layer.channels, *layer.grid))).astype(np.float32)
        for units in (A, B)
        for layer in units.layers
    }
    found["q"][:, 1] = 3.0
    return found


def upsampled(values, grid):
    tensor = torch.from_numpy(values.astype(np.float64))
    return torch.nn.functional.interpolate(tensor, grid, mode="bilinear", align_corners=False).numpy()


def on_grids(maps, units, other):
    """What a profile knows of some units."""
    of = [maps[layer.name].astype(np.float64) for layer in units.layers]
    mean, std = (np.concatenate([getattr(one, name)(axis=(0, 2, 3)) for one in of]) for name in ("mean", "std"))
    found = {"mean": [], "std": []}
    for grid in other.grids():
        on = [upsampled(one, common_grid(layer.grid, grid)) for one, layer in zip(of, units.layers, strict=True)]
        for name, values in found.items():
            values.append(np.concatenate([getattr(one, name)(axis=(0, 2, 3)) for one in on]))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_on, std_on = (np.transpose(values) for values in found.values())
        return mean, OnGrids(units, std, (mean_on - mean[:, None]) / std[:, None], std_on / std[:, None])


def summed(maps, exchange, read=3, step=2, sparse=()):
    """The sums over all images, read a few of each block at a time, and both sides' statistics."""
    sides = [(A, B, *on_grids(maps, A, B)), (B, A, *on_grids(maps, B, A))]
    total = ExchangedSums(A, B, exchange)
    for start in range(0, exchange.length, read):
        part = slice(start, min(start + read, exchange.length))
        waves = []
        for units, other, mean, _ in sides:
            waves.append(Waves(exchange, part.stop - part.start, right=units is B))
            for block, span in enumerate(exchange.spans(part)):
                for first in range(0, span.stop - span.start, step):
                    here = slice(span.start + first, min(span.start + first + step, span.stop))
                    some = {
                        layer.name: torch.from_numpy(maps[layer.name][here].astype(np.float32))
                        for layer in units.layers
                    }
                    some |= {
                        name: SparseRows.of(some[name].transpose(0, 1).flatten(1)) for name in sparse if name in some
                    }
                    made = factors(units, some, mean.astype(np.float32), exchange.grids(other.grids()), summed=False)
                    waves[-1].put(made, block, first)
        total.add(*waves)
    return total.sums, sides[0][3], sides[1][3]


def pearson(maps, exchange, number, **how):
    bands = exchanged_pearson(*summed(maps, exchange, **how), exchange, number)
    return np.concatenate([band for _, band in bands])


@pytest.mark.parametrize("exchanges", [1, 2, 3, 4, 7])
def test_each_exchange_pairs_an_image_with_one_so_many_blocks_on(maps, exchanges):
    exchange = Exchange.of(IMAGES, exchanges, 1)
    assert exchange.length == IMAGES // (exchanges + 1)
    for number in range(exchanges + 1):  # 0 is the images as they are
        found = pearson(maps, exchange, number)
        expected = expected_pearson(maps, A, B, exchange.images, number * exchange.length)
        assert np.isnan(expected[6]).all()
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.nanmax(np.abs(found)) < 0.4


def test_steps_and_zeros_change_nothing(maps):
    holes = {name: np.where(np.abs(values - 1) < 1.9, 0, values).astype(np.float32) for name, values in maps.items()}
    exchange = Exchange.of(IMAGES, 3, 1)
    whole = pearson(holes, exchange, 2, read=10, step=10)
    np.testing.assert_allclose(pearson(holes, exchange, 2, read=4, step=3), whole, atol=1e-6)
    np.testing.assert_allclose(pearson(holes, exchange, 2, sparse=("p", "r", "y")), whole, atol=1e-6)


@pytest.mark.parametrize(("side", "tolerance"), [(1, 1e-6), (3, 0.002)])
def test_coarse_grids_say_the_same_of_maps_without_finer_detail(maps, side, tolerance):
    flat = {name: np.broadcast_to(one.mean(axis=(2, 3), keepdims=True), one.shape) for name, one in maps.items()}
    found = pearson(flat, Exchange.of(IMAGES, 3, 1, side), 1)
    np.testing.assert_allclose(found, pearson(flat, Exchange.of(IMAGES, 3, 1), 1), atol=tolerance)


def test_coarse_grids_leave_out_detail_that_hardly_counts():
    random = np.random.default_rng(1)
    fields = {
        layer.name: random.normal(size=(IMAGES, layer.channels, 1, 1))
        + 0.3 * random.normal(size=(IMAGES, 1, *layer.grid))
        for units in (A, B)
        for layer in units.layers
    }
    exact, coarse = (pearson(fields, Exchange.of(IMAGES, 3, 1, side), 1) for side in (8, 2))
    assert np.abs(exact - coarse).max() < 0.03
    assert np.corrcoef(exact.ravel(), coarse.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("images", "exchanges", "chunk", "length"),
    [(512, 3, 32, 128), (200, 3, 16, 50), (10_000, 3, 32, 2496), (41, 3, 8, 10), (16, 15, 8, 1)],
)
def test_blocks_begin_with_chunks_where_that_costs_few_images(images, exchanges, chunk, length):
    exchange = Exchange.of(images, exchanges, chunk)
    assert (exchange.length, exchange.blocks) == (length, exchanges + 1)
    assert images - exchange.images <= max(exchanges, 0.02 * images)
    spans = exchange.spans(slice(0, length))
    assert np.concatenate([np.arange(images)[span] for span in spans]).tolist() == list(range(exchange.images))


def test_more_exchanges_than_images_are_an_error():
    with pytest.raises(UserError, match=r"trust\.exchanges = 20 is too much for 20 images; give at most 19"):
        Exchange.of(20, 20, 1)
