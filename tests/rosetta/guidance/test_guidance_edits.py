"""Edits against loops that take every position of its own, with exact fractions for places."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import INSIDE, MOVES, SEEDS, boxes, fractions, grids
from tiny import maps_of, statistics

from rosetta.errors import UserError
from rosetta.guidance.edited_maps import edited_maps
from rosetta.guidance.edits import WHOLE, Add, Asked, Box, Join, Paste, Remove, Shift, Zoom, apply, clusters_of

UNITS = 3
HALF = Fraction(1, 2)


def box(edges):
    return Box(*map(float, edges))


def asked_on(grid, seed, known="some"):
    random = np.random.default_rng(seed)
    shares = {"all": np.ones(grid), "some": random.choice([0, 0.3, 1], grid)}[known]
    return Asked(
        maps=torch.from_numpy(random.normal(size=(2, UNITS, *grid))),
        known=torch.from_numpy(shares),
        changed=torch.from_numpy(random.random((UNITS, *grid)) * (known == "some")),
        clusters={4: torch.tensor([0, 2]), 9: torch.tensor([1])},
        low=torch.from_numpy(random.normal(size=UNITS)),
        high=torch.from_numpy(random.normal(size=UNITS)),
        others={
            "one": torch.from_numpy(random.normal(size=(1, UNITS, *grid))),
            "each": torch.from_numpy(random.normal(size=(2, UNITS, *grid))),
        },
    )


def places(grid):
    """Each position with its centre (y, x)."""
    for row in range(grid[0]):
        for column in range(grid[1]):
            yield row, column, (row + HALF) / grid[0], (column + HALF) / grid[1]


def at(maps, y, x):
    """(…) what lies at a place; positions at the edge repeat beyond it."""
    height, width = maps.shape[-2:]
    row, column = y * height - HALF, x * width - HALF
    total = torch.zeros(maps.shape[:-2], dtype=torch.float64)
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            weight = float((1 - abs(row - i)) * (1 - abs(column - j)))
            total += weight * maps[..., min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
    return total


def moved(asked, source):
    """(maps, known) where each place takes what lies at the place that `source` gives."""
    maps, known = torch.empty_like(asked.maps), torch.zeros_like(asked.known)
    for row, column, y, x in places(asked.known.shape):
        from_y, from_x = source(y, x)
        maps[:, :, row, column] = at(asked.maps, from_y, from_x)
        if 0 <= from_y <= 1 and 0 <= from_x <= 1:
            known[row, column] = at(asked.known, from_y, from_x)
    return maps, known


def overlap(low, high, start, stop):
    return max(min(high, stop) - max(low, start), 0)


def share_of(grid, x0, y0, x1, y1):
    """(y, x) how much of each position a box covers."""
    share = torch.zeros(grid, dtype=torch.float64)
    for row in range(grid[0]):
        for column in range(grid[1]):
            rows = overlap(Fraction(row, grid[0]), Fraction(row + 1, grid[0]), y0, y1)
            columns = overlap(Fraction(column, grid[1]), Fraction(column + 1, grid[1]), x0, x1)
            share[row, column] = float(rows * columns * grid[0] * grid[1])
    return share


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def require(found, maps, known, changed):
    close(found.maps, maps)
    close(found.known, known)
    close(found.changed, changed)


@given(grid=grids(6), dx=MOVES, dy=MOVES, seed=SEEDS)
def test_shift_position_by_position(grid, dx, dy, seed):
    asked = asked_on(grid, seed)
    maps, known = moved(asked, lambda y, x: (y - dy, x - dx))
    require(Shift(float(dx), float(dy))(asked), maps, known, torch.ones_like(asked.changed))


@given(grid=grids(6), scale=fractions(Fraction(1, 10), 10), x=INSIDE, y=INSIDE, seed=SEEDS)
def test_zoom_position_by_position(grid, scale, x, y, seed):
    asked = asked_on(grid, seed)
    maps, known = moved(asked, lambda py, px: (y + (py - y) / scale, x + (px - x) / scale))
    require(Zoom(float(scale), float(x), float(y))(asked), maps, known, torch.ones_like(asked.changed))


@given(grid=grids(6), edges=boxes(), x=INSIDE, y=INSIDE, seed=SEEDS)
def test_paste_position_by_position(grid, edges, x, y, seed):
    assume(x < 1 and y < 1)
    asked = asked_on(grid, seed)
    x0, y0, x1, y1 = edges
    maps, known = moved(asked, lambda py, px: (py - y + y0, px - x + x0))
    share = share_of(grid, x, y, min(x + x1 - x0, 1), min(y + y1 - y0, 1))
    require(
        Paste(box(edges), float(x), float(y))(asked),
        asked.maps * (1 - share) + maps * share,
        asked.known * (1 - share) + known * share,
        torch.maximum(asked.changed, share),
    )


@given(
    grid=grids(6),
    axis=st.sampled_from("xy"),
    line=fractions(0, 1, True),
    other=st.sampled_from(["one", "each"]),
    seed=SEEDS,
)
def test_join_position_by_position(grid, axis, line, other, seed):
    asked = asked_on(grid, seed)
    share = share_of(grid, *((line, 0, 1, 1) if axis == "x" else (0, line, 1, 1)))
    require(
        Join(other, axis, float(line))(asked),
        asked.maps * (1 - share) + asked.others[other] * share,
        asked.known * (1 - share) + share,
        torch.maximum(asked.changed, share),
    )


@given(grid=grids(6), edges=boxes(), cluster=st.sampled_from([4, 9]), adds=st.booleans(), seed=SEEDS)
def test_remove_and_add_position_by_position(grid, edges, cluster, adds, seed):
    asked = asked_on(grid, seed)
    share = share_of(grid, *edges)
    maps, changed = asked.maps.clone(), asked.changed.clone()
    known = asked.known.expand_as(changed).clone()
    for unit in asked.clusters[cluster].tolist():
        level = (asked.high if adds else asked.low)[unit]
        maps[:, unit] = maps[:, unit] * (1 - share) + level * share
        changed[unit] = torch.maximum(changed[unit], share)
        known[unit] = torch.maximum(known[unit], share)
    require((Add if adds else Remove)(cluster, box(edges))(asked), maps, known, changed)


def test_a_concept_can_be_put_where_the_scene_moved_away():
    asked = asked_on((4, 4), 0, "all")
    found = apply((Shift(0.5, 0), Add(4, Box(0, 0, 0.5, 1))), asked)
    for unit in range(3):
        is_asked = unit in asked.clusters[4].tolist()
        assert (found.known[unit, :, :2] == (1 if is_asked else 0)).all()
        assert (found.known[unit, :, 2:] == 1).all()


@given(grid=grids(6), data=st.data(), seed=SEEDS, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_a_shift_by_whole_positions_is_a_roll(grid, data, seed, dtype):
    down, right = (data.draw(st.integers(-(n - 1), n - 1)) for n in grid)
    asked = asked_on(grid, seed, "all")
    asked = replace(asked, maps=asked.maps.to(dtype), known=asked.known.to(dtype), changed=asked.changed.to(dtype))
    found = Shift(right / grid[1], down / grid[0])(asked)
    rows, columns = (slice(max(by, 0), n + min(by, 0)) for by, n in zip((down, right), grid, strict=True))
    known = torch.zeros(grid, dtype=dtype)
    known[rows, columns] = 1
    assert torch.equal(found.known, known)
    rolled = torch.roll(asked.maps, (down, right), (2, 3))
    assert torch.equal(found.maps[:, :, rows, columns], rolled[:, :, rows, columns])
    back = Shift(-right / grid[1], -down / grid[0])(found)
    stayed = back.known == 1
    assert stayed.sum() == known.sum()
    assert set(back.known.unique().tolist()) <= {0, 1}
    assert torch.equal(back.maps[:, :, stayed], asked.maps[:, :, stayed])


@given(grid=grids(6), data=st.data(), seed=SEEDS)
def test_shifts_add_up(grid, data, seed):
    first, second = ([data.draw(st.integers(-(n - 1), n - 1)) for n in grid] for _ in range(2))
    both = [a + b for a, b in zip(first, second, strict=True)]
    assume(all(abs(by) < n for by, n in zip(both, grid, strict=True)))
    asked = asked_on(grid, seed, "all")
    steps = [Shift(by[1] / grid[1], by[0] / grid[0]) for by in (first, second, both)]
    found, once = apply(steps[:2], asked), apply(steps[2:], asked)
    known = found.known == 1
    assert (once.known[known] == 1).all()
    assert torch.equal(found.maps[:, :, known], once.maps[:, :, known])


@given(
    grid=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    scale=fractions(Fraction(1, 4), 4),
    slopes=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_zooming_in_and_out_again_keeps_a_ramp(grid, scale, slopes):
    asked = asked_on(grid, 0, "all")
    y, x = (torch.from_numpy((np.arange(n) + 0.5) / n) for n in grid)
    ramp = 1 + slopes[0] * y[:, None] + slopes[1] * x
    asked = replace(asked, maps=ramp.expand_as(asked.maps))
    found = apply([Zoom(float(scale)), Zoom(float(1 / scale))], asked)
    # Away from the border: neither of the two steps takes anything from within half a position of it.
    s = float(scale)
    inner = [
        (p - 0.5).abs() <= min((0.5 - 0.5 / n) / s, 0.5 - 0.5 / n - 1 / (n * s)) - 1e-9
        for p, n in zip((y, x), grid, strict=True)
    ]
    inner = torch.outer(*inner)
    assert (found.known[inner] == 1).all()
    close(found.maps[:, :, inner], asked.maps[:, :, inner])


@given(grid=grids(6), x=INSIDE, y=INSIDE, seed=SEEDS)
def test_a_zoom_of_one_and_a_shift_of_nothing_keep_all(grid, x, y, seed):
    asked = asked_on(grid, seed)
    for edit in (Zoom(1.0, float(x), float(y)), Shift(0.0, 0.0)):
        found = edit(asked)
        assert torch.equal(found.maps, asked.maps)
        assert torch.equal(found.known, asked.known)


@given(grid=grids(6), edges=boxes(), seed=SEEDS)
def test_pasting_onto_itself_keeps_all(grid, edges, seed):
    asked = asked_on(grid, seed)
    found = Paste(box(edges), float(edges[0]), float(edges[1]))(asked)
    close(found.maps, asked.maps)
    close(found.known, asked.known)


@given(grid=grids(6), edges=boxes(), adds=st.booleans(), seed=SEEDS)
def test_a_concept_is_set_inside_and_untouched_outside(grid, edges, adds, seed):
    asked = asked_on(grid, seed, "all")
    found = (Add if adds else Remove)(4, box(edges))(asked)
    share = share_of(grid, *edges)
    inside, outside = share > 1 - 1e-9, share == 0
    level = asked.high if adds else asked.low
    for unit in (0, 2):
        close(found.maps[:, unit, inside], level[unit].expand(2, int(inside.sum())))
    assert torch.equal(found.maps[:, :, outside], asked.maps[:, :, outside])
    assert torch.equal(found.maps[:, 1], asked.maps[:, 1])
    assert (found.changed[:, outside] == 0).all()
    assert (found.changed[1] == 0).all()
    assert (found.known == asked.known).all()


@given(edges=boxes(), grid=grids(6), times=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_a_box_covers_the_same_share_of_every_grid(edges, grid, times):
    area = float((edges[2] - edges[0]) * (edges[3] - edges[1]))
    coarse = box(edges).coverage(*grid)
    assert coarse.shape == grid
    assert coarse.dtype == torch.float64
    assert coarse.sum().item() / math.prod(grid) == pytest.approx(area, abs=1e-9)
    assert coarse.min() >= 0
    assert coarse.max() <= 1
    fine = box(edges).coverage(grid[0] * times[0], grid[1] * times[1])
    pooled = torch.nn.functional.avg_pool2d(fine[None, None], times)[0, 0]
    close(pooled, coarse)
    close(coarse, share_of(grid, *edges))


EDITS = (
    Shift(0.3, -0.2),
    Zoom(1.7, 0.2, 0.9),
    Paste(Box(0, 0.2, 0.6, 0.7), 0.35, 0.1),
    Join("one", "x", 0.4),
    Join("each", "y", 0.5),
    Remove(4, Box(0.1, 0.1, 0.8, 0.6)),
    Add(9, Box(0.1, 0.1, 0.8, 0.6)),
)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: type(edit).__name__.lower())
def test_an_edit_leaves_its_input_alone(edit):
    asked, before = asked_on((4, 5), 3), asked_on((4, 5), 3)
    found = edit(asked)
    found.maps.add_(1)
    for name in ("maps", "known", "changed", "low", "high"):
        assert torch.equal(getattr(asked, name), getattr(before, name)), name
    assert all(torch.equal(asked.others[name], before.others[name]) for name in before.others)


@pytest.mark.parametrize("edit", [Remove(7), Remove(7, Box(0, 0, 0.5, 0.5)), Add(7, Box(0, 0, 0.5, 0.5))])
def test_a_cluster_without_units_here_changes_nothing(edit):
    asked = asked_on((4, 5), 3)
    found = edit(asked)
    for name in ("maps", "known", "changed"):
        assert torch.equal(getattr(found, name), getattr(asked, name))


def test_no_edits_change_nothing():
    asked = asked_on((4, 5), 3)
    assert apply([], asked) is asked


def test_changed_grows_with_every_edit():
    asked = asked_on((4, 4), 3, "all")
    left, right = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)
    found = Remove(4, left)(asked)
    assert found.changed[0, 0].tolist() == found.changed[2, 3].tolist() == [1, 1, 0, 0]
    assert (found.changed[1] == 0).all()
    found = Add(9, right)(found)
    assert found.changed[0, 0].tolist() == [1, 1, 0, 0]
    assert found.changed[1, 0].tolist() == [0, 0, 1, 1]
    found = Join("one", "x", 0.875)(found)
    assert found.changed[0, 0].tolist() == [1, 1, 0, 0.5]
    assert found.changed[1, 0].tolist() == [0, 0, 1, 1]
    assert (Shift(0.1, 0)(found).changed == 1).all()
    assert WHOLE.coverage(3, 2).tolist() == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Box(-0.1, 0, 1, 1), "-0.1,0,1,1"),
        (lambda: Box(0, 0, 1, 1.5), "0,0,1,1.5"),
        (lambda: Box(0.5, 0, 0.5, 1), "0.5,0,0.5,1"),
        (lambda: Box(0.6, 0, 0.5, 1), "0.6,0,0.5,1"),
        (lambda: Box(0, math.nan, 0.5, 1), "0,nan,0.5,1"),
        (lambda: Zoom(0.0), "zoom 0 "),
        (lambda: Zoom(-2.0), "zoom -2 "),
        (lambda: Zoom(11.0), "zoom 11 "),
        (lambda: Zoom(math.nan), "zoom nan "),
        (lambda: Zoom(2.0, 1.2, 0.5), "place 1.2,0.5 "),
        (lambda: Shift(1.0, 0.0), "shift 1,0 "),
        (lambda: Shift(0.0, -1.0), "shift 0,-1 "),
        (lambda: Shift(math.nan, 0.0), "shift nan,0 "),
        (lambda: Paste(WHOLE, 1.0, 0.0), "paste 1,0 "),
        (lambda: Paste(WHOLE, 0.0, 1.0), "paste 0,1 "),
        (lambda: Paste(WHOLE, -0.1, 0.0), "place -0.1,0 "),
        (lambda: Join("7", "x", 1.0), "join at x=1 "),
        (lambda: Join("7", "y", 0.0), "join at y=0 "),
        (lambda: Join("7", "z", 0.5), "join at z=0.5 "),
        (lambda: Join("7", "x", math.nan), "join at x=nan "),
    ],
)
def test_edits_that_make_no_sense_are_refused(make, named):
    with pytest.raises(UserError) as caught:
        make()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_clusters_that_edits_name():
    assert clusters_of(EDITS) == (4, 9)
    assert clusters_of(EDITS[:3]) == ()


def test_all_layers_of_a_model_are_edited_alike():
    random = np.random.default_rng(0)
    held = statistics([(3, (4, 4)), (2, (2, 6)), (2, (3, 3))], random)
    maps, other = (maps_of(held, count, random) for count in (2, 1))
    clusters = {4: np.array([0, 3]), 9: np.array([3, 4])}
    edits = [Join("that", "x", 0.5), Remove(4, Box(0, 0, 0.5, 1))]
    edited = edited_maps(held, clusters, maps, edits, {"that": other})
    assert edited.units.tolist() == [0, 3, 4]
    assert list(edited.layers) == ["l0", "l1"]  # no unit of the third layer belongs to a cluster
    (first, in_first), (second, in_second) = edited.layers.values()
    assert (first.tolist(), second.tolist()) == ([0], [3, 4])
    low = held.mean - held.std
    close(in_first.maps[:, 0, :, :2], torch.full((2, 4, 2), low[0], dtype=torch.float64))
    close(in_first.maps[:, 0, :, 2:], other["l0"][:, 0, :, 2:].expand(2, -1, -1))
    close(in_second.maps[:, 0, :, :3], torch.full((2, 2, 3), low[3], dtype=torch.float64))
    close(in_second.maps[:, 1, :, :3], maps["l1"][:, 1, :, :3])
    assert edited.touched().tolist() == [0, 3, 4]
    assert edited_maps(held, clusters, maps, edits[1:]).touched().tolist() == [0, 3]
    wanted = {name: maps[name].clone() for name in maps}
    wanted["l0"][:, [0]], wanted["l1"] = in_first.maps, in_second.maps
    target = edited.target(edited.units)
    assert target.weight == 3
    close(target(wanted), torch.ones(2, dtype=torch.float64))
    assert (target(maps) < 0.99).all()
    close(edited.target(np.array([4]))({**maps, "l1": in_second.maps}), torch.ones(2, dtype=torch.float64))


def test_what_left_the_image_is_not_asked_for():
    random = np.random.default_rng(1)
    held = statistics([(2, (4, 4))], random)
    maps = maps_of(held, 1, random)
    edited = edited_maps(held, {0: np.array([0, 1])}, maps, [Shift(0.5, 0)])
    seen = {"l0": torch.roll(maps["l0"], 2, 3)}
    seen["l0"][..., :2] = 99
    close(edited.target(np.array([0, 1]))(seen), torch.ones(1, dtype=torch.float64))
