"""Passes hold every model and every pair once, and fit into the memory."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.streamed.passes import PAIR_BYTES, block_images, passing_bytes, plan_passes
from rosetta.units import Layer, Units

MIB = 2**20


def units_of(sizes: dict[str, int]) -> dict[str, Units]:
    return {name: Units((Layer("one", size, (2, 2)),)) for name, size in sizes.items()}


@given(
    st.lists(st.integers(1, 6000), min_size=2, max_size=4),
    st.integers(60, 4000),
    st.sampled_from([1, 16, 64]),
)
def test_every_pair_is_summed_once_within_memory(sizes: list[int], memory_mib: int, block: int) -> None:
    units = units_of({chr(97 + number): size for number, size in enumerate(sizes)})
    pairs = [("a", name) for name in units]
    profiles = {name: 1000 * len(one) for name, one in units.items()}
    beside = passing_bytes(units, pairs, block)
    assume(beside + max(*profiles.values(), PAIR_BYTES * PANEL * PANEL) <= memory_mib * MIB)
    passes = plan_passes(units, pairs, profiles, block, memory_mib * MIB)
    assert sorted(model for one in passes for model in one.profiled) == sorted(units)
    for a, b in pairs:
        seen = np.zeros((len(units[a]), len(units[b])), int)
        for one in passes:
            for pair, (rows, columns) in one.tiles:
                if pair == (a, b):
                    assert rows.start % PANEL == 0
                    assert columns.start % PANEL == 0
                    seen[rows, columns] += 1
        assert (seen == 1).all()
    for one in passes:
        products = sum((r.stop - r.start) * (c.stop - c.start) for _, (r, c) in one.tiles)
        assert one.sums_bytes == PAIR_BYTES * products + sum(profiles[model] for model in one.profiled)
        assert one.sums_bytes + beside <= memory_mib * MIB


def test_enough_memory_is_one_pass() -> None:
    units = units_of({"a": 3000, "b": 2000})
    passes = plan_passes(units, [("a", "a"), ("a", "b")], {"a": 10, "b": 10}, 16, 2**34)
    assert len(passes) == 1
    assert passes[0].models == {"a", "b"}


def test_too_little_memory_is_refused_with_what_would_do() -> None:
    units = units_of({"a": 3000, "b": 2000})
    with pytest.raises(UserError, match=r"compute.memory: 1 MiB is too little; .* needs at least \d+ MiB"):
        plan_passes(units, [("a", "b")], {"a": 10, "b": 10}, 16, MIB)


@given(st.integers(16, 10**6), st.integers(1, 10**7))
def test_there_are_at_least_four_blocks(images: int, values: int) -> None:
    block = block_images([Units((Layer("one", 1, (1, values)),))], images, "cpu")
    assert block & (block - 1) == 0
    assert 4 * block <= images
