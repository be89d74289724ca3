"""Products summed in float32 stay within their bound, wherever they are joined, and no step waits for a device."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grids
from torch.utils._python_dispatch import TorchDispatchMode

from rosetta.mining import factors as factors_module
from rosetta.mining import moments as moments_module
from rosetta.mining.factor_sums import sums_on
from rosetta.mining.factors import factors, halved_factors
from rosetta.mining.gpu_copy import Staging, in_turn
from rosetta.mining.grid import common_grid, upsampling
from rosetta.mining.moments import Accumulator
from rosetta.mining.room import Room
from rosetta.mining.split import Split
from rosetta.units import Layer, Units

TERMS = 8192
UNIT = 2.0**-24
BOUND = TERMS * UNIT / (1 - TERMS * UNIT)


def made(units, maps, shift, other, **options):
    """Factors of maps that are given as arrays."""
    return factors(units, {name: torch.from_numpy(x) for name, x in maps.items()}, shift, other, **options)


def random_side(random, layers, images):
    """Units, float32 maps and a shift near their means."""
    units = Units(tuple(Layer(f"l{i}", channels, grid) for i, (channels, grid) in enumerate(layers)))
    maps = {x.name: random.normal(size=(images, x.channels, *x.grid)).astype(np.float32) for x in units.layers}
    return units, maps, random.normal(size=len(units)).astype(np.float32)


HOSTILE = {
    "all alike, so that every addition rounds the same way": lambda random, shape: np.full(shape, 0.1),
    "of one sign": lambda random, shape: random.exponential(size=shape),
    "a mean of a thousand spreads, which the shift has missed": lambda random, shape: random.normal(1e3, 1, shape),
    "one huge value first": lambda random, shape: np.where(np.arange(shape[-1]) == 0, 1e4, random.normal(size=shape)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize(("grid", "step", "steps"), [((4, 4), 1, 2000), ((40, 40), 4, 6), ((100, 100), 2, 3)])
def test_hostile_products_err_within_the_bound(kind, grid, step, steps):
    random = np.random.default_rng(0)
    units = Units((Layer("l", 3, grid),))
    shift = np.zeros(3, dtype=np.float32)
    total, exact, size = Accumulator(units, units), np.zeros((3, 3)), np.zeros((3, 3))
    for _ in range(steps):
        maps = [HOSTILE[kind](random, (step, 3, *grid)).astype(np.float32) for _ in range(2)]
        total.add(*(made(units, {"l": x}, shift, (grid,)) for x in maps))
        a, b = (x.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1) for x in maps)
        exact += a @ b.T
        size += np.abs(a) @ np.abs(b).T
    error = np.abs(total.moments().cross - exact) / size
    assert error.max() <= BOUND
    # The bound is for additions in the worst order. Matrix products add in blocks, and stay far below it.
    assert error.max() <= 2e-5


@pytest.mark.parametrize(
    ("dtype", "steps", "settled"),
    [
        (torch.float32, 20, {6 * 1280: 3, 2 * 1280: 1}),
        (torch.bfloat16, 60, {51 * 1280: 1, 9 * 1280: 1}),
    ],
)
def test_products_go_to_float64_after_so_many_terms_and_no_earlier(monkeypatch, dtype, steps, settled):
    units, grid = Units((Layer("l", 2, (16, 16)),)), (16, 16)
    maps = np.random.default_rng(1).normal(size=(5, 2, *grid)).astype(np.float32)
    side = made(units, {"l": maps}, np.zeros(2, np.float32), (grid,), dtype=dtype)
    total, seen = Accumulator(units, units), Counter()
    settle = total._settle

    def watched(product):
        seen.update([product.terms])
        settle(product)

    monkeypatch.setattr(total, "_settle", watched)
    for _ in range(steps):
        total.add(side, side)
    cross = total.moments().cross
    assert seen == settled
    own = side.maps[0][grid].double()
    # On a processor torch rounds each product of bfloat16 to it.
    tolerance = 1e-6 if dtype == torch.float32 else 5e-3
    np.testing.assert_allclose(cross, steps * (own @ own.T).numpy(), atol=tolerance * np.abs(cross).max())


@given(
    layers=st.lists(st.tuples(st.integers(1, 40), grids(4)), min_size=1, max_size=4),
    joined=st.integers(2, 4),
    above=st.booleans(),
    seed=SEEDS,
)
def test_joined_panels_give_the_same_moments(layers, joined, above, seed):
    random = np.random.default_rng(seed)
    side = random_side(random, layers, 3)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (factors_module, moments_module):
            patch.setattr(module, "PANEL", 16)
        factor = made(*side, side[0].grids())
        for panels in (1, joined):
            patch.setitem(moments_module._JOINED, "cpu", panels)
            total = Accumulator(side[0], side[0], above=(0, 0) if above else None)
            total.add(factor, factor)
            total.add(factor, factor)
            found.append(total.moments())
    assert len(vars(found[0])) == 6
    for name, values in vars(found[0]).items():
        np.testing.assert_allclose(getattr(found[1], name), values, rtol=1e-5, atol=1e-3, err_msg=name)
    np.testing.assert_array_equal(found[0].cross == 0, found[1].cross == 0)


@given(own=grids(9), others=st.lists(grids(12), min_size=1, max_size=4), seed=SEEDS)
def test_sums_on_common_grids_are_those_of_upsampled_maps(own, others, seed):
    maps = torch.from_numpy(np.random.default_rng(seed).normal(0.3, 1, (2, 3, *own))).float()
    sums, squares = sums_on(maps, others, Room())
    for column, other in enumerate(others):
        common = common_grid(own, other)
        down, across = (torch.tensor(upsampling(*sides)) for sides in zip(own, common, strict=True))
        upsampled = down @ maps.double() @ across.T
        torch.testing.assert_close(sums[0, :, column], upsampled.sum(dim=(1, 2, 3)), atol=1e-3, rtol=1e-6)
        torch.testing.assert_close(squares[0, :, column], upsampled.square().sum(dim=(1, 2, 3)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 0.3])
def test_sums_over_large_maps_hardly_round(value):
    # In a row of additions that all round the same way, half a million positions would be off by 1e-4.
    maps = torch.full((1, 2, 512, 512), value)
    for common in ((512, 512), (512, 513)):
        sums, squares = sums_on(maps, [common], Room())
        exact = maps[0, 0, 0, 0].double() * maps.shape[1] * common[0] * common[1]
        torch.testing.assert_close(sums[0, 0, 0], exact, rtol=1e-6, atol=0)
        torch.testing.assert_close(squares[0, 0, 0], exact * maps[0, 0, 0, 0].double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_a_unit_without_finite_squares_harms_no_other(bad):
    maps = torch.ones((3, 2, 4, 5))
    maps[1] = bad
    _, squares = sums_on(maps, [(4, 5), (8, 5), (9, 9)], Room())
    assert torch.isfinite(squares[0, [0, 2]]).all()
    assert not torch.isfinite(squares[0, 1]).any()


# ---- no step waits for a device


WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select"}


class Crossings(TorchDispatchMode):
    """Counts what makes the host wait: values asked for, and tensors that go from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        # Numbers that stand in a tensor on the host are handed over with the kernel.
        devices = {x.device for x in tensors if x.ndim or x.device.type != "cpu"}
        if name in WAITING or len(devices) > 1:
            self.seen[name] += 1
        return result


