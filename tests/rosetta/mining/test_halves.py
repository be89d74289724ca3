"""Halves of the images: balanced in all and per class, whatever their order, and what is of one class is in both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.halves import drawn_halves, run_halves

CLASSES, EACH, POSITIONS = 20, 20, 9
COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**31)


def labelled(counts: list[int]) -> tuple[list[str], np.ndarray]:
    """Names and classes of images, sorted by class."""
    classes = np.repeat(np.arange(len(counts)), counts)
    return [f"{label}/{image}.png" for image, label in enumerate(classes)], classes


@given(COUNTS, SEEDS)
def test_halves_are_balanced_in_all_and_within_each_class(counts, seed):
    names, classes = labelled(counts)
    first = drawn_halves(names, seed, classes)
    assert int(first.sum()) - int((~first).sum()) == len(names) % 2
    for label in range(len(counts)):
        of_class = first[classes == label]
        assert abs(int(of_class.sum()) - int((~of_class).sum())) <= 2


@given(COUNTS, SEEDS, st.randoms(use_true_random=False), st.booleans())
def test_the_draw_does_not_depend_on_the_order_of_images(counts, seed, random, is_text):
    names, numbers = labelled(counts)
    classes = [f"class {number}" for number in numbers] if is_text else numbers
    first = drawn_halves(names, seed, classes)
    order = list(range(len(names)))
    random.shuffle(order)
    shuffled = [classes[image] for image in order] if is_text else numbers[order]
    np.testing.assert_array_equal(drawn_halves([names[image] for image in order], seed, shuffled), first[order])


def test_the_draw_is_the_same_for_ever_and_seeds_differ():
    names = [str(image) for image in range(16)]
    assert "".join("21"[int(one)] for one in drawn_halves(names, 0, None)) == "1221222122121111"
    assert len({drawn_halves(names, seed, None).tobytes() for seed in range(20)}) > 15


def test_neighbours_by_name_are_drawn_apart():
    """Of many pairs of neighbours about half stand in different halves."""
    first = drawn_halves(map(str, range(4000)), 1, None)
    assert abs((first[::2] != first[1::2]).mean() - 0.5) < 0.05


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(unit, image, position) of two models: unit k of either follows one and the same pattern in images of class k."""
    random = np.random.default_rng(seed)
    of_class = np.arange(CLASSES * EACH) // EACH == np.arange(CLASSES)[:, None]
    shared = random.normal(size=(CLASSES, CLASSES * EACH, POSITIONS)) * 3 * of_class[:, :, None]
    return tuple(shared + random.normal(size=shared.shape) for _ in "ab")


def replicating(first: np.ndarray, seed: int) -> int:
    """Units of A with their twin in B as the mutual nearest neighbour in both halves, clearly so."""
    both = np.ones(CLASSES, dtype=bool)
    for half in (first, ~first):
        a, b = (values[:, half].reshape(CLASSES, -1) for values in maps(seed))
        pearson = np.corrcoef(a, b)[:CLASSES, CLASSES:]
        twin = np.arange(CLASSES)
        both &= (pearson.argmax(0) == twin) & (pearson.argmax(1) == twin) & (pearson.diagonal() > 0.15)
    return int(both.sum())


@pytest.mark.parametrize("has_classes", [True, False])
def test_what_is_of_one_class_replicates_in_a_sorted_listing(has_classes):
    names, classes = labelled([EACH] * CLASSES)
    drawn = [drawn_halves(names, seed, classes if has_classes else None) for seed in range(3)]
    assert min(replicating(first, seed) for seed, first in enumerate(drawn)) >= 0.9 * CLASSES
    assert replicating(run_halves(len(names)), 0) <= CLASSES // 4, "runs hold whole classes"


@given(st.integers(2, 5000))
def test_halves_of_earlier_stores_take_turns_along_the_images(images):
    """At least four runs of neighbours, all of one length but the last, a power of two."""
    first = run_halves(images)
    runs = np.diff(np.flatnonzero(np.diff(first, prepend=~first[0], append=~first[-1])))
    assert images < 4 or 4 <= len(runs) <= 8
    assert set(runs[:-1]) <= {runs[0]}
    assert runs[0] & (runs[0] - 1) == 0
    assert runs[-1] <= runs[0]
