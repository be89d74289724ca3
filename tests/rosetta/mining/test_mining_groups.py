"""Groups of pairs: whatever the shapes, every pair stands in one, memory is kept, and no store is read without need."""

from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import sides

from rosetta.errors import UserError
from rosetta.mining.groups import plan_groups
from rosetta.mining.plan import Side, plan_pair
from rosetta.units import Layer, Units

MIB = 2**20


@given(
    data=st.data(),
    images=st.integers(1, 5000),
    memory=st.integers(1, 2**14),
    threads=st.integers(1, 16),
    workers=st.integers(1, 9),
)
def test_groups_keep_their_memory_and_leave_no_pair_out(data, images, memory, threads, workers):
    models = {name: data.draw(sides(images)) for name in "abcd"}
    pairs = data.draw(
        st.lists(st.sampled_from(list(combinations_with_replacement(models, 2))), min_size=1, unique=True)
    )
    room = {"memory": memory * MIB, "threads": threads, "workers": workers, "fewer": True}
    try:
        groups = plan_groups(models, pairs, **room)
    except UserError:
        with pytest.raises(UserError, match=r"compute.memory"):
            plan_groups(models, pairs, memory=memory * MIB, threads=1)
        return
    assert sorted(pair for group in groups for pair in group.pairs) == sorted(pairs)
    for group in groups:
        assert group.first.peak_bytes <= memory * MIB
        assert 1 <= group.first.threads <= threads
        for pair, cut in zip(group.pairs, group.plans, strict=True):
            alone = plan_pair(*(models[model] for model in pair), memory=1 << 60, threads=1)
            # What decides about the bytes that come out does not depend on the rest.
            assert (cut.step_images, cut.range_images) == (alone.step_images, alone.range_images)
            assert (cut.step_images, cut.range_images) == (group.first.step_images, group.first.range_images)
            assert len(cut.tiles) == 1 or len(group.pairs) == 1
        if len(group.pairs) > 1 or len(group.first.tiles) == 1:
            read = {model for pair in group.pairs for model in pair}
            stored = {name: side.images * sum(map(side.stored, side.units.layers)) for name, side in models.items()}
            assert sum(cut.bytes_read for cut in group.plans) == sum(stored[model] for model in read)


def model(channels: int, grid: int, images: int = 4096) -> Side:
    return Side(Units((Layer("l", channels, (grid, grid)),)), images, 16)


MODELS = {"a": model(512, 14), "b": model(768, 28), "c": model(300, 7)}
STAR = [("a", "a"), ("a", "b"), ("a", "c")]


def test_pairs_that_fit_are_read_together():
    (group,) = plan_groups(MODELS, STAR, memory=4 << 30, threads=2, fewer=True)
    assert group.pairs == tuple(STAR)
    each = [4 * 4096 * side.units.layers[0].values for side in MODELS.values()]
    assert [cut.bytes_read for cut in group.plans] == each


def test_less_memory_makes_more_groups():
    counts = [len(plan_groups(MODELS, STAR, memory=memory * MIB, threads=2, fewer=True)) for memory in (250, 400, 4096)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 1


def test_many_workers_get_something_to_do():
    (kind,) = {(cut.first.range_images) for cut in plan_groups(MODELS, STAR, memory=4 << 30, threads=1)}
    tasks = -(-4096 // kind)
    groups = plan_groups(MODELS, STAR, memory=4 << 30, threads=1, workers=3 * tasks)
    assert len(groups) == len(STAR)