LAYERS_A = [(40, (16, 16)), (30, (8, 8)), (20, (28, 28))]
LAYERS_B = [(20, (14, 14)), (50, (7, 7)), (8, (32, 32))]


def whole_step(device, dtype=torch.float32, summed=True):
    """Two sides and an accumulator on a device, and what adds one step of images to it."""
    random = np.random.default_rng(2)
    a, b = (random_side(random, layers, 4) for layers in (LAYERS_A, LAYERS_B))
    stored = [{name: torch.from_numpy(x).half().to(device) for name, x in side[1].items()} for side in (a, b)]
    total, room = Accumulator(a[0], b[0], device=device), Room()
    split = Split((1, 3), torch.tensor([2, 0, 1, 3], device=device))
    union = tuple(dict.fromkeys([(5, 9), *b[0].grids(), (64, 64)]))

    def step():
        options = {"device": device, "dtype": dtype, "room": room, "summed": summed}
        of_a = halved_factors(a[0], stored[0], a[2], union, split, side="a", **options)
        of_b = halved_factors(b[0], stored[1], b[2], a[0].grids(), split, side="b", **options)
        for halves in zip(of_a.halves, of_b.halves, strict=True):
            total.add(*halves)

    return total, step


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("summed", [True, False])
def test_nothing_crosses_between_host_and_device_in_a_step(monkeypatch, dtype, summed):
    # The meta device has no values at all: whatever asks for one fails, and whatever comes from the host is seen.
    monkeypatch.setitem(moments_module._JOINED, "meta", 4)
    total, step = whole_step("meta", dtype, summed)
    with Crossings() as first:
        step()
    assert set(first.seen) <= {"aten::_to_copy", "aten::copy_"}, "shifts and weights, once"
    with Crossings() as second:
        for _ in range(3):
            step()
    assert not second.seen
    with pytest.raises(NotImplementedError, match="meta"):
        total.moments()


