"""CKA and RSA against slow readings of their formulas in float64, and what they say of layers whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from strategies import SEEDS

from rosetta.mining.shape.alignment import alignment, exchanged, exchanges, geometry


def hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Song et al. 2012, equation 5, term by term."""
    n = len(one)
    k, m = (matrix - np.diag(np.diag(matrix)) for matrix in (one, other))
    ones = np.ones(n)
    terms = (
        np.trace(k @ m)
        + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (ones @ k @ m @ ones)
    )
    return float(terms / (n * (n - 3)))


def features(thumbs: np.ndarray) -> np.ndarray:
    """(image, feature) of (channel, image, position), without constant units."""
    values = thumbs.astype(np.float64)
    values = values[values.any(axis=(1, 2))]
    return values.transpose(1, 0, 2).reshape(thumbs.shape[1], -1)


def slow_cka(one: np.ndarray, other: np.ndarray) -> float:
    k, m = (x @ x.T for x in (features(one), features(other)))
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def slow_rsa(one: np.ndarray, other: np.ndarray) -> float:
    upper = np.triu_indices(one.shape[1], 1)
    return float(spearmanr(*((1 - np.corrcoef(features(x)))[upper] for x in (one, other))).statistic)


def layers(random: np.random.Generator, images: int, count: int) -> list[np.ndarray]:
    """Layers that share something, of different widths and grids, with a constant unit."""
    common = random.normal(size=(images, 5))
    found = []
    for _ in range(count):
        channels, positions = random.integers(2, 40), random.integers(1, 17)
        values = np.einsum("ni,icp->cnp", common, random.normal(size=(5, channels, positions)))
        values += random.normal(size=values.shape) + random.normal(size=(channels, 1, positions))
        values[0] = 0
        found.append(values.astype(np.float16))
    return found


@settings(max_examples=20)
@given(seed=SEEDS, images=st.integers(6, 40))
def test_every_pair_of_layers_is_as_the_formulas_have_it(seed, images):
    random = np.random.default_rng(seed)
    a, b = layers(random, images, 3), layers(random, images, 2)
    of_a, of_b = geometry(a), geometry(b)
    orders = exchanges(images, random, 4)
    found = alignment(of_a, of_b, exchanged(of_a, orders))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            shuffled = [one[:, order] for order in orders]
            assert found.cka[i, j] == pytest.approx(slow_cka(one, other), abs=1e-4)
            assert found.cka_null[i, j] == pytest.approx(np.mean([slow_cka(x, other) for x in shuffled]), abs=1e-4)
            assert found.rsa[i, j] == pytest.approx(slow_rsa(one, other), abs=1e-4)
            assert found.rsa_null[i, j] == pytest.approx(np.mean([slow_rsa(x, other) for x in shuffled]), abs=1e-4)


def compared(one: np.ndarray, other: np.ndarray, seed: int = 0):
    of_one = geometry([one])
    null = exchanged(of_one, exchanges(of_one.images, np.random.default_rng(seed)))
    return alignment(of_one, geometry([other]), null)


@pytest.mark.parametrize("seed", range(3))
def test_a_rotated_layer_is_the_same(seed):
    random = np.random.default_rng(seed)
    layer = layers(random, 60, 1)[0][1:].astype(np.float32)
    rotation, _ = np.linalg.qr(random.normal(size=(len(layer), len(layer))))
    rotated = np.einsum("dc,cnp->dnp", rotation, layer)
    found = compared(layer, rotated)
    assert found.cka.item() == pytest.approx(1, abs=1e-4)
    assert abs(found.cka_null.item()) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_layers_that_share_nothing_are_at_zero_however_wide(seed):
    random = np.random.default_rng(seed)
    one, other = (random.normal(size=(channels, 100, 4)).astype(np.float16) for channels in (400, 150))
    found = compared(one, other)
    for value, null in ((found.cka, found.cka_null), (found.rsa, found.rsa_null)):
        assert abs(value.item() - null.item()) < 0.06
        assert abs(null.item()) < 0.02


def test_a_layer_that_tells_no_images_apart_is_not_compared():
    random = np.random.default_rng(0)
    same = np.repeat(random.normal(size=(20, 1, 9)), 30, axis=1).astype(np.float16)
    other = random.normal(size=(8, 30, 9)).astype(np.float16)
    assert np.isnan(compared(same, other).cka).all()
    dead = compared(np.zeros((5, 30, 4), dtype=np.float16), other)
    assert np.isnan([dead.cka, dead.cka_null, dead.rsa, dead.rsa_null]).all()
    single = compared(random.normal(size=(1, 30, 1)).astype(np.float16), other)
    assert np.isfinite(single.cka).all(), "one number per image has a Gram matrix"
    assert np.isnan(single.rsa).all(), "but no pattern"
