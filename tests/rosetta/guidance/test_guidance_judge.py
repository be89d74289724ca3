"""What judges say of edits whose outcome is known."""

import numpy as np
import pytest
import torch
from tiny import maps_of, statistics

from rosetta.guidance.edited_maps import edited_maps
from rosetta.guidance.edits import Add, Box, Join, Paste, Remove, Shift
from rosetta.guidance.judge import judge

LAYERS = [(3, (6, 8)), (2, (4, 4)), (1, (1, 1))]
CLUSTERS = {0: np.array([0, 3]), 1: np.array([1, 5])}
LEFT, RIGHT = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)


class Scene:
    """Three images, what edits ask of them, and another image for each."""

    def __init__(self, *edits, layers=LAYERS, clusters=CLUSTERS):
        random = np.random.default_rng(0)
        self.held = statistics(layers, random)
        self.before, self.unrelated = maps_of(self.held, 3, random), maps_of(self.held, 3, random)
        self.edits = edits
        self.edited = edited_maps(self.held, clusters, self.before, edits, {"that": maps_of(self.held, 1, random)})

    def asked(self):
        """The maps just as they are asked for."""
        after = {name: maps.clone() for name, maps in self.before.items()}
        for name, (units, wished) in self.edited.layers.items():
            start = next(span.start for layer, span in self.held.units.spans() if layer.name == name)
            after[name][:, units - start] = wished.maps
        return after

    def judged(self, after):
        return judge(self.edited, self.edits, self.before, after, self.unrelated)


