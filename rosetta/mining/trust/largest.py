"""The largest values of each of some rows, out of more than the memory holds."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class Largest:
    """Keeps so many of each row as it is asked for, of all that pass by.

    Once there are as many, nothing counts that is not above the least of them. Most parts of a row are passed over at
    the price of their maximum.

    Memory: up to 30 bytes for each value that is kept, and once more what is added at a time.
    """

    def __init__(self, rows: int, count: int) -> None:
        self._count = count
        self._best = np.zeros((rows, 0), np.float32)
        self._waiting: list[tuple[npt.NDArray[np.int64], Float32]] = []

    def add(self, values: Tensor) -> None:
        """Take (row, part, n) more of every row."""
        if self._best.shape[1] < self._count:
            self._settle(values.flatten(1).numpy())
            return
        least = torch.from_numpy(self._best.min(axis=1))
        row, part = torch.nonzero(values.amax(dim=2) > least[:, None], as_tuple=True)
        if not len(row):
            return
        chosen = values[row, part]
        which, place = torch.nonzero(chosen > least[row, None], as_tuple=True)
        self._waiting.append((row[which].numpy(), chosen[which, place].numpy()))
        if sum(len(values) for _, values in self._waiting) > self._best.size:
            self._settle()

    def values(self) -> Float32:
        """(row, k) the largest of each row, rising; all of them where fewer passed by than are asked for."""
        self._settle()
        return np.sort(self._best, axis=1)

    def _settle(self, *more: Float32) -> None:
        """Put the best of those that wait, and of (row, n) more, among those that are kept."""
        rows, values = (
            np.concatenate([each[one] for each in self._waiting] or [np.zeros(0, kind)])
            for one, kind in enumerate((np.int64, np.float32))
        )
        self._waiting = []
        counts = np.bincount(rows, minlength=len(self._best))
        order = np.argsort(rows, kind="stable")
        new = np.full((len(counts), counts.max(initial=0)), -np.inf, np.float32)
        new[rows[order], np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = values[order]
        every = np.concatenate([self._best, new, *more], axis=1)
        if every.shape[1] > self._count:
            every = np.partition(every, every.shape[1] - self._count, axis=1)[:, -self._count :].copy()
        self._best = every


class Percentile:
    """The 99.9th percentile of each of some rows, interpolated between two of their values as numpy does it."""

    _LEVEL = 0.999

    def __init__(self, rows: int, total: int) -> None:
        """
        Parameters
        ----------
        total
            Values of each row that will pass by.
        """
        place = (total - 1) * self._LEVEL
        self._share = place - int(place)
        self._largest = Largest(rows, total - int(place))

    def add(self, values: Tensor) -> None:
        """Take (row, part, n) more of every row."""
        self._largest.add(values)

    def values(self) -> Float64:
        """(row,) once all have passed by."""
        kept = self._largest.values().astype(np.float64)
        low, high = kept[:, 0], kept[:, min(1, kept.shape[1] - 1)]
        found: Float64 = low + self._share * (high - low)
        return found
