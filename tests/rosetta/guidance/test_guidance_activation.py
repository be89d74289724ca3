"""`L_act` against the definition, taken unit by unit on the common grid."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYERS, SEEDS
from tiny import load, maps_of, statistics

from rosetta.guidance import layer_target
from rosetta.guidance.activation import matched_target, wished_target
from rosetta.guidance.edits import Box
from rosetta.guidance.invert import high_target, observed_target
from rosetta.guidance.latent import Rendering, Space
from rosetta.guidance.matches import Matches, Statistics
from rosetta.guidance.objective import agreement, nearness, pixel_error, prior
from rosetta.guidance.perceptual import feature_distance


def unit_maps(held, maps, unit):
    """(image, y, x) one unit on the run's scale."""
    layer, start = next(
        (layer.name, span.start) for layer, span in held.units.spans() if span.start <= unit < span.stop
    )
    return (maps[layer][:, unit - start] - held.mean[unit]) / (held.std[unit] or 1.0)


def upsampled(maps, grid):
    return torch.nn.functional.interpolate(maps[:, None], size=grid, mode="bilinear", align_corners=False)[:, 0]


def textbook_agreement(a, b, weight=1.0):
    """(image,) of two (image, y, x) on one grid; 0 where one of them is 0 everywhere."""
    product, of_a, of_b = ((weight * both).sum((1, 2)) for both in (a * b, a * a, b * b))
    return torch.where(of_a * of_b > 0, product / (of_a * of_b).clamp_min(1e-300).sqrt(), 0.0)


