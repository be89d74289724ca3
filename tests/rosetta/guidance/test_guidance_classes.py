"""Searches for images of conditional generators: each row is told its image's class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import load

from rosetta import zoo
from rosetta.guidance.invert import Guide, invert
from rosetta.guidance.latent import Rendering, space_of
from rosetta.guidance.objective import edit_objective, pixel_error, prior
from rosetta.guidance.optimise import Descent, optimise
from rosetta.guidance.starts import Starts
from rosetta.model_spec import Condition, ModelSpec

SPACES = [("Labelled", "z"), ("LabelledStyled", "z"), ("LabelledStyled", "w"), ("LabelledStyled", "w+")]
MODELS = {name: load(name) for name in ("Labelled", "LabelledStyled", "Painter", "Styled")}
CLASSES = torch.tensor([2, 0, 2, 1])


def made(model, classes, seed=7):
    """Images of these classes from latents of their own; not clamped, so that they can be reached exactly."""
    with torch.no_grad():
        return model.synthesise(torch.from_numpy(model.draw_latents(range(len(classes)), seed)), classes)[0]


def mean_style(model, index):
    """(style, w) the mean style of a class, by hand."""
    draws = torch.from_numpy(model.draw_latents(range(4096), 0))
    return model.module.mapping(draws, torch.full((4096,), index)).mean(0)


@pytest.mark.parametrize("name", ["Labelled", "LabelledStyled"])
def test_the_right_class_recovers_an_image_and_the_wrong_one_does_not(name):
    model = MODELS[name]
    images = made(model, CLASSES)
    found = {}
    for wrong in (0, 1):
        space = space_of(model, classes=(CLASSES + wrong) % 3)
        starts, descent = Starts(range(4), restarts=6), Descent(150, 0.1)
        way = invert(space, Guide(pixel_error(images), alpha=0.0), starts, descent)
        found[wrong] = way.losses[:, -1, 0]
        again, _ = model.generate(way.latents, space.classes)
        torch.testing.assert_close(again, way.frames[:, -1], atol=1e-5, rtol=0)
    assert found[0].max() < 1e-4
    assert found[1].min() > 10 * found[0].max()


@pytest.mark.parametrize(("name", "where"), SPACES)
def test_a_batch_of_several_classes_ends_where_its_images_end_by_themselves(name, where):
    model = MODELS[name]
    images, descent = made(model, CLASSES), Descent(20, 0.05)
    whole = invert(
        space_of(model, where, CLASSES), Guide(pixel_error(images), alpha=0.1), Starts(range(4), restarts=2), descent
    )
    for image in range(4):
        one = slice(image, image + 1)
        alone = invert(
            space_of(model, where, CLASSES[one]),
            Guide(pixel_error(images[one]), alpha=0.1),
            Starts(range(image, image + 1), restarts=2),
            descent,
        )
        torch.testing.assert_close(alone.start[0], whole.start[image], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone.latents[0], whole.latents[image], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone.losses[0], whole.losses[image], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "where"), SPACES)
def test_an_edit_of_several_classes_ends_where_its_images_end_by_themselves(name, where):
    model = MODELS[name]
    layer = model.units.layers[0].name

    def edited(rows):
        space = space_of(model, where, CLASSES[rows])
        start = space.start(torch.from_numpy(model.draw_latents(range(4), 9))[rows])
        objective = edit_objective(space, start, lambda maps: maps[layer].flatten(1).mean(1), None)
        return optimise(objective, start, Descent(20, 0.05))

    whole = edited(slice(None))
    for image in range(4):
        alone = edited(slice(image, image + 1))
        torch.testing.assert_close(alone.latents[0], whole.latents[image], atol=1e-4, rtol=0)
    assert (whole.losses[:, -1, 0] > whole.losses[:, 0, 0]).all()


@settings(max_examples=20)
@given(
    classes=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    restarts=st.integers(1, 3),
    space=st.sampled_from(SPACES),
)
def test_restarts_repeat_the_classes(classes, restarts, space):
    model = MODELS[space[0]]
    where = space_of(model, space[1], torch.tensor(classes))
    z = Starts(range(len(classes)), 3, restarts).latents(model)
    start = where.start(z)
    rendering = where.render(start)
    offsets = where.offsets(start)
    assert offsets.shape == start.shape
    for row in range(len(z)):
        index = torch.tensor([classes[row % len(classes)]])
        alone, _ = model.synthesise(z[row : row + 1], index)
        torch.testing.assert_close(rendering.images[row], alone[0], atol=1e-4, rtol=0)
        here = space_of(model, space[1], index).offsets(start[row : row + 1])[0]
        torch.testing.assert_close(offsets[row], here, atol=1e-6, rtol=0)


def test_the_middle_of_w_is_the_mean_style_of_each_images_class():
    model = MODELS["LabelledStyled"]
    means = torch.stack([mean_style(model, index) for index in CLASSES.tolist()])
    assert (means[0] - means[1]).abs().max() > 0.1
    wide, one = space_of(model, "w+", CLASSES), space_of(model, "w", CLASSES)
    torch.testing.assert_close(wide.centre, means, atol=1e-6, rtol=0)
    torch.testing.assert_close(one.centre, means[:, 0], atol=1e-6, rtol=0)
    assert (one.styles, wide.styles) == (3, 3)
    for space in (one, wide):
        middles = torch.cat([space.centre, space.centre + 2])
        reg = prior(space)(Rendering(middles, torch.empty(0), {}))
        torch.testing.assert_close(reg, torch.tensor([0.0] * 4 + [4.0] * 4), atol=1e-5, rtol=0)


def test_the_middle_of_z_is_zero_whatever_latents_are_drawn_from():
    for name in MODELS:
        model = MODELS[name]
        space = space_of(model, "z", None if model.classes is None else CLASSES)
        assert space.centre == 0
        z = torch.from_numpy(model.draw_latents(range(8), 1))
        assert torch.equal(space.offsets(z), z)


def test_bounded_latents_begin_within_their_bound():
    spec = ModelSpec(
        name="bounded", model="python:tiny:Labelled", weights="random:0", condition=Condition(bound=0.5, classes=(1,))
    )
    model = zoo.load(spec)
    z = Starts(range(50), restarts=2).latents(model)
    assert z.abs().max() < 0.5
    assert model.draw_classes(range(3), 0).tolist() == [1, 1, 1]


def test_named_classes_come_in_turn_whichever_images_are_drawn():
    condition = Condition(classes=(2, 0, 1))
    model = zoo.load(ModelSpec(name="turns", model="python:tiny:Labelled", weights="random:0", condition=condition))
    assert model.draw_classes(range(5), 0).tolist() == [2, 0, 1, 2, 0]
    assert model.draw_classes(range(1_000_001, 1_000_004), 0).tolist() == [1, 2, 0]
    assert model.draw_classes(np.array([4, 0]), 0).tolist() == [0, 2]


@pytest.mark.parametrize("where", ["z", "w", "w+"])
def test_a_generator_without_classes_is_searched_as_before(where):
    model = MODELS["Styled"]
    space = space_of(model, where)
    draws = torch.from_numpy(model.draw_latents(range(4096), 0))
    mean = model.module.mapping(draws).mean(0)
    assert torch.equal(space.centre, {"z": torch.zeros(()), "w": mean[0], "w+": mean}[where])
    start = space.start(torch.from_numpy(model.draw_latents(range(6), 1)))
    rendering = space.render(start)
    expected = (start - space.centre).square().flatten(1).mean(1)
    assert torch.equal(prior(space)(rendering), expected)


def test_classes_must_fit():
    conditional, other = MODELS["Labelled"], MODELS["Painter"]
    with pytest.raises(ValueError, match="'labelled' takes classes"):
        space_of(conditional)
    with pytest.raises(ValueError, match="'painter' takes no classes"):
        space_of(other, classes=CLASSES)
    space = space_of(conditional, classes=CLASSES)
    with pytest.raises(ValueError, match="6 rows are no whole repeats of the 4 images"):
        space.render(torch.zeros(6, 4))


def test_of_real_restarts_the_best_is_kept():
    model = MODELS["LabelledStyled"]
    images = made(model, CLASSES)
    space, guide = space_of(model, "w", CLASSES), Guide(pixel_error(images))
    starts, descent = Starts(range(4), restarts=3), Descent(15, 0.1)
    every = optimise(guide.objective(space), space.start(starts.latents(model)), descent)
    best = invert(space, guide, starts, descent)
    assert torch.equal(best.objective, every.objective.view(3, 4).amin(0))
    assert not np.allclose(best.objective, every.objective[:4])
