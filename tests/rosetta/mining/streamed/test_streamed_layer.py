"""A layer's sums over blocks that no one keeps, against those over all images at once."""

import numpy as np
import pytest
import torch

from rosetta.mining.exact import quantum
from rosetta.mining.halves import drawn_halves
from rosetta.mining.room import Room
from rosetta.mining.streamed.layer import StreamedLayer, layer_bytes, scale_of
from rosetta.mining.streamed.shares import Activations
from rosetta.mining.trust.layer_sums import LayerSums
from rosetta.mining.trust.pixels import FeatureBlock, FeatureProducts, FeatureSpan, FeatureSums
from rosetta.mining.trust.selectivity import half_share
from rosetta.mining.trust.standardised import layer_profile
from rosetta.units import Layer

IMAGES, BLOCK, SIDE = 70, 8, 16
FIRST = drawn_halves(map(str, range(IMAGES)), 5, None)
CPU = torch.device("cpu")
LAYERS = [Layer("small", 7, (4, 4)), Layer("large", 5, (12, 10))]


@pytest.fixture(params=LAYERS, ids=lambda layer: layer.name)
def layer(request: pytest.FixtureRequest) -> Layer:
    return request.param


def commons_of(layer: Layer) -> tuple[tuple[int, int], ...]:
    return (layer.grid, (16, 16))


def maps_of(layer: Layer) -> np.ndarray:
    """Units of many scales; the last is silent, and the one before it in the first half only."""
    random = np.random.default_rng(3)
    maps = random.normal(size=(IMAGES, layer.channels, *layer.grid)) ** 3
    maps *= 10.0 ** random.uniform(-3, 3, size=(layer.channels, 1, 1))
    maps[:, -1] = 0.1
    maps[FIRST, -2] = -1.5
    return maps.astype(np.float32)


def streamed(layer: Layer, blocks: list[int]) -> StreamedLayer:
    maps, features = maps_of(layer), seen()
    about = torch.from_numpy(maps[::5].mean(axis=(0, 2, 3))), torch.from_numpy(scale_of(maps.std(axis=(0, 2, 3))))
    sums = StreamedLayer(layer, IMAGES, BLOCK, commons_of(layer), features.shape[1], about)
    products, room = FeatureProducts(layer.grid, SIDE, commons_of(layer), CPU), Room()
    for block in blocks:
        images = slice(block * BLOCK, min((block + 1) * BLOCK, IMAGES))
        span = FeatureSpan.of(torch.from_numpy(features[images]))
        assert sums.add(images.start, FIRST[images], torch.from_numpy(maps[images]), products, span, room)
    return sums


def seen() -> np.ndarray:
    return np.random.default_rng(4).uniform(size=(IMAGES, 3, SIDE, SIDE)).astype(np.float32)


BLOCKS = list(range(-(-IMAGES // BLOCK)))


def test_sums_have_the_same_bits_in_any_order_and_from_parts(layer: Layer) -> None:
    whole, turned = streamed(layer, BLOCKS), streamed(layer, BLOCKS[::-1])
    parts = streamed(layer, BLOCKS[::2])
    for name, values in streamed(layer, BLOCKS[1::2]).state.items():
        parts.merge(name, values)
    for name, values in whole.state.items():
        for other in (turned, parts):
            assert values.numpy().tobytes() == other.state[name].numpy().tobytes(), name


def test_a_profile_is_that_of_all_images(layer: Layer) -> None:
    maps, features = maps_of(layer), seen()
    ordinary = LayerSums(layer, FIRST, commons_of(layer), features.shape[1])
    products = FeatureProducts(layer.grid, SIDE, commons_of(layer), CPU)
    span = FeatureSpan.of(torch.from_numpy(features))
    ordinary.add(torch.from_numpy(maps), products, span, Room())
    sums = streamed(layer, BLOCKS)
    mean, std, maximum = sums.statistics()
    wide = maps.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=(0, 2, 3)), rtol=1e-5, atol=1e-6 * wide.std(axis=(0, 2, 3)).max())
    np.testing.assert_allclose(std[:-1], wide.std(axis=(0, 2, 3))[:-1], rtol=1e-5)
    assert std[-1] == 0
    np.testing.assert_array_equal(maximum, maps.max(axis=(0, 2, 3)))
    moments = FeatureSums(SIDE, 3, sums.commons)
    moments.add(FeatureBlock(torch.from_numpy(features)))
    of_features = [
        (moments.moments()[common].mean, np.sqrt(np.diagonal(moments.moments()[common].covariance)))
        for common in sums.commons
    ]
    found, expected = (layer_profile(one, mean, std, of_features) for one in (sums, ordinary))
    for name in ("kurtosis", "mean_map", "covariance", "shape", "mean_on", "std_on", "halves_on", "pixels"):
        now, then = (getattr(one, name)[:-1].astype(np.float64) for one in (found, expected))
        np.testing.assert_allclose(now, then, rtol=2e-3, atol=1e-5 if name != "covariance" else 1e-3, err_msg=name)
    np.testing.assert_allclose(found.half_share, expected.half_share, atol=1.5 / IMAGES)


def test_units_that_never_vary_are_named(layer: Layer) -> None:
    dead = streamed(layer, BLOCKS).dead()
    assert dead[-1].all()
    assert dead[-2].tolist() == [True, False]
    assert not dead[:-2].any()


def test_what_is_not_finite_is_refused_and_leaves_the_sums_as_they_are(layer: Layer) -> None:
    sums = streamed(layer, BLOCKS[:2])
    before = {name: values.clone() for name, values in sums.state.items()}
    maps = torch.from_numpy(maps_of(layer)[:BLOCK].copy())
    maps[0, 1, 0, 0] = torch.nan
    products = FeatureProducts(layer.grid, SIDE, commons_of(layer), CPU)
    assert not sums.add(16, FIRST[16:24], maps, products, FeatureSpan.of(torch.from_numpy(seen()[:BLOCK])), Room())
    for name, values in sums.state.items():
        assert torch.equal(values, before[name]), name


def test_memory_is_what_the_plan_says(layer: Layer) -> None:
    state = sum(values.nbytes for values in streamed(layer, BLOCKS).state.values())
    planned = layer_bytes(layer, IMAGES, len(commons_of(layer)), 3)
    assert state <= planned <= 2.5 * state


@pytest.mark.parametrize("power", [0, 1, 4])
def test_shares_of_classes_are_near_those_of_all_images(power: int) -> None:
    random = np.random.default_rng(power)
    mass = (random.uniform(size=(20, 4000)) ** power * 3).astype(np.float32)
    mass[0] = 0
    activations = Activations(20, quantum(4000), CPU)
    for part in np.split(mass, 8, axis=1):
        activations.add(torch.from_numpy(part))
    np.testing.assert_allclose(activations.half_share(), half_share(mass), rtol=0.05)
    assert np.isnan(activations.half_share()[0])


def test_scales_are_powers_of_two_near_one_over_the_deviation() -> None:
    std = np.array([0.0, 1e-3, 0.7, 1.0, 300.0])
    scale = scale_of(std)
    assert np.all(np.log2(scale) % 1 == 0)
    assert np.all((std * scale)[1:] >= 1)
    assert np.all((std * scale)[1:] < 2)
    assert scale[0] == scale_of(np.array([np.median(std[1:])]))[0]
