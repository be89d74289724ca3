"""The largest values of each of some rows, out of more than the memory holds."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class Largest:
    """Keeps so many of each row as it is asked for, of all that pass by.

    Memory: up to 12 bytes for each value that is kept, and once more what is added at a time.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._parts: list[Float32] = []
        self._waiting = 0

    def add(self, values: Float32) -> None:
        """Take (row, n) more of every row."""
        part = self._best(values)
        self._parts.append(part.copy() if part.base is not None or part is values else part)
        self._waiting += part.shape[1]
        if self._waiting > 2 * self._count:
            self._parts = [self._best(np.concatenate(self._parts, axis=1)).copy()]
            self._waiting = self._parts[0].shape[1]

    def values(self) -> Float32:
        """(row, k) the largest of each row, rising; all of them where fewer passed by than are asked for."""
        return np.sort(self._best(np.concatenate(self._parts, axis=1)), axis=1)

    def _best(self, values: Float32) -> Float32:
        if values.shape[1] <= self._count:
            return values
        return np.partition(values, values.shape[1] - self._count, axis=1)[:, -self._count :]


class Percentile:
    """The 99.9th percentile of each of some rows, interpolated between two of their values as numpy does it."""

    _LEVEL = 0.999

    def __init__(self, total: int) -> None:
        """
        Parameters
        ----------
        total
            Values of each row that will pass by.
        """
        place = (total - 1) * self._LEVEL
        self._below, self._share = int(place), place - int(place)
        self._largest = Largest(total - self._below)

    def add(self, values: Float32) -> None:
        """Take (row, n) more of every row."""
        self._largest.add(values)

    def values(self) -> Float64:
        """(row,) once all have passed by."""
        low, high = (self._largest.values()[:, [0, 1 if self._largest._count > 1 else 0]]).astype(np.float64).T
        found: Float64 = low + self._share * (high - low)
        return found
