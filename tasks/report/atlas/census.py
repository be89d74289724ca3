"""Histograms of all units of a model, counted while its maps pass by."""

from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.histogram import LEVELS, level_counts, span
from tasks.report.atlas.run import AtlasRun

COUNTED = 2**34
"""Values of a model that are counted, about; of more, every second block of images, or third, and so on."""


@dataclass(frozen=True)
class Census:
    """Counts of a model's values, level by level, over whole blocks of images."""

    low: npt.NDArray[np.float64]
    """(unit,) foot of its range."""
    high: npt.NDArray[np.float64]
    """(unit,) its top."""
    step: int
    """Of the blocks that are counted, this many after another."""
    images: int
    """That are counted."""
    counts: npt.NDArray[np.int64]
    """(unit, LEVELS)"""
    lock: Lock

    @classmethod
    def of(cls, run: AtlasRun, model: str) -> "Census":
        """Nothing counted yet."""
        store, rows = run.stores[model], run.units_of[model]
        values = store.images * sum(layer.values for layer in store.units.layers)
        step = max(1, -(-values // COUNTED))
        starts = range(0, store.images, step * store.chunk)
        images = sum(min(store.chunk, store.images - start) for start in starts)
        low, high = span(*(rows[name].to_numpy(np.float64) for name in ("mean", "std", "maximum")))
        return cls(low, high, step, images, np.zeros((len(low), LEVELS), dtype=np.int64), Lock())

    def counts_block(self, block: int) -> bool:
        """Whether the values of a block of images count."""
        return block % self.step == 0

    def see(self, chunk: npt.NDArray[np.float32], first: int) -> None:
        """Count the values of neighbouring units.

        Parameters
        ----------
        chunk
            (image, channel, y, x)
        first
            The first one's unit.
        """
        units = slice(first, first + chunk.shape[1])
        found = level_counts(chunk, self.low[units], self.high[units])
        with self.lock:
            self.counts[units] += found
