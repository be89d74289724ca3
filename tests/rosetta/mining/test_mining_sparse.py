"""Matrices without their zeros against the same matrices with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rosetta.mining.factors import factors
from rosetta.mining.moments import Accumulator
from rosetta.mining.sparse import SparseRows
from rosetta.units import Layer, Units


@st.composite
def matrices(draw: st.DrawFn) -> torch.Tensor:
    """Some rows and columns, mostly zeros; whole rows and columns of them, too."""
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.05, 0.3]))
    values = np.where(random.random((rows, columns)) < share, random.normal(size=(rows, columns)), 0)
    return torch.from_numpy(values.astype(np.float32))


@given(matrices(), st.integers(1, 9), st.booleans())
def test_what_is_left_out_counts(matrix: torch.Tensor, size: int, shifted: bool) -> None:
    """Every use of the rows is that of the whole matrix, in any pieces."""
    rows = SparseRows.of(matrix)
    shift = torch.linspace(-1, 2, len(matrix))
    if shifted:
        rows, matrix = rows.less(shift), matrix - shift[:, None]
    assert torch.equal(rows.dense(), matrix)
    assert torch.equal(rows.upright(), matrix.T)
    assert rows.upright().is_contiguous()
    assert torch.equal(torch.cat([piece.dense() for piece in rows.split(size)], dim=1), matrix)
    other = torch.randn(matrix.shape[1], 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows.times(other), matrix @ other, atol=1e-5, rtol=1e-5)
    sums, squares = rows.sums()
    torch.testing.assert_close(sums, matrix.double().sum(dim=1), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(squares, matrix.double().square().sum(dim=1), atol=1e-6, rtol=1e-6)


@given(matrices(), st.integers(1, 9), st.integers(0, 12))
def test_pieces_come_together_again(matrix: torch.Tensor, size: int, row: int) -> None:
    rows = SparseRows.of(matrix)
    assert torch.equal(SparseRows.beside(rows.split(size)).dense(), matrix)
    halves = [rows.of_rows(slice(None, row)), rows.of_rows(slice(row, None))]
    assert torch.equal(SparseRows.stacked(halves).dense(), matrix)


FEATURES = Layer("features", 40, (6, 5))
GRIDS = {"the same": (6, 5), "coarser": (3, 5), "finer": (9, 10), "finer and coarser": (3, 10)}


@pytest.mark.parametrize("grids", [*GRIDS, "all"])
@pytest.mark.parametrize("steps", [1, 3])
def test_moments_are_those_of_dense_maps(grids: str, steps: int) -> None:
    """On any grid of the other side, on either side, and with itself."""
    random = np.random.default_rng(1)
    own = Units((FEATURES,))
    chosen = GRIDS.values() if grids == "all" else [GRIDS[grids]]
    other = Units(tuple(Layer(f"l{number}", 7, grid) for number, grid in enumerate(chosen)))
    shifts = [random.normal(scale=0.1, size=len(units)).astype(np.float32) for units in (own, other)]
    pairs = [(own, other), (other, own), (own, own)]
    made = {kind: [Accumulator(*pair) for pair in pairs] for kind in ("dense", "sparse")}
    for _ in range(steps):
        shape = (4, 40, 6, 5)
        values = np.where(random.random(shape) < 0.03, random.exponential(size=shape), 0).astype(np.float32)
        maps = {"features": torch.from_numpy(values)}
        rows = {"features": SparseRows.of(maps["features"].transpose(0, 1).flatten(1))}
        beside = {
            layer.name: torch.from_numpy(random.normal(size=(4, 7, *layer.grid)).astype(np.float32))
            for layer in other.layers
        }
        for kind, ours in (("dense", maps), ("sparse", rows)):
            met = (*other.grids(), (6, 5))
            mine = factors(own, ours, shifts[0], tuple(dict.fromkeys(met)))
            theirs = factors(other, beside, shifts[1], own.grids())
            for total, sides in zip(made[kind], [(mine, theirs), (theirs, mine), (mine, mine)], strict=True):
                total.add(*sides)
    for dense, sparse in zip(*made.values(), strict=True):
        one, two = dense.moments(), sparse.moments()
        for name in ("cross", "sum_a", "square_a", "sum_b", "square_b"):
            np.testing.assert_allclose(getattr(two, name), getattr(one, name), atol=2e-5, rtol=1e-5)


def test_a_factor_stays_sparse_on_its_own_grid_only() -> None:
    rows = {"features": SparseRows.of(torch.eye(40, 30))}
    made = factors(Units((FEATURES,)), rows, np.zeros(40, np.float32), ((6, 5), (3, 5)))
    assert isinstance(made.maps[0][6, 5], SparseRows)
    assert isinstance(made.maps[0][3, 5], torch.Tensor)
    assert made.images == 1
