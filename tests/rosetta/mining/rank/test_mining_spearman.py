"""The rank correlation against scipy, over grids, cuts and ties; sketches against their bound."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grids

from rosetta.mining.rank import sketch as module
from rosetta.mining.rank.ranks import Ranked, Stack, upsample
from rosetta.mining.rank.sketch import Sketch, make_sketch, sketch_bound
from rosetta.mining.rank.spearman import spearman, spearman_sketched
from rosetta.units import Layer, Units

ROUNDING = 1e-6


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """More than one would wait for each other on cores that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def side(layers, splits=()):
    """Units with source and constants of (image, channel, y, x) arrays, one per layer, cut at `splits`."""
    stored = {f"l{i}": torch.from_numpy(x) for i, x in enumerate(layers)}
    units = Units(tuple(Layer(name, x.shape[1], tuple(x.shape[2:])) for name, x in stored.items()))
    images = len(layers[0])
    edges = [0, *sorted({s % images for s in splits} - {0}), images]

    def source():
        for start, stop in itertools.pairwise(edges):
            yield {name: x[start:stop] for name, x in stored.items()}

    flat = [x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1) for x in layers]
    return Ranked(units, source, np.concatenate([x.max(axis=1) == x.min(axis=1) for x in flat]))


def arguments(layers_a, layers_b, splits_a=(), splits_b=None):
    both = side(layers_a, splits_a), side(layers_b, splits_a if splits_b is None else splits_b)
    return both, {"images": len(layers_a[0])}


def correlate(layers_a, layers_b, splits_a=(), splits_b=None, exact=True):
    positional, named = arguments(layers_a, layers_b, splits_a, splits_b)
    return spearman(*positional, **named, exact=exact)


def sketched(layers_a, layers_b, splits=()):
    positional, named = arguments(layers_a, layers_b, splits)
    return spearman_sketched(*positional, **named)


