"""Sums that come to the same bits in whatever order their terms are added.

Additions of float64 are rounded, so a sum depends on their order. They are not rounded where every term is a multiple
of one power of two, the *quantum*, and no sum of them exceeds 2⁵³ quanta. So each term is first rounded to the quantum:
by less than it matters, and by itself. Then workers may add what they have when they have it, and a run that was
cut off and resumed ends with the same bytes as one that was not (compare Demmel, Nguyen, Parallel Reproducible
Summation, IEEE Transactions on Computers 2015, who find the quantum out of the terms).

Terms must be of one scale: units are taken in units of their standard deviation, as known beforehand from some images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MANTISSA = 53
"""Bits of a float64."""
_SQUARES, _POWERS = 6, 20
"""Bits of headroom: products of two values may on average be 2⁶, fourth powers 2²⁰. A sum beyond that is right, too,
but its last bits depend on the order."""


def quantum(terms: int, *, powers: bool = False) -> float:
    """What terms are rounded to, for sums over so many values of a spread of about 1.

    Parameters
    ----------
    powers
        Whether terms are up to the fourth power of values.
    """
    headroom = _POWERS if powers else _SQUARES
    return 2.0 ** (max(1, terms).bit_length() + headroom - _MANTISSA)


def add_exactly(total: Tensor, part: Tensor, quantum: float) -> None:
    """Add `part` to `total`, both float64, rounded to a multiple of the quantum; `part` is changed."""
    # Numbers of this size are multiples of the quantum: what is added to it is rounded so, ties to even.
    magic = 1.5 * 2.0 ** (_MANTISSA - 1) * quantum
    total.add_(part.add_(magic).sub_(magic))


@dataclass(frozen=True, eq=False)
class Scales:
    """What brings the products of two sets of units to one scale."""

    a: Tensor
    """(A,) float64 powers of two, in the order of moments."""
    b: Tensor
    """(B,)"""
    quantum: float

    def add(self, total: Tensor, panel: Tensor, rows: slice, columns: slice) -> None:
        """Add some products to their (row, column) sums."""
        scaled = panel.to(torch.float64).mul_(self.a[rows, None]).mul_(self.b[columns])
        add_exactly(total[rows, columns], scaled, self.quantum)
