"""Quantile sketches: the ranks of values that are not kept, each looked up as the average rank of a cell of values.

A sketch takes three readings of the maps: a sample, from which the edges of the cells are chosen; the count of each
cell; and the products of the ranks that follow (:func:`sketched_products`). How far these can be off is known
(:func:`sketch_bound`). Memory does not grow with the images (:func:`sketched_bytes`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.mining.rank.ranks import (
    FIXED,
    Stack,
    Step,
    add_products,
    batch_bytes,
    largest_pair,
    product_bytes,
    step_images,
)
from rosetta.units import Units

SAMPLE = 16_384
"""Values per unit that the edges of a sketch are chosen from: 16 per cell, so that cells differ little in mass."""

EDGES = 1023
"""Edges of a sketch at most; one less than a power of two, so that every search takes the same ten halvings."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sketch:
    """How the values of some units are distributed on a common grid.

    The distinct edges ``e₀ < e₁ < …`` of a unit cut the line into cells: cell `2k + 1` is the value `eₖ` alone, cell
    `2k` what lies strictly between `eₖ₋₁` and `eₖ`. Values that many positions share, such as the zeros of a ReLU, are
    edges, since the quantiles hit them, and so have their exact rank.
    """

    edges: Tensor
    """(unit, edge) float32, rising; infinite where there are no more of them, as the last always is."""
    counts: npt.NDArray[np.int64]
    """(unit, 2 edge - 1) how many values each cell holds, exactly."""

    @property
    def values(self) -> int:
        """Values per unit."""
        return int(self.counts[0].sum())

    @property
    def midranks(self) -> Float64:
        """(unit, cell) the average rank of the cell's values as a share of all, in [-1/2, 1/2], centred at 0."""
        twice = self.counts.cumsum(axis=1)
        twice *= 2
        twice -= self.counts
        twice -= self.values
        return twice / (2.0 * self.values)

    @property
    def spread(self) -> Float64:
        """(unit,) the standard deviation of the midranks over all values; 0 for a constant unit."""
        squares = self.midranks
        squares *= squares
        squares *= self.counts
        return np.sqrt(squares.sum(axis=1) / self.values)

    @property
    def residual(self) -> Float64:
        """(unit,) a bound on the standard deviation of what the midranks leave of the ranks, as a share of all.

        The ranks of `c` untied values in a cell are consecutive, with a variance of ``(c² - 1) / 12`` around the
        midrank, their mean; tying some of them averages, which only lessens it. The edges' own cells have none. If no
        cell holds more than a share `s` of the values, the bound is at most ``s / √12``.
        """
        between = self.counts[:, ::2].astype(np.float64)
        return np.sqrt((between * (between**2 - 1)).sum(axis=1) / 12 / float(self.values) ** 3)


def sketch_bound(sketch_a: Sketch, sketch_b: Sketch) -> Float64:
    """A bound on the difference between the sketched and the exact Spearman correlation.

    Let `f` be the centred ranks of a unit's values, `f̂` those of their cells and ``r = f - f̂``. As `f̂` is the mean of
    `f` over each cell, `r` sums to 0 over each cell and is orthogonal to `f̂`: `f` and `f̂` enclose the angle
    ``θ = arctan(|r| / |f̂|)``, at most ``arctan(residual / spread)``. Correlations of centred vectors are cosines:
    ``cos ∠(f, g)`` is the exact one, ``cos ∠(f̂, ĝ)`` the sketched one. Angles obey the triangle inequality, so these
    two differ by at most ``θ_a + θ_b``, and cosines of angles that differ by `δ ≤ π` differ by at most
    ``2 sin(δ / 2)``.

    This takes the worst for granted, that what is left of the ranks of A runs along the ranks of B. Where it has
    nothing to do with them, the error is of the order ``θ² + θ / √n``: a hundredth of the bound and less.

    Returns
    -------
    (A, B) float64
        Rounding of the product, at most some 1e-6, comes on top.
    """
    angles_a, angles_b = (np.arctan2(sketch.residual, sketch.spread) for sketch in (sketch_a, sketch_b))
    return 2 * np.sin(np.minimum(np.add.outer(angles_a, angles_b), np.pi) / 2)


def make_sketch(stack: Stack) -> Sketch:
    """Sample the values of a stack, and count them by cell."""
    edges = _edges(_sample(stack))
    counts = torch.zeros((len(stack), 2 * edges.shape[1] - 1), dtype=torch.int64)
    one = torch.ones((1, 1), dtype=torch.int64)
    for step in stack.steps():
        for rows, values in step.batches():
            counts[rows].scatter_add_(1, _cells(edges[rows], values), one.expand_as(values))
    return Sketch(edges, counts.numpy())