def textbook_spearman(layers_a, layers_b, rounded=True):
    """Upsample in float64 with torch, rank with scipy, correlate with numpy.

    Upsampled values that are equal on paper differ in their last bits, `rounded` to float32 they do not.
    """

    def block(a, b):
        size = [max(a.shape[axis], b.shape[axis]) for axis in (2, 3)]
        ranks = []
        for maps in (a, b):
            exact = torch.from_numpy(maps.astype(np.float64))
            values = torch.nn.functional.interpolate(exact, size=size, mode="bilinear", align_corners=False).numpy()
            flat = values.transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
            ranks.append(scipy.stats.rankdata(flat.astype(np.float32) if rounded else flat, axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.corrcoef(np.concatenate(ranks))[: len(ranks[0]), len(ranks[0]) :]

    return np.block([[block(a, b) for b in layers_b] for a in layers_a])


def relu(maps):
    return np.maximum(maps, 0)


def correlated(random, images, grids_a, grids_b, channels=3):
    """Layers on both sides that share structure, half of them with zeros, so that correlations take all sizes."""
    shared = random.normal(size=(images, channels, 1, 1))

    def layer(grid, index):
        maps = shared * random.normal(1, 0.5) + random.normal(size=(images, channels, *grid))
        return (relu(maps) if index % 2 else maps).astype(np.float32)

    return tuple([layer(grid, i) for i, grid in enumerate(grids)] for grids in (grids_a, grids_b))


@given(
    grids_a=st.lists(grids(9), min_size=1, max_size=3),
    grids_b=st.lists(grids(9), min_size=1, max_size=3),
    images=st.integers(2, 12),
    splits=st.lists(st.integers(0, 100), max_size=3),
    seed=SEEDS,
    dtype=st.sampled_from([np.float32, np.float16]),
)
def test_equals_the_textbook_on_any_grids_and_splits(grids_a, grids_b, images, splits, seed, dtype):
    random = np.random.default_rng(seed)
    layers_a = [random.normal(random.normal(), 1, (images, 3, *grid)).astype(dtype) for grid in grids_a]
    layers_b = [relu(random.normal(0, 2, (images, 2, *grid))).astype(dtype) for grid in grids_b]
    # Shared structure, so that correlations spread over the whole range.
    layers_b[0][:, 0] = layers_a[0][:, 0].mean(axis=(1, 2))[:, None, None] * np.ones(grids_b[0])
    expected = textbook_spearman(layers_a, layers_b)
    np.testing.assert_allclose(correlate(layers_a, layers_b, splits), expected, atol=1e-5, rtol=0)
    values, bound = sketched(layers_a, layers_b, splits)
    assert (np.isnan(values) == np.isnan(expected)).all()
    assert (np.isnan(values) | (np.abs(values - expected) <= bound + ROUNDING)).all()


def test_equals_the_textbook_over_many_positions_and_steps():
    layers = correlated(np.random.default_rng(0), 60, [(7, 7), (14, 14), (28, 28)], [(4, 14), (28, 28)])
    np.testing.assert_allclose(correlate(*layers, [7, 31]), textbook_spearman(*layers), atol=ROUNDING, rtol=0)


def test_rounding_the_upsampled_maps_to_float32_changes_next_to_nothing():
    layers = correlated(np.random.default_rng(1), 200, [(4, 6)], [(6, 9)])
    np.testing.assert_allclose(correlate(*layers), textbook_spearman(*layers, rounded=False), atol=1e-5, rtol=0)


@given(grid=grids(9), images=st.integers(2, 8), seed=SEEDS, exact=st.booleans())
def test_rising_transforms_on_one_grid_change_nothing(grid, images, seed, exact):
    random = np.random.default_rng(seed)
    a = random.integers(-40, 40, (images, 3, *grid)) / 8
    b = random.integers(-3, 4, (images, 2, *grid)).astype(np.float32)
    plain = correlate([a.astype(np.float32)], [b], exact=exact)
    curved = correlate([np.exp(a).astype(np.float32)], [-b], exact=exact)
    np.testing.assert_array_equal(plain, -curved)


@pytest.mark.parametrize("exact", [True, False])
def test_plateaus_stay_ties_on_any_grid(exact):
    # Thirds and the like, whose interpolated copies would differ in their last bits, on a map of one position.
    random = np.random.default_rng(2)
    layers_a = [np.float32([0.1, 1 / 3, 0.7, 1e-3, 12.3]).reshape(5, 1, 1, 1), random.normal(size=(5, 1, 2, 7))]
    layers_b = [random.normal(size=(5, 4, 9, 7)).astype(np.float32)]
    layers_a[1] = np.minimum(layers_a[1], 0.3).astype(np.float32)
    np.testing.assert_allclose(
        correlate(layers_a, layers_b, exact=exact),
        textbook_spearman(layers_a, layers_b),
        atol=ROUNDING,
        rtol=0,
    )


def test_signed_zeros_are_one_value():
    random = np.random.default_rng(3)
    a = relu(random.normal(size=(9, 2, 5, 5))).astype(np.float32)
    b = random.normal(size=(9, 2, 5, 5)).astype(np.float32)
    signed = np.where((a == 0) & (random.random(a.shape) < 0.5), np.float32(-0.0), a)
    for exact in (True, False):
        np.testing.assert_array_equal(correlate([signed], [b], exact=exact), correlate([a], [b], exact=exact))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 65504.0, 1e-40])
def test_a_constant_unit_has_no_correlation(value, exact):
    random = np.random.default_rng(4)
    a, b = (random.normal(size=(6, 3, *grid)).astype(np.float32) for grid in ((4, 4), (7, 7)))
    a[:, 1] = value
    b[:, 2] = value
    result = correlate([a], [b], [2], exact=exact)
    assert np.isnan(result[1]).all()
    assert np.isnan(result[:, 2]).all()
    assert np.isfinite(result[[0, 2]][:, :2]).all()


def test_a_unit_correlates_fully_with_itself_and_is_read_once():
    maps = np.random.default_rng(5).normal(size=(9, 5, 6, 4)).astype(np.float32)
    given = side([maps], [4])
    readings = []

    def counted():
        readings.append(1)
        return given.source()

    result = spearman(*[replace(given, source=counted)] * 2, images=9, exact=True)
    np.testing.assert_allclose(np.diag(result), 1.0, atol=ROUNDING)
    np.testing.assert_allclose(result, result.T, atol=ROUNDING)
    assert len(readings) == 1


