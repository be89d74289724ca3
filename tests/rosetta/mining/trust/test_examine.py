"""What maps say of matches, against slow float64 readings of the definitions, and on planted confounds."""

import numpy as np
import pytest
import torch
from examined import examined as oracle

from rosetta.mining.trust.bootstrap import intervals
from rosetta.mining.trust.examine import Cell, CellSide, CellSums, Classes

GRIDS = [((5, 5), (5, 5)), ((3, 4), (9, 12)), ((8, 8), (4, 4)), ((7, 3), (4, 9)), ((1, 1), (6, 6)), ((4, 4), (1, 6))]
IMAGES = 40


def examined(a, b, pairs, codes=None, step=16):
    """What the code says of maps (image, channel, y, x), `step` images at a time."""
    sides = [side_of(maps) for maps in (a, b)]
    classes = None if codes is None else Classes.of(codes)
    sums = CellSums(Cell(*sides, *np.array(pairs).T), len(a), classes)
    for start in range(0, len(a), step):
        sums.add(*(torch.from_numpy(maps[start : start + step]) for maps in (a, b)))
    return sums.examined()


def side_of(maps):
    flat = maps.astype(np.float64).transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
    std = np.where(np.ptp(flat, axis=1) == 0, 0, flat.std(axis=1))
    caps = np.quantile(flat, 0.999, axis=1).astype(np.float32)
    return CellSide(maps.shape[2:], np.arange(len(flat)), flat.mean(axis=1).astype(np.float32), std, caps)


def related(random, grids, units=4, images=IMAGES):
    """Maps of two layers, (image, unit, y, x) each, that share a field, with offsets and scales of their own."""
    field = random.gamma(1.0, size=(images * units, 12, 12))
    maps = []
    for grid in grids:
        own = random.normal(size=(images * units, *grid))
        seen = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(field)[:, None], grid)[:, 0].numpy()
        values = (3 * seen + own).reshape(images, units, *grid)
        maps.append(5 * random.normal(size=(units, 1, 1)) + values * random.uniform(0.1, 9, (units, 1, 1)))
    return [one.astype(np.float32) for one in maps]


@pytest.mark.parametrize("grids", GRIDS)
def test_every_number_is_that_of_its_formula(grids):
    random = np.random.default_rng(len(str(grids)))
    a, b = related(random, grids)
    codes = random.integers(-1, 5, size=IMAGES)
    pairs = [(0, 0), (1, 1), (2, 3), (3, 3), (0, 2)]
    found = examined(a, b, pairs, codes)
    expected = np.array([oracle(a[:, i], b[:, j], codes) for i, j in pairs]).T
    values = found.sums.pearson(), found.sums.influence(), found.few_positions, found.robust, found.within
    for name, value, right in zip(("r", "influence", "few", "robust", "within"), values, expected, strict=True):
        np.testing.assert_allclose(value, right, atol=1e-5, rtol=1e-5, err_msg=name)


def test_how_many_images_pass_by_at_a_time_does_not_matter():
    random = np.random.default_rng(1)
    a, b = related(random, ((6, 6), (9, 5)))
    codes = random.integers(0, 4, size=IMAGES)
    first, *others = (examined(a, b, [(0, 0), (1, 1), (2, 2)], codes, step) for step in (IMAGES, 16, 7))
    for other in others:
        for name in ("few_positions", "robust", "within"):
            np.testing.assert_allclose(getattr(other, name), getattr(first, name), rtol=1e-5)
        np.testing.assert_allclose(other.sums.cross, first.sums.cross, rtol=1e-4, atol=1e-4)


def test_a_dead_unit_has_no_numbers():
    random = np.random.default_rng(2)
    a, b = related(random, ((4, 4), (4, 4)))
    a[:, 1] = 2.5
    found = examined(a, b, [(1, 0), (0, 0)], np.zeros(IMAGES, int))
    numbers = np.stack([found.few_positions, found.robust, found.within, found.sums.pearson()])
    assert np.isnan(numbers[:, 0]).all()
    assert np.isfinite(numbers[:, 1]).all()
    low, high = intervals([found.sums], 100, 0)[0]
    assert np.isnan(low[0])
    assert low[1] < found.sums.pearson()[1] < high[1]