def sketched_products(a: Stack, sketch_a: Sketch, b: Stack, sketch_b: Sketch) -> Tensor:
    """(A, B) float64 correlations of the midranks.

    Raises
    ------
    ValueError
        If the two sources are not cut into the same blocks.
    """
    table_a, table_b = _table(sketch_a), _table(sketch_b)
    total = torch.zeros((len(a), len(b)), dtype=torch.float64)
    for step_a, step_b in zip(a.steps(), b.steps(), strict=True):
        if step_a.positions != step_b.positions:
            raise ValueError("the blocks of the two sources do not hold the same images")
        add_products(total, _scores(step_a, sketch_a.edges, table_a), _scores(step_b, sketch_b.edges, table_b))
    return total


def sketched_bytes(units_a: Units, units_b: Units, block_images: int) -> int:
    """The most memory that :func:`~rosetta.mining.rank.spearman.spearman_sketched` needs beside one block of each
    source.

    Parameters
    ----------
    block_images
        How many images a block of the sources holds.

    Returns
    -------
    int
        Bytes; the results included.
    """
    edges, cells = EDGES + 1, 2 * (EDGES + 1)
    held = 4 * edges + 8 * cells + 4 * cells  # Per unit: edges, counts and the table of scores.

    def need(a: int, b: int, size: int) -> int:
        batch = batch_bytes(size, block_images)
        # The sample or the midranks in the making, of one side at a time.
        making = max(a, b) * max(4 * SAMPLE, 4 * 8 * cells)
        # The bounds are made of three float64 matrices, before the product is begun.
        products = max(product_bytes(a, b), 3 * 8 * a * b)
        multiplying = 4 * (a + b) * min(block_images, step_images(size)) * size + products
        return held * (a + b) + batch + max(making, multiplying)

    return largest_pair(need, units_a, units_b) + (4 + 16 + 1) * len(units_a) * len(units_b) + FIXED


def _sample(stack: Stack) -> Tensor:
    """(unit, sample) float32: some values of each unit, one at random from each of `SAMPLE` equal stretches of them.

    Random, with a fixed seed, so that no period of the positions falls in with the length of the stretches.
    """
    stretches = min(SAMPLE, stack.values)
    where = (np.arange(stretches) + np.random.default_rng(0).random(stretches)) * (stack.values / stretches)
    chosen = np.minimum(where.astype(np.int64), stack.values - 1)
    sample = torch.empty((len(stack), stretches), dtype=torch.float32)
    for step in stack.steps():
        first, last = np.searchsorted(chosen, (step.positions.start, step.positions.stop))
        if first < last:
            within = torch.from_numpy(chosen[first:last] - step.positions.start)
            for rows, values in step.batches():
                sample[rows, first:last] = values[:, within]
    return sample


def _edges(sample: Tensor) -> Tensor:
    """(unit, EDGES + 1) float32: equally spaced order statistics of a (unit, sample), once each, then infinity.

    Sorts the sample in place.
    """
    ordered = sample.numpy()
    ordered.sort(axis=1)
    which = np.linspace(0, ordered.shape[1] - 1, min(EDGES, ordered.shape[1])).round().astype(np.intp)
    found = np.full((len(ordered), EDGES + 1), np.inf, dtype=np.float32)
    found[:, : len(which)] = ordered[:, which]
    found[:, 1:][found[:, 1:] == found[:, :-1]] = np.inf
    found.sort(axis=1)
    return torch.from_numpy(found)


def _cells(edges: Tensor, values: Tensor) -> Tensor:
    """(unit, value) int64: the cell of each value, by halving without branches, 2.5 × as fast as torch.searchsorted."""
    below = torch.zeros(values.shape, dtype=torch.int64)
    half = edges.shape[1] // 2
    while half:
        below.add_(edges[:, half - 1 :].gather(1, below) < values, alpha=half)
        half //= 2
    hit = edges.gather(1, below) == values
    return below.mul_(2).add_(hit)


def _table(sketch: Sketch) -> Tensor:
    """(unit, cell) float32 midranks, scaled so that the scores of all values have unit norm; NaN without spread."""
    norm = sketch.spread * np.sqrt(sketch.values)
    norm[norm == 0] = np.nan
    return torch.from_numpy((sketch.midranks / norm[:, None]).astype(np.float32))


def _scores(step: Step, edges: Tensor, table: Tensor) -> Tensor:
    """(unit, position) float32 ranks of the values of a step, looked up."""
    scores = torch.empty((len(table), len(step)), dtype=torch.float32)
    for rows, values in step.batches():
        scores[rows] = table[rows].gather(1, _cells(edges[rows], values))
    return scores