def test_nested_grids_are_ranked_once_per_common_grid():
    layers = correlated(np.random.default_rng(6), 4, [(1, 1), (2, 2), (4, 4)], [(2, 2), (4, 4), (8, 8)])
    (a, b), named = arguments(*layers)
    readings = {"a": 0, "b": 0}

    def counted(name, source):
        def read():
            readings[name] += 1
            return source()

        return read

    counting = replace(a, source=counted("a", a.source)), replace(b, source=counted("b", b.source))
    spearman(*counting, **named, exact=True)
    # Common grids of (grid of A): 2 and 4 and 8 (1 and 2), 4 and 8 (4); of (grid of B): 2, 4 (2); 4 (4); 8 (8).
    assert readings == {"a": 8, "b": 4}


def test_cuts_do_not_matter():
    layers = correlated(np.random.default_rng(7), 40, [(7, 7), (5, 9)], [(14, 14), (3, 3)])
    whole = correlate(*layers)
    for splits in ([1], [13, 17], range(40)):
        np.testing.assert_allclose(correlate(*layers, splits, [20]), whole, atol=ROUNDING, rtol=0)
    whole, bound = sketched(*layers)
    for splits in ([1], [13, 17], range(40)):
        values, same = sketched(*layers, splits)
        np.testing.assert_allclose(values, whole, atol=ROUNDING, rtol=0)
        np.testing.assert_array_equal(same, bound)


def test_sketches_stay_within_their_bound_and_come_closer_with_more_edges(monkeypatch):
    layers = correlated(np.random.default_rng(8), 150, [(7, 7), (14, 14)], [(14, 14), (3, 5)])
    expected = textbook_spearman(*layers)
    errors, bounds = [], []
    for edges in (15, 127, 1023):
        monkeypatch.setattr(module, "EDGES", edges)
        values, bound = sketched(*layers)
        error = np.abs(values - expected)
        assert (error <= bound + ROUNDING).all()
        errors.append(error.max())
        bounds.append(bound.max())
    assert errors[0] > 10 * errors[1] > 10 * errors[2]
    assert bounds[0] > 4 * bounds[1] > 16 * bounds[2]
    assert errors[2] < 3e-5
    assert bounds[2] < 5e-3


def test_the_bound_holds_where_cells_are_coarse_and_what_they_hide_agrees(monkeypatch):
    # Both units order the values within each cell alike, and oppositely to the cells: what is lost is all one-sided.
    monkeypatch.setattr(module, "EDGES", 3)
    monkeypatch.setattr(module, "SAMPLE", 3)
    cell, within = np.divmod(np.arange(1200), 400)
    a = (cell + within / 1000).astype(np.float32).reshape(1200, 1, 1, 1)
    b = (-cell + within / 1000).astype(np.float32).reshape(1200, 1, 1, 1)
    values, bound = sketched([a], [b])
    error = np.abs(values - textbook_spearman([a], [b]))
    assert 0.05 < error.item() <= bound.item()


def test_values_that_are_all_edges_have_no_error():
    random = np.random.default_rng(9)
    a, b = (random.integers(0, 200, (30, 3, 6, 6)).astype(np.float32) for _ in range(2))
    b[:, 0] += a[:, 0]
    values, bound = sketched([a], [b])
    np.testing.assert_array_equal(bound, 0)
    np.testing.assert_allclose(values, textbook_spearman([a], [b]), atol=ROUNDING, rtol=0)


def test_a_sketch_counts_every_value_and_gives_atoms_their_rank():
    random = np.random.default_rng(10)
    maps = relu(random.normal(-0.5, 1, (2000, 2, 5, 5))).astype(np.float32)
    one = side([maps], [700])
    units, source = one.units, one.source
    sketch = make_sketch(Stack(source, units, (5, 5), (5, 5), 2000))
    flat = maps.transpose(1, 0, 2, 3).reshape(2, -1)
    assert (sketch.counts.sum(axis=1) == flat.shape[1]).all()
    zeros = (flat == 0).sum(axis=1)
    assert (sketch.counts[:, 1] == zeros).all()
    np.testing.assert_allclose(sketch.midranks[:, 1], zeros / flat.shape[1] / 2 - 0.5, atol=1e-12)
    share = sketch.counts[:, ::2].max(axis=1) / flat.shape[1]
    assert (share < 3 / module.EDGES).all()
    ranks = scipy.stats.rankdata(flat, axis=1) / flat.shape[1]
    left = ranks.var(axis=1) - sketch.spread**2
    assert (left > 0).all()
    assert (left <= sketch.residual**2).all()
    assert (sketch.residual <= share / np.sqrt(12)).all()


