"""Matrices of resampling, which are nearly diagonal, as a few dense blocks."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rosetta.mining.grid import Matrix

_BANDS, _ROWS = 4, 8
"""Blocks of a matrix, and rows of one at least. With fewer rows products were measured to take longer than in one."""


@dataclass(frozen=True)
class Banded:
    """A matrix (to, from), and blocks of it that hold all that is not 0."""

    whole: Tensor
    blocks: tuple[tuple[slice, slice, Tensor], ...]
    """Rows, columns, and the entries there."""

    @classmethod
    def of(cls, matrix: Matrix, device: torch.device) -> "Banded":
        """Cut a matrix up where that spares more than half of the work."""
        whole = torch.tensor(np.ascontiguousarray(matrix), dtype=torch.float32, device=device)
        edges = np.linspace(0, len(matrix), _BANDS + 1).astype(int)
        blocks = []
        for start, stop in pairwise(edges):
            columns = np.flatnonzero(matrix[start:stop].any(axis=0)) if stop > start else np.zeros(1, int)
            rows, held = slice(int(start), int(stop)), slice(int(columns[0]), int(columns[-1]) + 1)
            blocks.append((rows, held, whole[rows, held].contiguous()))
        if len(matrix) < _BANDS * _ROWS or 2 * sum(block.numel() for *_, block in blocks) > whole.numel():
            blocks = [(slice(0, len(matrix)), slice(0, matrix.shape[1]), whole)]
        return cls(whole, tuple(blocks))

    def down(self, fields: Tensor) -> Tensor:
        """(…, to, x) of fields (…, from, x)."""
        if len(self.blocks) == 1:
            return torch.matmul(self.whole, fields)
        out = fields.new_empty(*fields.shape[:-2], len(self.whole), fields.shape[-1])
        for rows, columns, block in self.blocks:
            out[..., rows, :] = torch.matmul(block, fields[..., columns, :])
        return out

    def across(self, fields: Tensor) -> Tensor:
        """(…, y, to) of fields (…, y, from)."""
        if len(self.blocks) == 1:
            return torch.matmul(fields, self.whole.T)
        flat = fields.reshape(-1, fields.shape[-1])
        out = fields.new_empty(len(flat), len(self.whole))
        for rows, columns, block in self.blocks:
            torch.mm(flat[:, columns], block.T, out=out[:, rows])
        return out.view(*fields.shape[:-1], -1)


def moved(fields: Tensor, down: Banded | None, across: Banded | None) -> Tensor:
    """(…, y, x) features or maps, each axis multiplied with its matrix."""
    part = fields if across is None else across.across(fields)
    return part if down is None else down.down(part)