def test_the_stand_in_sees_what_crosses():
    there = torch.ones(3, device="meta")
    for crosses, name in (
        (lambda: torch.ones(3).to("meta"), "aten::_to_copy"),
        (lambda: there.copy_(torch.ones(3)), "aten::copy_"),
        (lambda: torch.ones(3).sum().item(), "aten::_local_scalar_dense"),
        (lambda: torch.ones(3).nonzero(), "aten::nonzero"),
    ):
        with Crossings() as crossings:
            crosses()
        assert crossings.seen[name] == 1
    with Crossings() as crossings:
        there.mul_(2.0).add_(there)
    assert not crossings.seen


def test_another_shift_in_the_same_room_is_another_shift():
    units, grid, room = Units((Layer("l", 2, (3, 3)),)), (3, 3), Room()
    maps = {"l": np.ones((2, 2, 3, 3), dtype=np.float32)}
    for shift in ([0.0, 0.0], [1.0, 3.0], [1.0, 2.0]):
        found = made(units, maps, np.float32(shift), (grid,), room=room, side="a").maps[0][grid]
        np.testing.assert_array_equal(found, np.repeat([1 - np.float32(shift)], 18, axis=0).T)


def test_pinned_memory_is_used_again():
    staging = Staging(pinned=False)
    random = torch.Generator().manual_seed(0)
    places = []
    for scale in (1, 2, 2, 1):
        tensors = [
            torch.randn((scale, 3, 4), generator=random).transpose(0, 2),
            torch.randn(5, generator=random).half(),
            torch.zeros((0, 2), dtype=torch.float64),
        ]
        staging.begin()
        staged = [staging.put(tensor) for tensor in tensors]
        for tensor, copy in zip(tensors, staged, strict=True):
            torch.testing.assert_close(copy, tensor, rtol=0, atol=0)
            assert copy.dtype == tensor.dtype
        places.append([copy.data_ptr() for copy in staged[:2]])
    assert places[1] == places[2] == places[3], "nothing is taken anew for an item no larger than one before"


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_on_cuda_never_waits(dtype):
    total, step = whole_step("cuda", dtype)
    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(40):  # float32 sums are added to those in float64 on the way
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_host, step = whole_step("cpu")
    for _ in range(41):
        step()
    found, expected = total.moments(), on_host.moments()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    for name, values in vars(expected).items():
        error = np.abs(getattr(found, name) - values).max() / np.abs(values).max()
        assert error < tolerance, name


@cuda
def test_items_arrive_whole_on_cuda():
    random = torch.Generator().manual_seed(0)
    items = [torch.randn((3, 1 + size % 5, 700), generator=random).transpose(0, 1) for size in range(40)]
    device = torch.device("cuda")
    for item, moved in zip(items, in_turn(items, lambda item, move: move(item), device), strict=True):
        assert moved.is_cuda
        torch.testing.assert_close((moved * 2).cpu(), item * 2, rtol=0, atol=0)
