"""PSNR and SSIM of known images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from rosetta.guidance.quality import quality


def some_images(count, seed, size=(9, 11)):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@given(seed=SEEDS, count=st.integers(1, 4), spread=st.integers(1, 255))
def test_psnr_is_the_formula(seed, count, spread):
    targets = some_images(count, seed)
    noise = np.random.default_rng(seed + 1).integers(-spread, spread + 1, targets.shape)
    images = np.clip(targets + noise, 0, 255).astype(np.uint8)
    error = ((images.astype(float) - targets) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(quality(images, targets).psnr, 10 * np.log10(255**2 / error), rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_equal_images():
    images = some_images(3, 0)
    images[2] = 17
    found = quality(images, images)
    assert np.isposinf(found.psnr).all()
    np.testing.assert_allclose(found.ssim, 1, atol=1e-12)
    assert found.psnr.dtype == found.ssim.dtype == np.float64


@given(seed=SEEDS)
def test_ssim_is_symmetric_and_at_most_one(seed):
    a, b = some_images(2, seed), some_images(2, seed + 1)
    found, other = quality(a, b), quality(b, a)
    np.testing.assert_allclose(found.ssim, other.ssim, atol=1e-12)
    np.testing.assert_allclose(found.psnr, other.psnr, atol=1e-12)
    assert (np.abs(found.ssim) < 1).all()


def test_more_noise_is_worse():
    target = np.full((1, 32, 32, 3), 120, np.uint8) + some_images(1, 0, (32, 32)) // 8
    noise = np.random.default_rng(1).normal(size=target.shape)
    found = [
        quality(np.clip(target + spread * noise, 0, 255).astype(np.uint8), target) for spread in (2, 5, 10, 20, 40)
    ]
    assert (np.diff([each.psnr[0] for each in found]) < 0).all()
    assert (np.diff([each.ssim[0] for each in found]) < 0).all()


def test_ssim_of_two_flat_images():
    # No structure at all: what remains is how alike the two levels are.
    a, b = np.full((1, 8, 8, 3), 100, np.uint8), np.full((1, 8, 8, 3), 150, np.uint8)
    small = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + small) / (100**2 + 150**2 + small)
    assert quality(a, b).ssim[0] == pytest.approx(expected, rel=1e-9)
    assert quality(a, b).psnr[0] == pytest.approx(20 * np.log10(255 / 50), rel=1e-12)


def test_each_image_has_its_own_target():
    a, b = some_images(3, 0), some_images(3, 1)
    whole = quality(a, b)
    for image in range(3):
        alone = quality(a[image : image + 1], b[image : image + 1])
        assert (alone.psnr[0], alone.ssim[0]) == (whole.psnr[image], whole.ssim[image])
    with pytest.raises(ValueError, match="zip"):
        quality(a, b[:2])