def pearson(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


MOVES = [(Shift(0.25, 0),), (Paste(LEFT, 0.5, 0),), (Join("that", "x", 0.5),), (Shift(0.25, 0.5), Remove(0, RIGHT))]
SETS = [(Remove(0, LEFT),), (Add(1, Box(0, 0, 0.5, 0.5)),), (Remove(0, LEFT), Add(1, RIGHT))]


@pytest.mark.parametrize("edits", MOVES + SETS)
def test_a_perfect_edit_works(edits):
    scene = Scene(*edits)
    found = scene.judged(scene.asked())
    np.testing.assert_allclose(found.asked_after, 1, atol=1e-9)
    assert (found.asked_before < 0.99).all()
    assert found.worked.tolist() == [True] * 3


@pytest.mark.parametrize("edits", MOVES + SETS)
def test_an_unchanged_image_does_not_count_as_worked(edits):
    scene = Scene(*edits)
    found = scene.judged(scene.before)
    np.testing.assert_array_equal(found.asked_after, found.asked_before)
    np.testing.assert_array_equal(found.level_after, found.level_before)
    assert found.worked.tolist() == [False] * 3


@pytest.mark.parametrize("edits", MOVES)
def test_a_worse_image_does_not_count_as_worked(edits):
    scene = Scene(*edits)
    worse = {name: -maps for name, maps in scene.asked().items()}
    assert not scene.judged(worse).worked.any()


def test_levels_rise_with_what_is_removed_or_added():
    for edit in (Remove(0, LEFT), Add(0, LEFT)):
        scene = Scene(edit)
        found = scene.judged(scene.asked())
        assert (found.level_after > found.level_before).all()
        # Removed: 1 standard deviation below the mean; added: 2 above, as the statistics have it.
        np.testing.assert_allclose(found.level_after, 1 if isinstance(edit, Remove) else 2, atol=1e-9)
        values = []
        for layer, unit in (("l0", 0), ("l1", 3)):
            maps = scene.before[layer][:, 0, :, : 4 if layer == "l0" else 2].mean((1, 2))
            values.append((maps.numpy() - scene.held.mean[unit]) / scene.held.std[unit])
        sign = -1 if isinstance(edit, Remove) else 1
        np.testing.assert_allclose(found.level_before, sign * np.mean(values, axis=0), atol=1e-9)


def test_levels_decide_where_there_are_levels():
    scene = Scene(Remove(0, LEFT))
    after = {name: maps.clone() for name, maps in scene.before.items()}
    after["l0"][:, 0, :, :4] -= 5
    found = scene.judged(after)
    assert found.worked.all()
    after["l0"][:, 0, :, :4] += 10
    after["l1"][:, 0, :, :2] += 5
    assert not scene.judged(after).worked.any()


@pytest.mark.parametrize(
    "edits", [(Remove(0, LEFT), Shift(0.25, 0)), (Shift(0.25, 0), Add(0, LEFT)), (Shift(0.25, 0),)]
)
def test_boxes_that_are_moved_have_no_levels(edits):
    scene = Scene(*edits)
    found = scene.judged(scene.asked())
    assert np.isnan(found.level_before).all()
    assert np.isnan(found.level_after).all()
    assert found.worked.all()


def test_correlations_by_hand():
    scene = Scene(Remove(0, LEFT))
    after = maps_of(scene.held, 3, np.random.default_rng(7))
    found = scene.judged(after)
    for image in range(3):
        before, now, kept, between = [], [], [], []
        for layer, channel, half in (("l0", 0, 4), ("l1", 0, 2)):
            units, asked = scene.edited.layers[layer]
            row = units.tolist().index({"l0": 0, "l1": 3}[layer])
            wish = asked.maps[image, row].numpy()
            was, seen, else_ = (maps[layer][image, channel].numpy() for maps in (scene.before, after, scene.unrelated))
            before.append(pearson(was, wish))
            now.append(pearson(seen, wish))
            kept.append(pearson(was[:, half:], seen[:, half:]))
            between.append(pearson(was[:, half:], else_[:, half:]))
        # Units of cluster 1 are not touched at all; that of one position has no correlation.
        kept.append(pearson(scene.before["l0"][image, 1], after["l0"][image, 1]))
        between.append(pearson(scene.before["l0"][image, 1], scene.unrelated["l0"][image, 1]))
        assert found.asked_before[image] == pytest.approx(np.mean(before), abs=1e-9)
        assert found.asked_after[image] == pytest.approx(np.mean(now), abs=1e-9)
        assert found.outside[image] == pytest.approx(np.mean(kept), abs=1e-9)
        assert found.unrelated[image] == pytest.approx(np.mean(between), abs=1e-9)


def test_outside_is_one_where_nothing_changed_there():
    scene = Scene(Remove(0, LEFT), Add(1, LEFT))
    found = scene.judged(scene.asked())
    np.testing.assert_allclose(found.outside, 1, atol=1e-9)
    assert (np.abs(found.unrelated) < 0.9).all()


def test_a_shift_leaves_nothing_untouched():
    scene = Scene(Shift(0.25, 0))
    found = scene.judged(scene.asked())
    assert np.isnan(found.outside).all()
    assert np.isnan(found.unrelated).all()


def test_a_cluster_that_the_model_lacks_asks_nothing():
    scene = Scene(Remove(5, LEFT))
    found = scene.judged(scene.before)
    for name in ("asked_before", "asked_after", "level_before", "level_after"):
        values = getattr(found, name)
        assert values.shape == (3,)
        assert np.isnan(values).all()
    assert not found.worked.any()
    np.testing.assert_allclose(found.outside, 1, atol=1e-9)


def test_a_model_without_matched_units_sees_nothing():
    scene = Scene(Remove(0, LEFT), clusters={})
    found = scene.judged(scene.before)
    assert all(np.isnan(values).all() for values in vars(found).values())
    assert found.worked.tolist() == [False] * 3


def test_a_unit_that_shows_nothing_says_nothing():
    scene = Scene(Shift(0.25, 0))
    after = scene.asked()
    after["l0"][:, 0] = 0  # dead afterwards
    found = scene.judged(after)
    np.testing.assert_allclose(found.asked_after, 1, atol=1e-9)
    # Nor of before: means over different units would not compare.
    without = Scene(Shift(0.25, 0), clusters={0: np.array([3]), 1: np.array([1, 5])})
    np.testing.assert_allclose(found.asked_before, without.judged(after).asked_before, atol=1e-12)


def test_what_is_not_known_is_not_judged():
    scene = Scene(Shift(0.5, 0))
    after = scene.asked()
    for maps in after.values():
        maps[..., : maps.shape[-1] // 2] = 99
    np.testing.assert_allclose(scene.judged(after).asked_after, 1, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_constant_wish_has_no_correlation(seed):
    # Removed from the whole image: all that is asked for is one value everywhere.
    random = np.random.default_rng(seed)
    held = statistics([(20, (7, 7))], random)
    before, after = maps_of(held, 2, random), maps_of(held, 2, random)
    edits = (Remove(0),)
    edited = edited_maps(held, {0: np.arange(20)}, before, edits)
    found = judge(edited, edits, before, after, after)
    assert np.isnan(found.asked_before).all()
    assert np.isnan(found.asked_after).all()


def test_single_precision_maps_are_judged_alike():
    scene = Scene(Remove(0, LEFT), Add(1, RIGHT))
    after = maps_of(scene.held, 3, np.random.default_rng(7))
    double = scene.judged(after)
    single = [{name: maps.float() for name, maps in side.items()} for side in (scene.before, after, scene.unrelated)]
    edited = edited_maps(scene.held, CLUSTERS, single[0], scene.edits)
    found = judge(edited, scene.edits, *single)
    for name, values in vars(double).items():
        np.testing.assert_allclose(getattr(found, name), values, atol=1e-5, err_msg=name)
    assert torch.equal(single[1]["l0"], after["l0"].float())
