"""Bootstrap intervals: what they are of, how often they hold the truth, and that they are the same everywhere."""

import numpy as np
import pytest

from rosetta.mining.trust.bootstrap import ImageSums, intervals


def sums_of(a, b):
    """Of maps (pair, image, position), each pair with units of its own."""
    pairs, images, positions = a.shape
    sides = [np.stack([one.sum(axis=2), (one**2).sum(axis=2)]).astype(np.float32) for one in (a, b)]
    cross = (a * b).sum(axis=2).astype(np.float32)
    return ImageSums(positions, np.ones(images), cross, *sides, np.arange(pairs), np.arange(pairs))


def alike(random, rho, pairs, groups, each=1, positions=25):
    """Maps that correlate by `rho`, (pair, image, position); images of a group are alike, and so are positions."""
    shape = pairs, groups, each

    def field():
        parts = (
            random.normal(size=(pairs, groups, 1, 1)),
            random.normal(size=(*shape, 1)),
            random.normal(size=(*shape, positions)),
        )
        return np.sqrt(0.3) * parts[0] + np.sqrt(0.3) * parts[1] + np.sqrt(0.4) * parts[2]

    shared = field()
    maps = (np.sqrt(rho) * shared + np.sqrt(1 - rho) * field() for _ in range(2))
    return [one.reshape(pairs, groups * each, positions) for one in maps]


def covered(ends, rho):
    return np.mean((ends[0] <= rho) & (rho <= ends[1]))


@pytest.mark.parametrize(("rho", "images", "spread"), [(0.0, 150, 0.0), (0.3, 60, 0.5), (0.7, 150, 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(rho, images, spread):
    random = np.random.default_rng(11)
    counts = []
    for seed in range(6):  # pairs of a run share their samples, so several draws of these make a fair count
        a, b = alike(random, rho, 200, images)
        energy = np.exp(spread * random.normal(size=(200, images, 1)))
        counts.append(covered(intervals([sums_of(energy * a, energy * b)], 400, seed)[0], rho))
    assert 0.93 <= np.mean(counts) <= 0.97


def test_where_images_of_a_class_are_alike_classes_hold_the_truth_and_images_do_not():
    random = np.random.default_rng(12)
    codes = np.repeat(np.arange(60), 8)
    sums = [sums_of(*alike(random, 0.5, 150, 60, 8)) for _ in range(4)]
    by_class = [covered(intervals([one.by_class(codes)], 400, seed)[0], 0.5) for seed, one in enumerate(sums)]
    by_image = [covered(intervals([one], 400, seed)[0], 0.5) for seed, one in enumerate(sums)]
    assert 0.93 <= np.mean(by_class) <= 0.97
    assert np.mean(by_image) < 0.85


def test_samples_are_the_correlations_of_the_images_drawn():
    random = np.random.default_rng(13)
    a, b = alike(random, 0.5, 3, 30)
    drawn = random.integers(30, size=(5, 30))
    counts = np.stack([np.bincount(one, minlength=30) for one in drawn]).astype(np.float32)
    expected = [[np.corrcoef(a[pair, one].ravel(), b[pair, one].ravel())[0, 1] for one in drawn] for pair in range(3)]
    np.testing.assert_allclose(sums_of(a, b).samples(counts), expected, atol=1e-5)


def test_sums_of_classes_are_those_of_their_images():
    random = np.random.default_rng(14)
    codes = np.array([3, -1, 0, 3, 0, -1, 3])
    sums = sums_of(*alike(random, 0.5, 2, 7))
    joined = sums.by_class(codes)
    np.testing.assert_array_equal(joined.images, [2, 3, 1, 1])
    groups = [[2, 4], [0, 3, 6], [1], [5]]
    np.testing.assert_allclose(joined.cross, np.stack([sums.cross[:, one].sum(axis=1) for one in groups], 1), rtol=1e-6)
    np.testing.assert_allclose(joined.a, np.stack([sums.a[..., one].sum(axis=2) for one in groups], 2), rtol=1e-6)
    np.testing.assert_allclose(joined.pearson(), sums.pearson(), rtol=1e-6)


def test_a_unit_that_lives_in_one_image_has_an_interval_that_reaches_nothing():
    random = np.random.default_rng(15)
    a, b = random.normal(size=(2, 1, 100, 9))
    a[:] = -0.1
    a[0, 40] = b[0, 40] = 9.9
    sums = sums_of(a, b)
    low, _ = intervals([sums], 1000, 0)[0]
    assert sums.influence()[0] == pytest.approx(sums.pearson()[0], abs=1e-6)
    assert low[0] <= 0


def test_pairs_have_the_same_interval_in_whatever_company():
    random = np.random.default_rng(16)
    one, other = (sums_of(*alike(random, 0.4, 20, 60)) for _ in range(2))
    for alone, together in zip(intervals([other], 300, 5), intervals([one, other], 300, 5)[1:], strict=True):
        np.testing.assert_array_equal(alone, together)
    assert (np.array(intervals([other], 300, 6)) != np.array(intervals([other], 300, 5))).all()
