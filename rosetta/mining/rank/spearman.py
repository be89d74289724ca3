"""One Spearman correlation per pair of units, over a whole image set: the Pearson correlation of ranks.

Both maps of a pair are upsampled to the common grid (`U`: bilinear, as ``torch.nn.functional.interpolate`` with
``mode="bilinear", align_corners=False``), all images and positions are joined, values become ranks (ties share their
average), and the ranks are correlated.

Pearson's way round the upsampling, ``⟨U a, b⟩ = ⟨a, Uᵀb⟩``, does not lead here. It moves a *linear* map from one side
of a product to the other, and ranking is not linear: ``rank(U a) ≠ U rank(a)``, so between the two maps of
``⟨rank(U a), rank(U b)⟩`` and `U` stands a function that no matrix undoes. Nor do the ranks of native values tell those
of interpolated ones. Maps are therefore really upsampled, ranked on the common grid, and multiplied there, one pair of
distinct grids at a time. With `n` values per unit, images × positions of the common grid, this is done in two ways:

- *exact*: all values of both sides are kept (4 bytes each), every unit is sorted, ``O(n log n)``, and the ranks are
  multiplied. One reading of each source per grid, and memory that grows with the images (:func:`exact_bytes`).
- *sketched*: each unit gets a :class:`~rosetta.mining.rank.sketch.Sketch`, up to `EDGES` values that cut its range into
  cells of nearly equal mass, with the exact count of each cell. A value's rank is then looked up, ``O(n log EDGES)``,
  as the average rank of its cell. The result is exactly the Spearman correlation of the values rounded to cells, at
  most :func:`~rosetta.mining.rank.sketch.sketch_bound` off. Three readings of the sources, block by block, and memory
  that does not grow with the images (:func:`~rosetta.mining.rank.sketch.sketched_bytes`).

Both multiply ``O(A B n)``, which dominates with many units, and count ranks as whole numbers: a value with `l` values
below it and `u` values not above it has the average rank ``(l + u + 1) / 2``, the average of all ranks is
``(n + 1) / 2``, so ``l + u - n`` is twice the rank, centred, without any rounding.

Ties are broken by the last bit, and interpolating a plateau in float32 would scatter its last bits. `U` therefore runs
in float64 and is rounded to float32 once (:func:`~rosetta.mining.rank.ranks.upsample`): equal values stay equal.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.rank.ranks import (
    FIXED,
    Ranked,
    Stack,
    add_products,
    batch_bytes,
    largest_pair,
    product_bytes,
    stack_pairs,
)
from rosetta.mining.rank.sketch import Sketch, make_sketch, sketch_bound, sketched_bytes, sketched_products
from rosetta.units import Units

__all__ = ["exact_bytes", "sketched_bytes", "spearman", "spearman_sketched"]

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
T = TypeVar("T")


def spearman(a: Ranked, b: Ranked, *, images: int, exact: bool) -> Float32:
    """The Spearman correlation of every unit of A with every unit of B.

    Parameters
    ----------
    a, b
        Of the same images in the same order; `A` and `B` units. Unless `exact`, both sources must be cut into the same
        blocks. Where a model is correlated with itself, passing one source twice halves the sorting.
    images
        How many images the sources hold.
    exact
        Keep all values of two grids and sort them, or sketch them.

    Returns
    -------
    (A, B) float32
        Correlations in [-1, 1]; NaN where one of the units is constant. Rounding is some 1e-7, rarely 1e-6; unless
        `exact`, what :func:`~rosetta.mining.rank.sketch.sketch_bound` bounds comes on top.

    Raises
    ------
    ValueError
        If a source does not hold `images` images, or blocks that must match do not.
    """
    if not exact:
        return spearman_sketched(a, b, images=images)[0]

    def products(rows: Stack, ranks_a: Tensor, columns: Stack, ranks_b: Tensor) -> Tensor:
        total = torch.zeros((len(rows), len(columns)), dtype=torch.float64)
        add_products(total, ranks_a, ranks_b)
        return total

    return _correlations(a, b, images, _ranks, products)


def spearman_sketched(a: Ranked, b: Ranked, *, images: int) -> tuple[Float32, Float64]:
    """:func:`spearman`, not exact, along with how far it can be off.

    Returns
    -------
    (A, B) float32
        The correlations.
    (A, B) float64
        :func:`~rosetta.mining.rank.sketch.sketch_bound` of each; NaN where there is no correlation.
    """
    bound = np.empty((len(a.units), len(b.units)))

    def products(rows: Stack, sketch_a: Sketch, columns: Stack, sketch_b: Sketch) -> Tensor:
        bound[np.ix_(rows.index, columns.index)] = sketch_bound(sketch_a, sketch_b)
        return sketched_products(rows, sketch_a, columns, sketch_b)

    values = _correlations(a, b, images, make_sketch, products)
    return values, np.where(np.isnan(values), np.nan, bound)


def exact_bytes(units_a: Units, units_b: Units, images: int) -> int:
    """The most memory that the exact way needs beside one block of each source, in bytes; the result included."""

    def need(a: int, b: int, size: int) -> int:
        values = images * size
        # Of a unit being sorted: keys, order, starts, ends, ranks and what they are made of, some 8-byte numbers each.
        sorting = 80 * values
        return 4 * (a + b) * values + max(sorting, batch_bytes(size, images), product_bytes(a, b))

    return largest_pair(need, units_a, units_b) + 4 * len(units_a) * len(units_b) + FIXED


def _correlations(
    a: Ranked,
    b: Ranked,
    images: int,
    prepare: Callable[[Stack], T],
    products: Callable[[Stack, T, Stack, T], Tensor],
) -> Float32:
    """Prepare both sides of each pair of stacks and multiply them; never more than two are held."""
    values = np.empty((len(a.units), len(b.units)), dtype=np.float32)
    held: dict[Stack, T] = {}
    for rows, columns in stack_pairs(a, b, images):
        held = {stack: held[stack] for stack in (rows, columns) if stack in held}
        for stack in (rows, columns):
            if stack not in held:
                held[stack] = prepare(stack)
        found = products(rows, held[rows], columns, held[columns])
        values[np.ix_(rows.index, columns.index)] = found.clamp_(-1.0, 1.0).numpy()
        del found  # not to be held while the next pair is prepared
    values[a.constant] = np.nan
    values[:, b.constant] = np.nan
    return values


def _ranks(stack: Stack) -> Tensor:
    """(unit, value) float32: the ranks of all values, centred and of unit norm; NaN for a unit without spread."""
    values = torch.empty((len(stack), stack.values), dtype=torch.float32)
    for step in stack.steps():
        for rows, part in step.batches():
            values[rows, step.positions] = part
    for unit in values.numpy():
        _rank(unit)
    return values


def _rank(values: Float32) -> None:
    """Replace (value,) values by their average ranks, centred and scaled to unit norm; NaN if all are equal.

    Sorts whole numbers that hold a value and where it was, which numpy does with vector instructions and which needs
    no second look at the values to find ties. There may be 2³² of them at most.
    """
    count = len(values)
    # As whole numbers floats keep their order, except that the negative ones run backwards; + 0 turns -0 into 0.
    bits = (values + np.float32(0)).view(np.int32)
    keys = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64) << 32
    keys |= np.arange(count)
    keys.sort()
    order = keys & 0xFFFFFFFF
    keys >>= 32
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], count)
    centred = (starts + ends - count).astype(np.float64)
    norm = np.sqrt((centred**2 * (ends - starts)).sum())
    values[order] = np.repeat((centred / (norm or np.nan)).astype(np.float32), ends - starts)
