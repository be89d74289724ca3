"""Two grids and the way between them.

Correlating maps of different sizes means resampling one of them: `U` is bilinear, as
``torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=False)`` does it. `U` is linear and
separable, a small matrix per axis, so nothing needs to be resampled at all:

- ``⟨U a, b⟩ = ⟨a, Uᵀ b⟩``: the *finer* map is pulled back through the adjoint, once, and inner products are taken on
  the coarser grid, where there are fewest positions;
- ``⟨U a, 1⟩ = ⟨a, Uᵀ1⟩``: sums on the common grid are sums on the native one, weighted;
- ``⟨U a, U a⟩ = ⟨a, UᵀU a⟩``: so are sums of squares, with a matrix that is tridiagonal per axis.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from rosetta.units import Grid

Matrix = npt.NDArray[np.float64]


@cache
def upsampling(coarse: int, fine: int) -> Matrix:
    """`U` on one axis.

    Parameters
    ----------
    coarse, fine
        Positions before and after, ``1 ≤ coarse ≤ fine``.

    Returns
    -------
    (fine, coarse) float64
        Rows sum to 1, with at most two entries each. The array is shared and read-only.
    """
    if not 1 <= coarse <= fine:
        raise ValueError(f"upsampling goes from fewer positions to more, not from {coarse} to {fine}")
    source = np.maximum((np.arange(fine) + 0.5) * (coarse / fine) - 0.5, 0.0)
    low = np.minimum(source.astype(np.intp), coarse - 1)
    high = np.minimum(low + 1, coarse - 1)
    share = source - low
    matrix = np.zeros((fine, coarse))
    rows = np.arange(fine)
    np.add.at(matrix, (rows, low), 1.0 - share)
    np.add.at(matrix, (rows, high), share)
    matrix.flags.writeable = False
    return matrix


def common_grid(a: Grid, b: Grid) -> Grid:
    """The grid that a pair is compared on: per axis the finer of the two."""
    return max(a[0], b[0]), max(a[1], b[1])


def product_grid(a: Grid, b: Grid) -> Grid:
    """The grid that a pair's inner products are taken on: per axis the coarser of the two."""
    return min(a[0], b[0]), min(a[1], b[1])


def sum_weights(native: int, common: int) -> Matrix:
    """(native,) `Uᵀ1`: how many positions of the common axis each native one stands for."""
    return upsampling(native, common).sum(axis=0)


def gram(native: int, common: int) -> Matrix:
    """(native, native) `UᵀU`, tridiagonal: turns native maps into sums of squares on the common axis."""
    matrix = upsampling(native, common)
    return matrix.T @ matrix