def noisy(random, *grids, images=200):
    return [random.normal(size=(images, 1, *grid)).astype(np.float32) for grid in grids]


def test_a_pair_that_rests_on_three_positions_is_named():
    random = np.random.default_rng(3)
    a, b = noisy(random, (8, 8), (16, 16))
    for image in (20, 90, 150):
        a[image, 0, 3, 5] = 300
        b[image, 0, 6:8, 10:12] = 300
    found = examined(a, b, [(0, 0)])
    assert found.sums.pearson()[0] > 0.6
    assert found.few_positions[0] > 0.95
    assert abs(found.robust[0]) < 0.1


def test_a_pair_made_by_one_image_is_named():
    random = np.random.default_rng(4)
    a, b = noisy(random, (8, 8), (6, 6))
    a[77] += 12
    b[77] += 12
    found = examined(a, b, [(0, 0)])
    assert found.sums.pearson()[0] > 0.3
    assert found.sums.influence()[0] > 0.3
    low, high = intervals([found.sums], 1000, 0)[0]
    assert low[0] < 0.05
    assert high[0] > 0.3


def test_a_pair_of_class_means_is_named():
    random = np.random.default_rng(5)
    a, b = noisy(random, (8, 8), (6, 6))
    codes = random.integers(0, 10, size=200)
    level = random.normal(size=10)[codes][:, None, None, None].astype(np.float32)
    found = examined(a + 2 * level, b + 2 * level, [(0, 0)], codes)
    assert found.sums.pearson()[0] > 0.5
    assert abs(found.within[0]) < 0.05
    assert found.robust[0] > 0.5


def test_a_pair_within_one_class_only_hangs_on_that_class():
    random = np.random.default_rng(6)
    a, b = noisy(random, (8, 8), (8, 8), images=400)
    codes = np.repeat(np.arange(10), 40)
    shared = 4 * random.normal(size=(40, 1, 8, 8)).astype(np.float32)
    a[codes == 3] += shared
    b[codes == 3] += shared
    found = examined(a, b, [(0, 0)], codes)
    assert found.sums.pearson()[0] > 0.5
    by_class = found.sums.by_class(codes)
    assert by_class.influence()[0] > 0.5
    assert intervals([by_class], 1000, 0)[0][0][0] < 0.05, "samples without the class have no correlation"
    assert intervals([found.sums], 1000, 0)[0][0][0] > 0.3


@pytest.mark.parametrize("signal", [0.3, 0.55, 0.8])
def test_honest_pairs_stay_as_they_are(signal):
    random = np.random.default_rng(7)
    shared, *own = (random.normal(size=(200, 5, 12, 12)) for _ in range(3))
    codes = random.integers(0, 8, size=200)
    maps = [(signal**0.5 * shared + (1 - signal) ** 0.5 * one).astype(np.float32) for one in own]
    found = examined(*maps, [(unit, unit) for unit in range(5)], codes)
    pearson = found.sums.pearson()
    np.testing.assert_allclose(pearson, signal, atol=0.03)
    np.testing.assert_allclose(found.robust, pearson, atol=0.02)
    np.testing.assert_allclose(found.within, pearson, atol=0.02)
    assert (found.few_positions < 0.06).all()
    assert (found.sums.influence() < 0.01).all()


def test_classes_are_the_largest_of_at_least_two_images(monkeypatch):
    codes = np.array([4, 2, 2, -1, 0, 0, 0, 4, 7])
    np.testing.assert_array_equal(Classes.of(codes).of_images, [2, 1, 1, -1, 0, 0, 0, 2, -1])
    np.testing.assert_array_equal(Classes.of(codes).images, [3, 2, 2])
    monkeypatch.setattr("rosetta.mining.trust.examine.MOST_CLASSES", 2)
    np.testing.assert_array_equal(Classes.of(codes).of_images, [-1, 1, 1, -1, 0, 0, 0, -1, -1])
    assert Classes.of(np.arange(5)) is None
    assert Classes.of(np.full(5, -1)) is None
