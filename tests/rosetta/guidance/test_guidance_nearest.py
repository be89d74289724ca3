"""The nearest stored images against a search by brute force, in float64, unit by unit."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYERS, SEEDS
from tiny import maps_of, statistics

from rosetta.guidance.activation import matched_target, wished_target
from rosetta.guidance.matches import Matches
from rosetta.guidance.nearest import nearest, observed_maps_target


def pairs(others, random):
    """Every unit of every model with one unit of G, some with two."""
    rows = [(name, unit) for name, held in others.items() for unit in range(len(held.units))]
    rows += rows[:: int(random.integers(1, 4))]
    model, unit = zip(*rows, strict=True)
    generator = statistics([(3, (4, 4))], random)
    unit_g = random.integers(0, 3, len(rows)).astype(np.intp)
    return Matches(
        generator,
        others,
        unit_g,
        np.array(model, object),
        np.array(unit, np.intp),
        random.uniform(-1, 1, len(rows)),
        {},
    )


def brute_force(held, unit, stored, wished):
    """(row, image) of one unit: cosines of maps on the run's scale."""
    layer, span = next((layer, span) for layer, span in held.units.spans() if unit < span.stop)
    a, b = (
        ((maps[layer.name][:, unit - span.start].numpy() - held.mean[unit]) / (held.std[unit] or 1.0)).reshape(
            len(maps[layer.name]), -1
        )
        for maps in (stored, wished)
    )
    return (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


def total(target, stored):
    """(row, image) of all layers of a target."""
    return sum(layer.against_all(stored[layer.layer][:, layer.channels]) for layer in target.layers)


@given(layers_a=LAYERS, layers_b=LAYERS, rows=st.integers(1, 9), images=st.integers(1, 3), seed=SEEDS)
def test_agreements_are_those_of_a_brute_force(layers_a, layers_b, rows, images, seed):
    random = np.random.default_rng(seed)
    others = {"a": statistics(layers_a, random, constant=0.2), "b": statistics(layers_b, random)}
    stored = {name: maps_of(held, rows, random) for name, held in others.items()}
    wished = {name: maps_of(held, images, random) for name, held in others.items()}
    matches = pairs(others, random)
    targets = observed_maps_target(matches, wished)
    units = sum(target.weight for target in targets.values())
    found = sum(total(target, stored[name]) for name, target in targets.items()) / units
    expected = np.mean(
        [
            brute_force(held, unit, stored[name], wished[name])
            for name, held in others.items()
            for unit in range(len(held.units))
        ],
        axis=0,
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


@given(layers_g=LAYERS, layers_a=LAYERS, rows=st.integers(1, 4), seed=SEEDS)
def test_maps_of_g_agree_with_a_target_as_the_objective_says(layers_g, layers_a, rows, seed):
    random = np.random.default_rng(seed)
    others = {"a": statistics(layers_a, random)}
    generator = statistics(layers_g, random)
    matches = pairs(others, random)
    unit_g = random.integers(0, len(generator.units), len(matches)).astype(np.intp)
    matches = Matches(generator, others, unit_g, matches.model, matches.unit, matches.pearson, {})
    target = matched_target(matches, {"a": maps_of(others["a"], 2, random)})
    stored = maps_of(generator, rows, random)
    found = total(target, stored) / target.weight
    for row in range(rows):
        both = {name: maps[[row, row]] for name, maps in stored.items()}
        np.testing.assert_allclose(found[row].numpy(), target(both).numpy(), atol=1e-9)


def test_positions_that_are_not_known_count_for_nothing():
    random = np.random.default_rng(1)
    held = statistics([(2, (4, 4))], random)
    stored, wished = maps_of(held, 5, random)["l0"], maps_of(held, 1, random)["l0"]
    known = torch.zeros(4, 4, dtype=torch.float64)
    known[:, :2] = 1
    whole = wished_target(held, "l0", np.arange(2), wished, known).against_all(stored)
    half = wished_target(held, "l0", np.arange(2), wished[..., :2]).against_all(stored[..., :2])
    torch.testing.assert_close(whole, half)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    images=st.integers(1, 3),
    coarse=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_blocks_give_what_the_whole_gives(sizes, images, coarse, seed, data):
    random = np.random.default_rng(seed)
    values = random.normal(size=(sum(sizes), images))
    if coarse:  # many ties
        values = np.round(values)
    count = data.draw(st.integers(1, len(values)))
    bounds = np.cumsum([0, *sizes])
    blocks = [(slice(int(a), int(b)), torch.from_numpy(values[a:b])) for a, b in itertools.pairwise(bounds)]
    found = nearest(blocks, count)
    order = np.argsort(-values, axis=0, kind="stable")[:count].T
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_array_equal(found.agreement, np.take_along_axis(values.T, order, axis=1))


def test_more_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="not 3 stored"):
        nearest([(slice(0, 2), torch.zeros(2, 1))], 3)
