"""The plan alone: whatever the shapes, the memory is kept, every unit and image is covered, and little is read."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import sides

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import PairPlan, Side, plan_pair
from rosetta.units import Layer, Units

MIB = 2**20


def covered(spans, count):
    return [i for start, stop in sorted(spans) for i in range(start, stop)] == list(range(count))


@given(data=st.data(), images=st.integers(1, 5000), memory=st.integers(1, 2**14), threads=st.integers(1, 16))
def test_a_plan_keeps_its_memory_and_leaves_nothing_out(data, images, memory, threads):
    a, b = data.draw(sides(images)), data.draw(sides(images))
    try:
        plan = plan_pair(a, b, memory=memory * MIB, threads=threads, workers=2)
    except UserError as error:
        # What the error asks for is enough, and not much more than enough.
        needed = int(re.search(r"at least (\d+) MiB", str(error))[1])
        assert needed > memory
        assert plan_pair(a, b, memory=needed * MIB, threads=threads).threads == threads
        if needed > 2:
            with pytest.raises(UserError):
                plan_pair(a, b, memory=(needed - 2) * MIB, threads=threads)
        return
    assert plan.peak_bytes <= memory * MIB
    assert len(plan.tiles) == plan.passes[0] * plan.passes[1]
    for side, count in enumerate(plan.units):
        assert covered(dict.fromkeys((tile[side].start, tile[side].stop) for tile in plan.tiles), count)
    assert covered([(span.start, span.stop) for span in plan.image_ranges], images)
    assert all(edge % PANEL == 0 for rows, columns in plan.tiles for edge in (rows.start, columns.start))
    assert plan.range_images % max(a.block, b.block) == 0, "a chunk belongs to one range"
    whole = sum(
        side.images * layer.values * 4 * times
        for side, times in zip((a, b), plan.passes, strict=True)
        for layer in side.units.layers
    )
    assert whole <= plan.bytes_read <= whole * 2 * max(plan.passes)


@given(data=st.data(), images=st.integers(1, 5000))
def test_memory_and_workers_change_no_sum(data, images):
    a, b = data.draw(sides(images)), data.draw(sides(images))
    plans = [
        plan_pair(a, b, memory=memory * MIB, threads=threads, workers=workers, fewer=True)
        for memory, threads, workers in ((8 << 10, 1, 1), (32 << 10, 16, 3), (256 << 10, 4, 40))
    ]
    assert len({(plan.step_images, plan.range_images, plan.operations) for plan in plans}) == 1


def wide(channels: int, layers: int, images: int = 4096) -> Side:
    units = Units(tuple(Layer(f"l{i}", channels, (14, 14)) for i in range(layers)))
    return Side(units, images, 16)


def test_more_memory_reads_less():
    a, b = wide(1536, 24), wide(1024, 4)
    plans = [plan_pair(a, b, memory=gib << 30, threads=2) for gib in (1, 2, 32)]
    read = [plan.bytes_read for plan in plans]
    assert read == sorted(read, reverse=True)
    assert read[0] > read[-1]
    one = plans[-1]
    assert one.bytes_read == 4096 * 4 * (36_864 + 4_096) * 196, "everything once"
    assert one.operations == 2 * 36_864 * 4_096 * 196 * 4096


def test_short_memory_runs_fewer_tasks_at_once_on_threads_only():
    a, b = wide(1536, 24), wide(1024, 4)
    assert plan_pair(a, b, memory=1 << 30, threads=64, fewer=True).threads < 64
    with pytest.raises(UserError, match=r"needs at least \d+ MiB a worker of 64 threads"):
        plan_pair(a, b, memory=1 << 30, threads=64)


def test_many_workers_get_smaller_tiles():
    a, b = wide(1536, 24), wide(1024, 4)
    few, many = (plan_pair(a, b, memory=64 << 30, threads=1, workers=workers) for workers in (1, 200))
    assert len(few.tiles) == 1
    assert len(many.tiles) * len(many.image_ranges) >= 200


def test_sixteen_threads_fit_the_default_memory():
    plan = plan_pair(wide(1536, 24), wide(1024, 4), memory=2 << 30, threads=16, fewer=True)
    assert isinstance(plan, PairPlan)
    assert plan.threads == 16
    assert np.prod(plan.passes) == len(plan.tiles)
