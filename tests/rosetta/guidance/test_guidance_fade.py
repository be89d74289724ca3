"""How β fades, and what a search does without once it has."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import load

from rosetta.guidance.fade import Fade
from rosetta.guidance.latent import space_of
from rosetta.guidance.objective import Objective, pixel_error, prior
from rosetta.guidance.optimise import Descent, optimise
from rosetta.guidance.starts import Starts


@pytest.mark.parametrize(
    ("shape", "until", "table"),
    [
        ("constant", 1.0, {0: 1, 0.5: 1, 1: 1}),
        ("linear", 1.0, {0: 1, 0.25: 0.75, 0.5: 0.5, 1: 0}),
        ("linear", 0.5, {0: 1, 0.25: 0.5, 0.5: 0, 0.9: 0}),
        ("cosine", 1.0, {0: 1, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1: 0}),
        ("cosine", 0.3, {0: 1, 0.1: 0.75, 0.15: 0.5, 0.3: 0, 1: 0}),
    ],
)
def test_the_shapes(shape, until, table):
    fade = Fade(shape, until)
    for done, left in table.items():
        assert fade(done) == pytest.approx(left, abs=1e-12)
    assert fade(1.0) == (1 if shape == "constant" else 0)


@given(shape=st.sampled_from(["linear", "cosine"]), until=st.floats(0.01, 1), done=st.floats(0, 1))
def test_a_weight_only_falls(shape, until, done):
    fade = Fade(shape, until)
    assert 1 >= fade(done) >= fade(min(1.0, done + 0.05)) >= 0
    assert (fade(done) == 0) == (done >= until) or fade(done) < 1e-12


@pytest.mark.parametrize("until", [0.0, -0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(until):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Fade("linear", until)


def search(counted, descent):
    model = load("Painter")
    space = space_of(model)
    images, _ = model.generate(torch.from_numpy(model.draw_latents(range(2), 3)))

    def act(rendering):
        counted.append(len(rendering.images))
        return -rendering.images.square().mean((1, 2, 3))

    objective = Objective.of(space, rec=(1.0, pixel_error(images)), reg=(0.001, prior(space)), act=(-0.5, act))
    return optimise(objective, space.start(Starts(range(2)).latents(model)), descent), objective


@pytest.mark.parametrize(("fade", "measured"), [(Fade(), 21), (Fade("linear"), 21), (Fade("cosine", 0.25), 6)])
def test_once_nothing_is_left_of_it_a_term_is_measured_at_the_end_alone(fade, measured):
    counted = []
    way, objective = search(counted, Descent(20, 0.1, fade=fade))
    assert len(counted) == measured
    act = way.losses[:, :, way.terms.index("act")]
    assert act.isfinite().sum(1).tolist() == [measured] * 2
    assert act[:, -1].isfinite().all()
    assert way.losses[:, :, 0].isfinite().all()
    left = {"act": fade(1.0)}
    torch.testing.assert_close(way.objective, objective(way.latents, left)[0].detach())


def test_a_search_that_fades_is_another_one_and_a_constant_one_is_as_it_was():
    plain, same, faded = (
        search([], descent)[0].latents
        for descent in (
            Descent(20, 0.1),
            Descent(20, 0.1, fade=Fade("constant")),
            Descent(20, 0.1, fade=Fade("linear")),
        )
    )
    assert torch.equal(plain, same)
    assert not torch.equal(plain, faded)


def test_without_weight_the_rest_goes_on_as_if_the_term_were_not_there():
    model = load("Painter")
    space = space_of(model)
    latents = space.start(Starts(range(2)).latents(model)).requires_grad_(True)
    whole = Objective.of(space, reg=(0.5, prior(space)), act=(-1.0, lambda rendering: rendering.images.mean((1, 2, 3))))
    total, values, _ = whole(latents, {"act": 0.0}, every=False)
    expected, _, _ = Objective.of(space, reg=(0.5, prior(space)))(latents)
    assert torch.equal(total, expected)
    assert values["act"].isnan().all()
