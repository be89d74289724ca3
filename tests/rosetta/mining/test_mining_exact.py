"""Sums that do not depend on the order of their terms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.exact import Scales, add_exactly, quantum
from rosetta.mining.factors import factors
from rosetta.mining.moments import Accumulator, segment_order
from rosetta.units import Layer, Units

TERMS = 1 << 12


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=60), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_bits(values: list[float], random) -> None:
    shuffled = random.sample(values, len(values))
    sums = [total(some) for some in (values, shuffled)]
    assert sums[0].numpy().tobytes() == sums[1].numpy().tobytes()


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60))
def test_a_sum_is_that_of_its_terms(values: list[float]) -> None:
    assert abs(float(total(values)) - float(np.sum(np.float64(values)))) <= len(values) * quantum(TERMS) / 2


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=60), st.integers(1, 59))
def test_sums_of_parts_add_up(values: list[float], cut: int) -> None:
    cut = min(cut, len(values) - 1)
    assert total(values[:cut]) + total(values[cut:]) == total(values)


def total(values: list[float]) -> torch.Tensor:
    found = torch.zeros((), dtype=torch.float64)
    for value in values:
        add_exactly(found, torch.tensor(value, dtype=torch.float64), quantum(TERMS))
    return found


@pytest.mark.parametrize("terms", [1, 2, 1000, 10**6 * 4096])
def test_the_quantum_leaves_room_for_all_terms(terms: int) -> None:
    """A sum of so many products of 2⁵ each is below 2⁵³ quanta."""
    assert terms * 2.0**5 <= 2.0**53 * quantum(terms)
    assert quantum(terms, powers=True) == quantum(terms) * 2.0**14


def test_products_come_to_the_same_bits_in_any_order_of_blocks() -> None:
    random = np.random.default_rng(0)
    units = Units((Layer("a", 5, (4, 4)), Layer("b", 3, (2, 2))))
    spread = random.uniform(1e-3, 1e3, len(units))
    blocks = [
        {
            layer.name: torch.from_numpy(
                (random.normal(size=(8, layer.channels, *layer.grid)) * spread[span, None, None]).astype(np.float32)
            )
            for layer, span in units.spans()
        }
        for _ in range(6)
    ]
    scale = torch.from_numpy(np.exp2(-np.floor(np.log2(spread)))[segment_order(units)])
    exact, plain = (crosses(units, blocks, order, scale) for order in (range(6), reversed(range(6))))
    assert exact.tobytes() == plain.tobytes()
    products = crosses(units, blocks, range(6), None)
    np.testing.assert_allclose(exact, products * np.outer(scale, scale), rtol=0, atol=6 * 8 * 16 * 1e-6)


def crosses(units: Units, blocks: list, order, scale: torch.Tensor | None) -> np.ndarray:
    scales = None if scale is None else Scales(scale, scale, quantum(48 * 16))
    sums = Accumulator(units, units, scales=scales)
    for number in order:
        made = factors(units, blocks[number], np.zeros(len(units), np.float32), units.grids(), summed=False)
        sums.add(made, made)
        sums.settle()
    return sums.cross.numpy()