def test_the_bound_of_coarse_sketches():
    # Two cells of one half each: the ranks 1 to 5 have the variance 2, in tenths of all and around their midrank.
    sketch = Sketch(torch.tensor([[0.0, torch.inf]]), np.array([[5, 0, 5]]))
    assert sketch.spread.item() == 0.25
    assert sketch.residual.item() == pytest.approx(np.sqrt(2) / 10)
    np.testing.assert_allclose(sketch_bound(sketch, sketch), 2 * np.sin(np.arctan(np.sqrt(2) / 10 / 0.25)))


@given(own=grids(9), more=grids(9), seed=SEEDS)
def test_upsampling_is_torchs_and_keeps_plateaus(own, more, seed):
    maps = torch.randn((2, 3, *own), generator=torch.Generator().manual_seed(seed))
    maps[1, 2] = 1 / 3
    common = own[0] + more[0] - 1, own[1] + more[1] - 1
    expected = torch.nn.functional.interpolate(maps, size=common, mode="bilinear", align_corners=False)
    result = upsample(maps, common)
    torch.testing.assert_close(result, expected.transpose(0, 1).flatten(1), atol=1e-5, rtol=1e-5)
    assert (result[2, common[0] * common[1] :] == np.float32(1 / 3)).all()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("images", [5, 7])
def test_sources_of_another_length_are_refused(images, exact):
    layers = correlated(np.random.default_rng(11), 6, [(3, 3)], [(3, 3)])
    positional, _ = arguments(*layers, [2])
    with pytest.raises(ValueError, match="images"):
        spearman(*positional, images=images, exact=exact)


def test_blocks_that_do_not_match_are_refused_where_they_must():
    layers = correlated(np.random.default_rng(12), 6, [(3, 3)], [(3, 3)])
    with pytest.raises(ValueError, match="do not hold the same images"):
        correlate(*layers, [2], [3], exact=False)


MEMORY = """
import re
from pathlib import Path
import numpy as np, torch
from rosetta.mining.rank.ranks import Ranked
from rosetta.mining.rank.spearman import exact_bytes, sketched_bytes, spearman, spearman_sketched
from rosetta.units import Layer, Units

def kib(field):
    return int(re.search(rf"^{field}:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])

def side(units, grid, images):
    block = torch.randn(32, units, *grid)
    return Units((Layer("l", units, grid),)), lambda: ({"l": block} for _ in range(images // 32))

def measure(a, b, images, exact):
    units_a, source_a, units_b, source_b = *side(*a, images), *side(*b, images)
    sides = Ranked(units_a, source_a, np.zeros(a[0], bool)), Ranked(units_b, source_b, np.zeros(b[0], bool))
    Path("/proc/self/clear_refs").write_text("5")
    before = kib("VmRSS")
    if exact:
        spearman(*sides, images=images, exact=True)
    else:
        spearman_sketched(*sides, images=images)
    bound = exact_bytes(units_a, units_b, images) if exact else sketched_bytes(units_a, units_b, 32)
    print((kib("VmHWM") - before) * 1024, bound)

torch.randn(512, 512) @ torch.randn(512, 512)
measure((500, (7, 7)), (900, (7, 7)), 320, True)
measure((6, (3, 3)), (4, (40, 40)), 512, True)
measure((400, (2, 2)), (300, (8, 8)), 320, False)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures peak memory as Linux tells it")
def test_memory_stays_within_what_is_said():
    # One thread here too, which `one_thread` cannot set in another process.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env=environment)
    for line in run.stdout.splitlines():
        used, bound = map(int, line.split())
        assert used <= bound <= 2 * used + 2**27, run.stdout
    assert len(run.stdout.splitlines()) == 3