def textbook_loss(matches, maps_g, maps):
    """(row,) the weighted mean over all pairs."""
    found = []
    for unit_g, name, unit in zip(matches.unit_g, matches.model, matches.unit, strict=True):
        a = unit_maps(matches.generator, maps_g, unit_g)
        b = unit_maps(matches.others[name], maps[name], unit)
        grid = tuple(np.maximum(a.shape[1:], b.shape[1:]))
        b = b.repeat(len(a) // len(b), 1, 1)
        found.append(textbook_agreement(upsampled(a, grid), upsampled(b, grid)))
    weight = torch.from_numpy(matches.weights)
    return (torch.stack(found) * weight[:, None]).sum(0) / weight.sum()


def some_matches(generator, others, pairs, random, weighed=False):
    """Pairs drawn without repetition: a unit of G has several buddies, and few units have all of them."""
    possible = [
        (g, name, d) for g in range(len(generator.units)) for name in others for d in range(len(others[name].units))
    ]
    chosen = [possible[i] for i in random.permutation(len(possible))[:pairs]]
    unit_g, model, unit = zip(*chosen, strict=True)
    return Matches(
        generator,
        others,
        np.array(unit_g, np.intp),
        np.array(model, object),
        np.array(unit, np.intp),
        random.uniform(-1, 1, len(chosen)),
        {},
        weight=random.uniform(0.1, 3, len(chosen)) if weighed else None,
    )


@given(
    layers_g=LAYERS,
    layers_a=LAYERS,
    layers_b=LAYERS,
    pairs=st.integers(1, 25),
    images=st.integers(1, 3),
    repeats=st.integers(1, 3),
    weighed=st.booleans(),
    seed=SEEDS,
)
def test_equals_the_textbook_on_any_grids(layers_g, layers_a, layers_b, pairs, images, repeats, weighed, seed):
    random = np.random.default_rng(seed)
    generator = statistics(layers_g, random, constant=0.2)
    others = {"a": statistics(layers_a, random, constant=0.2), "b": statistics(layers_b, random)}
    matches = some_matches(generator, others, pairs, random, weighed)
    maps = {name: maps_of(held, images, random) for name, held in others.items()}
    maps["a"]["l0"][0] = torch.from_numpy(others["a"].mean[: layers_a[0][0]])[:, None, None]  # nothing is asked
    maps_g = maps_of(generator, images * repeats, random)
    found = matched_target(matches, maps)(maps_g)
    torch.testing.assert_close(found, textbook_loss(matches, maps_g, maps), atol=1e-9, rtol=0)


@given(
    layers=LAYERS,
    masks=st.sampled_from(["none", "ones", "zeros", "whole", "shares"]),
    images=st.integers(1, 3),
    repeats=st.integers(1, 2),
    seed=SEEDS,
)
def test_a_wish_with_a_mask_equals_the_textbook(layers, masks, images, repeats, seed):
    random = np.random.default_rng(seed)
    held = statistics(layers, random, constant=0.2)
    layer, span = list(held.units.spans())[random.integers(len(layers))]
    units = np.sort(random.permutation(np.arange(span.start, span.stop))[: random.integers(1, layer.channels + 1)])
    wished = maps_of(held, images, random)[layer.name][:, units - span.start]
    known = {
        "none": None,
        "ones": torch.ones(layer.grid),
        "zeros": torch.zeros(layer.grid),
        "whole": torch.from_numpy(random.integers(0, 2, layer.grid)),
        "shares": torch.from_numpy(random.random(layer.grid)),
    }[masks]
    maps = maps_of(held, images * repeats, random)
    weight = 1.0 if known is None else known.double()
    every = []
    for place, unit in enumerate(units):
        scale = held.std[unit] or 1.0
        asked = ((wished[:, place] - held.mean[unit]) / scale).repeat(repeats, 1, 1)
        every.append(textbook_agreement(unit_maps(held, maps, unit), asked, weight))
        alone = wished_target(held, layer.name, units[[place]], wished[:, [place]], known)
        torch.testing.assert_close(alone.agreement(maps), every[-1], atol=1e-9, rtol=0)
    target = wished_target(held, layer.name, units, wished, known)
    torch.testing.assert_close(target.agreement(maps), torch.stack(every).sum(0), atol=1e-9, rtol=0)


def one_pair(std_g=1.0, std_d=1.0, grid_g=(3, 4), grid_d=(5, 2)):
    generator, other = (
        Statistics(statistics([(1, grid)], np.random.default_rng(0)).units, np.zeros(1), np.array([std]), np.ones(1))
        for grid, std in ((grid_g, std_g), (grid_d, std_d))
    )
    zero = np.zeros(1, np.intp)
    return Matches(generator, {"d": other}, zero, np.array(["d"], object), zero, np.ones(1), {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zero", ["target", "maps", "both"])
@pytest.mark.parametrize("grid_d", [(5, 2), (2, 2)])
def test_maps_of_zeros_are_no_danger(dtype, zero, grid_d):
    noise = np.random.default_rng(1)
    wanted = torch.from_numpy(noise.normal(size=(2, 1, *grid_d))).to(dtype) * (zero == "maps")
    seen = (torch.from_numpy(noise.normal(size=(2, 1, 3, 4))).to(dtype) * (zero == "target")).requires_grad_(True)
    found = matched_target(one_pair(grid_d=grid_d), {"d": {"l0": wanted}})({"l0": seen})
    assert found.tolist() == [0, 0]
    (slope,) = torch.autograd.grad(found.sum(), seen)
    assert slope.isfinite().all()


def test_a_constant_unit_is_not_divided_by_its_spread():
    random = np.random.default_rng(2)
    wanted, seen = (torch.from_numpy(random.normal(size=(2, 1, *grid))) for grid in ((5, 2), (3, 4)))
    found = matched_target(one_pair(0.0, 0.0), {"d": {"l0": wanted}})({"l0": seen})
    expected = textbook_agreement(upsampled(seen[:, 0], (5, 4)), upsampled(wanted[:, 0], (5, 4)))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_a_unit_agrees_fully_with_itself_and_not_at_all_with_its_opposite():
    random = np.random.default_rng(3)
    held = statistics([(4, (5, 3))], random)
    maps = maps_of(held, 2, random)
    matches = Matches(held, {"d": held}, np.arange(4), np.array(["d"] * 4, object), np.arange(4), np.ones(4), {})
    target = matched_target(matches, {"d": maps})
    mean = torch.from_numpy(held.mean)[:, None, None]
    torch.testing.assert_close(target(maps), torch.ones(2, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(target({"l0": 2 * mean - maps["l0"]}), -torch.ones(2, dtype=torch.float64))
    # The length of a map says nothing, its distance from the run's mean does.
    torch.testing.assert_close(target({"l0": mean + 9 * (maps["l0"] - mean)}), torch.ones(2, dtype=torch.float64))
    assert (target({"l0": maps["l0"] + 5}) < 0.9).all()


def test_models_without_pairs_need_not_be_looked_at():
    random = np.random.default_rng(4)
    held = statistics([(4, (5, 3))], random)
    matches = some_matches(held, {"a": held, "b": held}, 12, random)
    only = matches.only(models=["b"])
    assert set(only.model) == {"b"}
    maps = {"b": maps_of(held, 2, random)}
    maps_g = maps_of(held, 2, random)
    torch.testing.assert_close(matched_target(only, maps)(maps_g), textbook_loss(only, maps_g, maps))


def test_observed_targets_are_what_the_models_see():
    eye = load("Eye")
    random = np.random.default_rng(5)
    layers = [(layer.channels, layer.grid) for layer in eye.units.layers]
    seen = statistics(layers, random)
    seen = Statistics(eye.units, seen.mean, seen.std, seen.peak)
    generator = statistics([(3, (4, 6))], random)
    matches = some_matches(generator, {"eye": seen}, 9, random)
    images = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    maps_g = {name: maps.float() for name, maps in maps_of(generator, 2, random).items()}
    found = observed_target(matches, {"eye": eye}, images)(maps_g)
    expected = textbook_loss(matches, maps_g, {"eye": eye.observe(images)})
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=0)


def test_a_high_wish_is_met_by_maps_that_are_high_in_the_box_and_low_outside():
    random = np.random.default_rng(6)
    held = statistics([(2, (4, 4)), (3, (6, 5))], random)
    box = Box(0.25, 0.5, 1, 1)
    units = np.array([0, 1, 3])
    target = high_target(held, units, box)
    maps = {}
    for layer, span in held.units.spans():
        share = box.coverage(*layer.grid)
        low, high = (torch.from_numpy(x[span])[:, None, None] for x in (held.mean - held.std, held.peak))
        maps[layer.name] = (low * (1 - share) + high * share)[None].float()
    assert target.weight == 3
    assert target(maps).item() == pytest.approx(1, abs=1e-5)
    flat = {name: torch.zeros_like(map_) + map_.mean() for name, map_ in maps.items()}
    assert target(flat).item() < 0.9


def gradcheck(function, *inputs):
    torch.autograd.gradcheck(function, [x.double().requires_grad_(True) for x in inputs], raise_exception=True)


@pytest.mark.parametrize("grids", [((3, 4), (5, 2)), ((3, 3), (2, 2)), ((2, 2), (4, 4))])
def test_the_gradient_of_matches(grids):
    random = np.random.default_rng(7)
    generator = statistics([(2, grids[0]), (1, (2, 5))], random)
    other = statistics([(2, grids[1]), (2, (1, 3))], random)
    matches = some_matches(generator, {"d": other}, 9, random, weighed=True)
    measure = agreement(matched_target(matches, {"d": maps_of(other, 2, random)}))
    maps = maps_of(generator, 4, random)
    none = torch.empty(4)
    gradcheck(lambda a, b: measure(Rendering(none, none, {"l0": a, "l1": b})), maps["l0"], maps["l1"])


@pytest.mark.parametrize("block", [1, 100, 1 << 18])
@given(layers_g=LAYERS, layers_d=LAYERS, images=st.integers(1, 3), repeats=st.integers(1, 2), seed=SEEDS)
def test_the_slope_is_that_of_the_textbook_however_images_are_blocked(block, layers_g, layers_d, images, repeats, seed):
    random = np.random.default_rng(seed)
    generator, other = statistics(layers_g, random, constant=0.2), statistics(layers_d, random)
    matches = some_matches(generator, {"d": other}, 20, random, weighed=True)
    maps = {"d": maps_of(other, images, random)}
    of_row = torch.from_numpy(random.normal(size=images * repeats))
    slopes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_target, "_BLOCK", block)
        target = matched_target(matches, maps)
        for measure in (target, lambda maps_g: textbook_loss(matches, maps_g, maps)):
            maps_g = {
                name: values.requires_grad_(True)
                for name, values in maps_of(generator, images * repeats, np.random.default_rng(seed)).items()
            }
            (measure(maps_g) * of_row).sum().backward()
            slopes.append([values.grad for values in maps_g.values() if values.grad is not None and values.grad.any()])
    torch.testing.assert_close(*slopes, atol=1e-9, rtol=1e-9)


@given(layers_g=LAYERS, layers_d=LAYERS, images=st.integers(1, 3), rows=st.integers(1, 3), seed=SEEDS)
def test_against_all_is_each_against_each(layers_g, layers_d, images, rows, seed):
    random = np.random.default_rng(seed)
    generator, other = statistics(layers_g, random), statistics(layers_d, random)
    matches = some_matches(generator, {"d": other}, 9, random, weighed=True)
    target = matched_target(matches, {"d": maps_of(other, images, random)})
    maps = maps_of(generator, rows, random)
    for layer in target.layers:
        found = layer.against_all(maps[layer.layer][:, layer.channels])
        for row in range(rows):
            alike = {layer.layer: maps[layer.layer][[row] * images]}
            torch.testing.assert_close(found[row], layer.agreement(alike), atol=1e-9, rtol=0)


def test_the_gradient_of_a_wish():
    random = np.random.default_rng(8)
    held = statistics([(3, (3, 4))], random)
    wished = maps_of(held, 2, random)["l0"][:, [0, 2]]
    target = wished_target(held, "l0", np.array([0, 2]), wished, torch.from_numpy(random.random((3, 4))))
    gradcheck(lambda maps: target.agreement({"l0": maps}), maps_of(held, 2, random)["l0"])


def test_the_gradients_of_the_other_terms():
    random = np.random.default_rng(9)
    images, target = (torch.from_numpy(random.random((count, 3, 4, 5))) for count in (4, 2))
    latents, centre = (torch.from_numpy(random.normal(size=size)) for size in ((4, 3, 2), (3, 2)))
    gradcheck(lambda x: pixel_error(target)(Rendering(x, x, {})), images)
    gradcheck(lambda x: nearness(latents)(Rendering(x, x, {})), latents + 1)
    model = load("Painter")
    gradcheck(lambda x: prior(Space("w+", model, centre, 3))(Rendering(x, x, {})), latents)
    expected = (images.reshape(2, 2, 3, 4, 5) - target).square().mean((2, 3, 4)).reshape(4)
    torch.testing.assert_close(pixel_error(target)(Rendering(latents, images, {})), expected)
    near = nearness(latents)(Rendering(latents + 2, images, {}))
    torch.testing.assert_close(near, torch.full((4,), 4.0, dtype=torch.float64))
    regular = prior(Space("w+", model, centre, 3))(Rendering(latents, images, {}))
    torch.testing.assert_close(regular, (latents - centre).square().mean((1, 2)))


def test_the_gradient_of_the_feature_distance():
    eye = load("Eye")
    eye.module.double()
    random = np.random.default_rng(10)
    target, images = (torch.from_numpy(random.random((count, 3, 4, 4))) for count in (1, 2))
    measure = feature_distance(eye, target)
    gradcheck(lambda x: measure(Rendering(x, x, {})), images)
