"""Soft WPMI and its nulls, against slow readings in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.naming import names
from rosetta.naming.masking import masked
from rosetta.naming.names import Views, best_words, rotation, score
from rosetta.naming.soft_wpmi import HIGHEST, LOWEST, log_expected, membership, probabilities, soft_wpmi


def unit_length(random: np.random.Generator, *shape: int) -> np.ndarray:
    values = random.normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def slow(strong: np.ndarray, silent: np.ndarray, text: np.ndarray, member: np.ndarray) -> list[float]:
    """The formula word by word and image by image."""

    def expected(images: np.ndarray, word: int) -> float:
        total = 0.0
        for image, share in zip(images.astype(np.float64), member.astype(np.float64), strict=True):
            weights = [math.exp(10 * float(image @ other)) for other in text.astype(np.float64)]
            total += math.log(1 + share * (weights[word] / sum(weights) - 1))
        return total

    return [expected(strong, word) - expected(silent, word) for word in range(len(text))]


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 12), st.integers(2, 9))
def test_soft_wpmi_is_the_formula(seed, images, words, size):
    random = np.random.default_rng(seed)
    strong, silent, text = (unit_length(random, count, size) for count in (images, images, words))
    member = membership(np.sort(random.normal(size=images).astype(np.float32))[::-1])
    found = soft_wpmi(probabilities(strong @ text.T), probabilities(silent @ text.T), member)
    np.testing.assert_allclose(found, slow(strong, silent, text, member), rtol=1e-4, atol=1e-4)


def test_membership_falls_with_the_peaks():
    found = membership(np.array([9, 5, 1], np.float32))
    np.testing.assert_allclose(found, [HIGHEST, (HIGHEST + LOWEST) / 2, LOWEST], rtol=1e-6)
    np.testing.assert_allclose(membership(np.full(3, 2, np.float32)), HIGHEST, rtol=1e-6)


def test_an_image_that_does_not_belong_says_nothing():
    probability = probabilities(np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32))
    np.testing.assert_allclose(log_expected(probability, np.zeros(3, np.float32)), 0, atol=1e-7)


@pytest.mark.parametrize("size", [2, 7, 24])
def test_rotations_keep_lengths_and_angles(size):
    turned = rotation(size, np.random.default_rng(size)).astype(np.float64)
    np.testing.assert_allclose(turned @ turned.T, np.eye(size), atol=1e-6)


def planted(random: np.random.Generator, agree: bool) -> tuple[Views, np.ndarray]:
    """Ten subjects whose strong images lie near a word each, if the towers agree, else near other directions."""
    text = unit_length(random, 40, 64)
    centre = text[:10] if agree else unit_length(random, 10, 64)
    strong = centre[:, None] + 0.1 * random.normal(size=(10, 6, 64))
    seen = np.concatenate([strong, random.normal(size=(10, 6, 64)) / 8], axis=1)
    seen = (seen / np.linalg.norm(seen, axis=-1, keepdims=True)).astype(np.float32)
    return Views(seen, seen, np.tile(np.linspace(HIGHEST, LOWEST, 6, dtype=np.float32), (10, 1))), text


def test_words_are_found_where_towers_agree():
    views, text = planted(np.random.default_rng(0), True)
    found = score(views, text, 0)
    assert best_words(found.score, 1)[:, 0].tolist() == list(range(10))
    assert (found.score.max(axis=1) > found.null).all()
    for subject in (0, 7):
        sides = [found.whole[subject], slow(views.whole[subject, :6], views.whole[subject, 6:], text, views.member[0])]
        np.testing.assert_allclose(*sides, rtol=1e-4, atol=1e-4)


def test_no_word_is_found_where_towers_do_not():
    named = 0
    for seed in range(12):
        views, text = planted(np.random.default_rng(seed), False)
        found = score(views, text, seed)
        named += int((found.score.max(axis=1) > found.null).sum())
    assert named == 0


def test_no_word_is_found_where_images_say_nothing():
    views, text = planted(np.random.default_rng(3), True)
    random = np.random.default_rng(4)
    noise = unit_length(random, 200, 12, 64)
    found = score(Views(noise, noise, np.repeat(views.member[:1], 200, axis=0)), text, 0)
    assert (found.score.max(axis=1) > found.null).mean() <= 0.05


def test_scores_are_the_same_in_parts(monkeypatch):
    views, text = planted(np.random.default_rng(1), True)
    whole = score(views, text, 5)
    monkeypatch.setattr(names, "_BYTES", 1)
    parts = score(views, text, 5)
    np.testing.assert_allclose(parts.score, whole.score, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts.null, whole.null, rtol=1e-4)


def test_an_image_is_left_where_its_map_is_high():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    maps = np.zeros((2, 3, 4), np.float32)
    maps[0, 1, 2] = 4.0
    found = masked(pixels, maps, 0.0)
    np.testing.assert_array_equal(found[0, 5:7, 9:11], pixels[0, 5:7, 9:11])
    colour = np.rint(pixels.mean(axis=(1, 2)))
    np.testing.assert_array_equal(found[0, :2, :4], np.broadcast_to(colour[0], (2, 4, 3)))
    np.testing.assert_array_equal(found[1], np.broadcast_to(colour[1], (12, 16, 3)))
