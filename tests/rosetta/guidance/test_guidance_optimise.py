"""The descent on latents of tiny generators."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import load, statistics

from rosetta.errors import UserError
from rosetta.guidance.activation import ActivationTarget, wished_target
from rosetta.guidance.invert import Guide, invert
from rosetta.guidance.latent import space_of
from rosetta.guidance.matches import Statistics
from rosetta.guidance.objective import Objective, Term, edit_objective, pixel_error, prior
from rosetta.guidance.optimise import Descent, Optimised, frame_steps, learning_rate, optimise
from rosetta.guidance.starts import Starts

GENERATOR = load("Painter")
SPACES = [("Painter", "z"), ("Styled", "z"), ("Styled", "w"), ("Styled", "w+")]


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("Painter", "Styled", "Eye")}


def wish(model, images, seed=0):
    """Ask all units of a generator for the maps of random latents; their images go with it."""
    latents = np.random.default_rng(seed).normal(size=(images, model.latent)).astype(np.float32)
    pixels, maps = model.generate(torch.from_numpy(latents))
    layers = [(layer.channels, layer.grid) for layer in model.units.layers]
    made = statistics(layers, np.random.default_rng(seed))
    held = Statistics(model.units, 0 * made.mean, made.std, made.peak)
    targets = [
        wished_target(held, layer.name, np.arange(span.start, span.stop), maps[layer.name])
        for layer, span in model.units.spans()
    ]
    return pixels, ActivationTarget(tuple(targets), len(model.units))


@pytest.mark.parametrize("steps", [40, 100, 300, 1000])
def test_the_schedule_rises_stays_and_falls(steps):
    rates = np.array([learning_rate(step, steps) for step in range(steps)])
    rise, fall = round(0.05 * steps), round(0.75 * steps)
    np.testing.assert_allclose(rates[:rise], np.arange(1, rise + 1) / rise, rtol=1e-12)
    np.testing.assert_allclose(rates[rise : fall + 1], 1, rtol=1e-12)
    assert (np.diff(rates[fall:]) < 0).all()
    assert rates.min() > 0
    assert rates[-1] < 0.02 or steps < 100
    # Half a cosine: half way down after half of the fall.
    assert learning_rate(fall + steps // 8, steps) == pytest.approx(
        0.5 - 0.5 * math.cos(math.pi * (1 - (fall + steps // 8) / steps) / 0.25)
    )
    assert learning_rate(steps, steps) == pytest.approx(0, abs=1e-12)


@given(steps=st.integers(1, 2000))
def test_the_schedule_is_never_negative_and_never_above_one(steps):
    rates = [learning_rate(step, steps) for step in range(steps + 1)]
    assert min(rates) >= 0
    assert max(rates) <= 1
    top = rates.index(max(rates))
    assert all(a <= b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates[top:]))


@given(steps=st.integers(0, 500), frames=st.integers(1, 40))
def test_frames_hold_the_first_and_the_last(steps, frames):
    kept = frame_steps(Descent(steps=steps, frames=frames))
    assert (kept[0], kept[-1]) == (0, steps)
    assert len(kept) == min(max(frames, 2), steps + 1)
    gaps = np.diff(kept)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 2)


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_an_inversion_lowers_its_objective(models, name, space):
    model = models[name]
    images, act = wish(model, 3)
    where = space_of(model, space)
    guide = Guide(pixel_error(images), act, alpha=0.001, beta=0.03)
    told = []
    way = invert(where, guide, Starts(range(3), seed=1), Descent(60, 0.1, 5), told.append)
    objective = guide.objective(where)
    with torch.no_grad():
        first, _, _ = objective(way.start)
        last, values, rendering = objective(way.latents)
    assert (last < first - 0.01).all()
    torch.testing.assert_close(way.objective, last, atol=1e-5, rtol=0)
    assert way.terms == ("rec", "reg", "act")
    assert way.losses.shape == (3, 61, 3)
    torch.testing.assert_close(way.losses[:, -1], torch.stack(list(values.values()), 1), atol=1e-5, rtol=0)
    weights = torch.tensor([1, 0.001, -0.03])
    torch.testing.assert_close((way.losses[:, 0] * weights).sum(1), first, atol=1e-5, rtol=0)
    assert way.frame_steps == (0, 15, 30, 45, 60)
    assert way.frames.shape == (3, 5, 3, *model.image_size)
    assert 0 <= way.frames.min() <= way.frames.max() <= 1
    torch.testing.assert_close(way.frames[:, -1], rendering.images.clamp(0, 1), atol=1e-5, rtol=0)
    assert not torch.equal(way.frames[:, 0], way.frames[:, -1])
    assert len(told) == 60
    assert told[7].keys() == {"rec", "reg", "act"}
    assert told[7]["act"] == pytest.approx(way.losses[:, 7, 2].mean().item(), abs=1e-6)


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_a_batch_ends_where_its_images_end_by_themselves(models, name, space):
    model = models[name]
    images, _ = wish(model, 3)
    where = space_of(model, space)
    descent = Descent(40, 0.05)
    whole = invert(where, Guide(pixel_error(images), wish(model, 3)[1]), Starts(range(3)), descent)
    for image in range(3):
        target = wish(model, 3)[1]
        alone = ActivationTarget(
            tuple(
                type(layer)(**{**vars(layer), "direction": layer.direction[image : image + 1]})
                for layer in target.layers
            ),
            target.weight,
        )
        guide = Guide(pixel_error(images[image : image + 1]), alone)
        one = invert(where, guide, Starts(range(image, image + 1)), descent)
        torch.testing.assert_close(one.latents[0], whole.latents[image], atol=1e-4, rtol=0)
        torch.testing.assert_close(one.start[0], whole.start[image], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_the_same_seed_gives_the_same_bytes(models, name, space):
    model = models[name]
    images, act = wish(model, 2)
    where = space_of(model, space)
    runs = [
        invert(where, Guide(pixel_error(images), act), Starts(range(2), seed=seed, restarts=2), Descent(10, 0.1))
        for seed in (5, 5, 6)
    ]
    for field in ("latents", "start", "losses", "objective", "frames"):
        first, again, other = (getattr(run, field).numpy().tobytes() for run in runs)
        assert first == again
        assert first != other


def test_an_edit_goes_where_it_is_asked_and_stays_near(models):
    model = models["Styled"]
    _, act = wish(model, 2)
    _, stays = wish(model, 2, seed=1)
    for space in ("z", "w", "w+"):
        where = space_of(model, space)
        start = where.start(torch.from_numpy(model.draw_latents(range(2), 9)))
        before = start.clone()
        far = optimise(edit_objective(where, start, act, stays, rest=0.1, near=0.0), start, Descent(40))
        near = optimise(edit_objective(where, start, act, None, near=100.0), start, Descent(40))
        assert (far.terms, near.terms) == (("edit", "rest"), ("edit", "near"))
        assert (far.losses[:, -1, 0] > far.losses[:, 0, 0]).all()
        assert (near.losses[:, 0, 1] == 0).all()
        assert ((near.latents - start).abs().amax() < (far.latents - start).abs().amax()).all()
        assert torch.equal(start, before)
        assert torch.equal(far.start, before)


def test_a_quadratic_is_solved(models):
    where = space_of(models["Painter"], "z")
    start = torch.from_numpy(models["Painter"].draw_latents(range(3), 0))
    way = optimise(Objective(where, (Term("reg", 1.0, prior(where)),)), start, Descent(300, 0.1))
    assert way.losses[:, -1].max() < 1e-4
    assert way.latents.requires_grad is False
    assert torch.equal(way.start, start)


@given(images=st.integers(1, 4), restarts=st.integers(1, 4), seed=st.integers(0, 99), ties=st.booleans())
def test_the_best_restart_is_kept(images, restarts, seed, ties):
    random = np.random.default_rng(seed)
    rows = images * restarts
    objective = random.integers(0, 2, rows) if ties else random.permutation(rows)
    marks = torch.arange(rows, dtype=torch.float32)
    way = Optimised(
        latents=marks[:, None].repeat(1, 4),
        start=marks[:, None] + 100,
        losses=marks[:, None, None].repeat(1, 6, 2),
        terms=("a", "b"),
        objective=torch.from_numpy(objective.astype(np.float32)),
        frames=marks[:, None, None, None, None].repeat(1, 2, 3, 1, 1),
        frame_steps=(0, 5),
    )
    best = way.best(images)
    for image in range(images):
        row = image + images * int(np.argmin(objective[image::images]))
        assert best.latents[image].tolist() == [row] * 4
        assert best.start[image].item() == row + 100
        assert best.objective[image].item() == objective[row]
        assert (best.losses[image] == row).all()
        assert (best.frames[image] == row).all()
    assert (best.terms, best.frame_steps, len(best.latents)) == (("a", "b"), (0, 5), images)


def test_of_real_restarts_the_best_is_kept(models):
    model = models["Painter"]
    images, act = wish(model, 3)
    where = space_of(model, "z")
    guide, starts, descent = Guide(pixel_error(images), act), Starts(range(3), restarts=4), Descent(15, 0.1)
    every = optimise(guide.objective(where), where.start(starts.latents(model)), descent)
    best = invert(where, guide, starts, descent)
    assert len(every.objective) == 12
    assert torch.equal(best.objective, every.objective.view(4, 3).amin(0))


@given(first=st.integers(0, 50), count=st.integers(1, 5), restarts=st.integers(1, 3), seed=st.integers(0, 2**33))
def test_a_start_depends_on_seed_restart_and_image_alone(first, count, restarts, seed):
    model = GENERATOR
    images = range(first, first + count)
    found = Starts(images, seed, restarts).latents(model).view(restarts, count, 4)
    for place, image in enumerate(images):
        alone = Starts(range(image, image + 1), seed, restarts).latents(model).view(restarts, 1, 4)
        assert torch.equal(found[:, place], alone[:, 0])
    assert torch.equal(found[0], Starts(images, seed).latents(model))  # more restarts begin with fewer
    assert len(found.flatten(0, 1).unique(dim=0)) == restarts * count
    drawn = torch.from_numpy(model.draw_latents(range(first + count), seed))
    assert not (found[:, :, None] == drawn).all(-1).any()


def test_starts_are_standard_normal():
    latents = Starts(range(4000), 3).latents(GENERATOR)
    assert latents.dtype == torch.float32
    assert latents.mean().abs() < 0.03
    assert (latents.std() - 1).abs() < 0.03


def test_spaces_have_their_shapes(models):
    model = models["Styled"]
    z = torch.from_numpy(model.draw_latents(range(2), 0))
    images, maps = model.generate(z)
    mean = model.module.mapping(torch.from_numpy(model.draw_latents(range(4096), 0))).mean(0)
    for name, shape in {"z": (4,), "w": (5,), "w+": (3, 5)}.items():
        space = space_of(model, name)
        start = space.start(z)
        assert (space.name, start.shape) == (name, (2, *shape))
        # All three are ways to the same images.
        rendering = space.render(start)
        torch.testing.assert_close(rendering.images.clamp(0, 1), images)
        assert rendering.maps.keys() == maps.keys()
        for layer in maps:
            torch.testing.assert_close(rendering.maps[layer], maps[layer])
        centre = {"z": torch.zeros(()), "w": mean[0], "w+": mean}[name]
        torch.testing.assert_close(space.centre, centre, atol=1e-6, rtol=0)
        assert prior(space)(rendering).shape == (2,)
    assert space.styles == 3


def test_styles_of_w_plus_go_their_own_ways(models):
    model = models["Styled"]
    images, _ = wish(model, 1)
    way = invert(space_of(model, "w+"), Guide(pixel_error(images)), Starts(range(1)), Descent(10, 0.1))
    assert torch.equal(way.start[0, 0], way.start[0, 1])
    assert not torch.equal(way.latents[0, 0], way.latents[0, 1])


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_generator_without_styles_has_no_w(models, space):
    with pytest.raises(UserError, match=f"'painter' has no latent space '{space}'".replace("+", r"\+")):
        space_of(models["Painter"], space)


def test_a_model_that_makes_no_images_has_no_latents(models):
    with pytest.raises(UserError, match="'eye' makes no images"):
        space_of(models["Eye"], "z")


def test_guides_leave_out_what_does_not_count(models):
    where = space_of(models["Painter"], "z")
    images, act = wish(models["Painter"], 1)
    rec = pixel_error(images)
    for guide, terms in {
        (rec, act, 0.1, 0.1): ["rec", "reg", "act"],
        (rec, act, 0.0, 0.1): ["rec", "act"],
        (rec, act, 0.1, 0.0): ["rec", "reg"],
        (rec, None, 0.1, 0.1): ["rec", "reg"],
        (None, act, 0.0, 0.1): ["act"],
    }.items():
        assert [term.name for term in Guide(*guide).objective(where).terms] == terms


def test_maps_alone_lead_to_the_maps(models):
    model = models["Painter"]
    _, act = wish(model, 2)
    where = space_of(model, "z")
    way = invert(where, Guide(None, act, alpha=0.0, beta=1.0), Starts(range(2), restarts=3), Descent(150, 0.1))
    assert way.losses[:, -1, 0].min() > 0.9
