"""Starts, and how the bad ones are left early."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import load

from rosetta.guidance.invert import Guide, invert
from rosetta.guidance.latent import space_of
from rosetta.guidance.objective import pixel_error
from rosetta.guidance.optimise import Descent
from rosetta.guidance.starts import Starts, early_steps, mined_count, rounds

IMAGES = 3


@pytest.fixture(scope="module")
def painter():
    """A generator with the space z."""
    return load("Painter")


def known(model, seed=4):
    """(image, z) latents, and the images that they make."""
    latents = torch.from_numpy(model.draw_latents(range(IMAGES), seed))
    return latents, model.generate(latents)[0].clone()


@given(left=st.integers(1, 40), more=st.integers(0, 60), steps=st.integers(1, 20))
def test_halving_leaves_as_many_as_are_searched(left, more, steps):
    counts = [left + more, *rounds(left + more, left)]
    assert counts[-1] == left
    assert all(left <= b < a and b >= a / 2 for a, b in itertools.pairwise(counts))
    assert len(counts) - 1 <= math.ceil(math.log2((left + more) / left)) + 1
    assert early_steps(left + more, left, steps) == steps * sum(counts[:-1])


def test_the_budget_of_powers_of_two():
    assert early_steps(16, 1, 10) == 2 * 15 * 10
    assert early_steps(16, 4, 10) == 2 * 12 * 10
    assert early_steps(4, 4, 10) == 0


@pytest.mark.parametrize("name", ["Painter", "Styled"])
def test_left_as_it_was_a_search_starts_where_it_did(name):
    space = space_of(load(name), "w" if name == "Styled" else "z")
    _, images = known(space.model)
    objective = Guide(pixel_error(images)).objective(space)
    told = []
    found = Starts(range(IMAGES), 5, 2).chosen(space, objective, 0.1, told.append)
    assert torch.equal(found, space.start(Starts(range(IMAGES), 5, 2).latents(space.model)))
    assert not told


def test_of_several_starts_the_one_that_makes_the_image_is_carried_on(painter):
    latents, images = known(painter)
    space = space_of(painter)
    mined = torch.cat([torch.randn(6, IMAGES, 4, generator=torch.Generator().manual_seed(0)) * 3, latents[None]])
    starts = Starts(range(IMAGES), 0, 1, "nearest", 7, 2, mined)
    told = []
    objective = Guide(pixel_error(images), alpha=0.0).objective(space)
    found = starts.chosen(space, objective, 1e-3, told.append)
    assert torch.allclose(found, latents, atol=0.02)
    assert len(told) == early_steps(7, 1, 2)


def test_each_image_keeps_its_own_best(painter):
    latents, images = known(painter)
    away = torch.full((IMAGES, 4), 3.0)
    # Image n is made by start n, and by no other.
    mined = torch.stack([torch.where(torch.arange(IMAGES)[:, None] == n, latents, away) for n in range(IMAGES)])
    starts = Starts(range(IMAGES), 0, 1, "nearest", IMAGES, 1, mined)
    objective = Guide(pixel_error(images), alpha=0.0).objective(space_of(painter))
    found = starts.chosen(space_of(painter), objective, 1e-3, lambda losses: None)
    assert torch.allclose(found, latents, atol=0.02)


def test_a_start_that_left_the_numbers_is_the_worst(painter):
    latents, images = known(painter)
    mined = torch.stack([torch.full_like(latents, torch.nan), latents])
    starts = Starts(range(IMAGES), 0, 1, "nearest", 2, 1, mined)
    objective = Guide(pixel_error(images)).objective(space_of(painter))
    assert starts.chosen(space_of(painter), objective, 1e-3, lambda losses: None).isfinite().all()


@pytest.mark.parametrize(("name", "where"), [("Painter", "z"), ("Styled", "w"), ("Styled", "w+")])
def test_mixed_starts_are_the_middle_then_mined_images_then_random_ones(name, where):
    space = space_of(load(name), where)
    mined = torch.from_numpy(space.model.draw_latents(range(4 * IMAGES), 9)).view(4, IMAGES, -1)
    assert mined_count("mixed", 8) == 4
    found = Starts(range(IMAGES), 5, 1, "mixed", 8, 10, mined).candidates(space)
    middle, rest = found[:1], found[1:]
    assert (space.offsets(middle.flatten(0, 1)) == 0).all()
    assert torch.equal(rest[:4], space.start(mined.flatten(0, 1)).view_as(rest[:4]))
    random = Starts(range(IMAGES), 5, 3).latents(space.model)
    assert torch.equal(rest[4:], space.start(random).view_as(rest[4:]))
    assert torch.equal(Starts(range(IMAGES), kind="mean").candidates(space), middle)


def test_a_search_from_chosen_starts_ends_with_one_row_an_image(painter):
    _, images = known(painter)
    starts = Starts(range(IMAGES), 0, 2, "random", 5, 3)
    way = invert(space_of(painter), Guide(pixel_error(images)), starts, Descent(5, 0.1))
    assert way.latents.shape == (IMAGES, 4)
    assert way.losses.shape[1] == 6
