"""How selective units are for classes, against counting all pairs of images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosetta.mining.classes import LEAST, confusion, selectivity


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-1, 3), min_size=4, max_size=30),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 5, 1000]),
)
def test_auroc_counts_pairs_of_images(classes, seed, levels):
    classes = np.array(classes)
    values = np.random.default_rng(seed).integers(levels, size=(3, len(classes))).astype(np.float32)
    found = selectivity(values, classes)
    enough = [number for number in range(4) if LEAST <= (classes == number).sum() <= len(classes) - LEAST]
    assert found.classes.tolist() == enough
    for column, number in enumerate(enough):
        inside, others = values[:, classes == number], values[:, classes != number]
        above = (inside[:, :, None] > others[:, None]).mean((1, 2))
        alike = (inside[:, :, None] == others[:, None]).mean((1, 2))
        assert found.auroc[:, column] == pytest.approx(above + alike / 2, abs=1e-12)
        assert found.mean[:, column] == pytest.approx(inside.mean(axis=1), rel=1e-6)


def test_deviations_are_those_of_exchanged_values():
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1], [12, 28])
    values = random.integers(6, size=40).astype(np.float32)  # with many ties
    exchanged = np.stack([random.permutation(values) for _ in range(4000)])
    found = selectivity(exchanged, classes)
    assert found.deviation[:, 0].std() == pytest.approx(1.0, abs=0.03)
    assert found.deviation[:, 0].mean() == pytest.approx(0.0, abs=0.05)
    assert selectivity(np.ones((1, 40), np.float32), classes).deviation.tolist() == [[0.0, 0.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000]))
def test_confusion_counts_pairs_of_images_of_two_classes(seed, levels):
    random = np.random.default_rng(seed)
    classes = random.permutation(np.repeat([-1, 0, 1, 3], [5, 4, 3, 6]))
    values = random.integers(levels, size=(3, len(classes))).astype(np.float32)
    among = np.array([0, 1, 3])
    of = random.choice(among, (3, 2))
    found, chance = confusion(values, classes, of, among)
    for unit, rank in np.ndindex(*of.shape):
        own = values[unit, classes == of[unit, rank]]
        above = {}
        for other in set(among.tolist()) - {int(of[unit, rank])}:
            pairs = values[unit, classes == other][:, None] - own
            above[other] = (pairs > 0).mean() + (pairs == 0).mean() / 2
        assert chance[unit, rank] == pytest.approx(max(above.values()), abs=1e-12)
        assert above[int(found[unit, rank])] == pytest.approx(chance[unit, rank], abs=1e-12)


def test_one_class_is_confused_with_none():
    found, chance = confusion(np.ones((2, 3), np.float32), np.array([0, 0, -1]), np.zeros((2, 1), int), np.array([0]))
    assert (found == -1).all()
    assert np.isnan(chance).all()
