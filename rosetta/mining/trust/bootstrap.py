"""Intervals of correlations by the bootstrap, and how much one image changes them, from sums per image.

A correlation over all images and positions of a pair's common grid follows from five sums, each of which adds up over
images: with `N` positions of all images together,

    r = (Σ ab − Σa Σb / N) / √((Σa² − (Σa)² / N) (Σb² − (Σb)² / N)).

Images are drawn with replacement, as many as there are. A sample counts each of them 0, 1, 2 … times, so its five sums
are products of these counts with the sums per image. All pairs of a run share their samples. Maps of one image are no
independent draws, so never positions are drawn, and where several images of one class are alike, whole classes can be
drawn in their place.

Percentiles of the samples' correlations alone are too narrow. So, in Fisher's z = artanh r:

- They are *expanded* (T. Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69,
  2015): with `n` images, they are not 2.5 and 97.5 but those that a normal distribution has at ±√(n / (n − 1)) t, with
  `t` Student's quantile of n − 1 degrees of freedom.
- Where a few images weigh more than others, samples vary too little. The jackknife, r without each image in turn, says
  by how much: both ends go away from z by the ratio of its standard deviation to that of the samples, if it is above 1.

Measured over 30 to 200 images of even or very uneven weight (log-normal, σ = 1), such intervals of 95 % hold the truth
in 93 to 96 % of pairs. Expanded percentiles alone do in 90 to 96 %, z ± t standard deviations of the jackknife in 89 to
96 %, and BCa in 84 to 95 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from rosetta.mining.plan import ranges

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

LEAST_CLASSES = 8
"""With fewer there is too little to draw from."""
_AT_ONCE = 64
"""Samples whose counts are there at once."""
_ALMOST_ONE = 1 - 1e-7
_VALUES = 2**20
"""Images times pairs that are looked at at once."""
_NOTHING = 1e-6
"""Of a variance over all images: less than this in a sample is rounding, and the sample has no correlation."""


@dataclass(frozen=True)
class ImageSums:
    """The five sums of some pairs, image by image. Units are of mean 0 and variance 1, or near that."""

    positions: int
    """Of the common grid."""
    images: Float64
    """(item,) how many images each item holds: 1, or those of a class."""
    cross: Float32
    """(pair, item) Σ ab."""
    a: Float32
    """(2, unit, item) Σ a and Σ a² of the distinct units of the first side."""
    b: Float32
    """(2, unit, item) of the second side."""
    of_a: Index
    """(pair,) which of these units each pair has."""
    of_b: Index
    """(pair,)"""

    def by_class(self, classes: npt.NDArray[np.integer]) -> "ImageSums":
        """Sums class by class; an image whose class is below 0 is a class of its own.

        Parameters
        ----------
        classes
            (image,)
        """
        own = np.where(classes < 0, classes.max(initial=0) + 1 + np.arange(len(classes)), classes)
        _, item = np.unique(own, return_inverse=True)
        order = np.argsort(item, kind="stable")
        starts = np.searchsorted(item[order], np.arange(item.max() + 1))

        def joined(values: npt.NDArray[np.floating]) -> Float64:
            found: Float64 = np.add.reduceat(values[..., order], starts, axis=-1, dtype=np.float64)
            return found

        cross, a, b = (joined(one).astype(np.float32) for one in (self.cross, self.a, self.b))
        return ImageSums(self.positions, joined(self.images), cross, a, b, self.of_a, self.of_b)

    def pearson(self) -> Float64:
        """(pair,) over all images; NaN of a unit that holds one single value."""
        sums, count = self._totals()
        return correlation(sums, count, _NOTHING)

    def influence(self) -> Float64:
        """(pair,) the largest change of the correlation when one item is taken away: max |r − r without it|.

        Where a unit holds one single value in all other images, all of the correlation goes with that one.
        """
        return self._jackknife[0]

    def deviation(self) -> Float64:
        """(pair,) the standard deviation of Fisher's z by the jackknife: √((n − 1) / n Σ (z_i − z̄)²) of z without i."""
        return self._jackknife[1]

    @cached_property
    def _jackknife(self) -> tuple[Float64, Float64]:
        sums, count = self._totals()
        least, whole, items = self._least(sums, count), self.pearson(), len(self.images)
        influence, deviation = np.empty(len(whole)), np.empty(len(whole))
        for some in ranges(len(whole), max(1, _VALUES // items)):
            each = np.stack([self.cross[some], *(side[one][of[some]] for side, of in self._sides for one in (0, 1))])
            left, positions = sums[:, some, None] - each, count - self.images * self.positions
            without = np.nan_to_num(correlation(left, positions, least[:, some, None]))
            influence[some] = np.abs(whole[some, None] - without).max(axis=1)
            deviation[some] = np.sqrt(items - 1) * _fisher(without).std(axis=1)
        return influence, deviation

    def samples(self, counts: Float32) -> Float32:
        """(pair, sample) correlations of bootstrap samples, 0 where there is none to speak of.

        Parameters
        ----------
        counts
            (sample, item) how often each item was drawn.
        """
        sums, count = self._totals()
        drawn = [_times(self.cross, counts)]
        for side, of in self._sides:
            drawn += [_times(side[one], counts)[of] for one in (0, 1)]
        of_samples = np.stack(drawn).astype(np.float64)
        positions = (counts * self.images).sum(axis=1) * self.positions
        return np.nan_to_num(correlation(of_samples, positions, self._least(sums, count)[:, :, None])).astype(
            np.float32
        )

    @property
    def _sides(self) -> tuple[tuple[Float32, Index], tuple[Float32, Index]]:
        return (self.a, self.of_a), (self.b, self.of_b)

    def _totals(self) -> tuple[Float64, float]:
        """(sum, pair) the five sums over all images, and how many positions these have."""
        rows = [self.cross.sum(axis=1, dtype=np.float64)]
        for side, of in self._sides:
            total = side.sum(axis=2, dtype=np.float64)
            rows += [total[one][of] for one in (0, 1)]
        return np.stack(rows), float(self.images.sum() * self.positions)

    @staticmethod
    def _least(sums: Float64, count: float) -> Float64:
        """(side, pair) variances that are rounding."""
        means, squares = sums[1::2] / count, sums[2::2] / count
        return _NOTHING * (squares - means**2)


def _times(sums: Float32, counts: Float32) -> Float32:
    """(row, sample) sums over what was drawn; torch keeps to the threads that a task may use, numpy takes all."""
    found: Float32 = torch.mm(torch.from_numpy(sums), torch.from_numpy(counts).T).numpy()
    return found


def correlation(sums: Float64, count: Float64 | float, least: Float64 | float) -> Float64:
    """(…,) correlations of units of mean 0 and variance 1, or near that.

    Parameters
    ----------
    sums
        (sum, …) Σ ab, Σ a, Σ a², Σ b, Σ b².
    count
        Terms of each sum.
    least
        A variance that is not larger is rounding, and the correlation NaN; (side, …) where it is not the same for all.
    """
    cross, mean_a, square_a, mean_b, square_b = sums / count
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = np.stack([square_a - mean_a**2, square_b - mean_b**2])
        deviations = np.sqrt(np.where(variances > least, variances, np.nan))
        found: Float64 = (cross - mean_a * mean_b) / (deviations[0] * deviations[1])
    return found


def intervals(sums: Sequence[ImageSums], resamples: int, seed: int) -> list[tuple[Float64, Float64]]:
    """Of each: (pair,) the lower and the upper end of the 95 % interval of its correlations, NaN where there is none.

    Parameters
    ----------
    sums
        Of the same images, or classes.
    resamples
        Bootstrap samples.
    seed
        Of what is drawn.
    """
    if not sums:
        return []
    items = len(sums[0].images)
    drawn = [np.empty((len(one.cross), resamples), np.float32) for one in sums]
    for start, counts in _draws(items, resamples, seed):
        for one, into in zip(sums, drawn, strict=True):
            into[:, start : start + len(counts)] = one.samples(counts)
    level = _lower_level(items)
    found = []
    for one, values in zip(sums, drawn, strict=True):
        z, samples = _fisher(one.pearson()), _fisher(values)
        wider = np.maximum(1.0, one.deviation() / np.maximum(samples.std(axis=1), _NOTHING))
        low, high = np.tanh(z + wider * (np.quantile(samples, [level, 1 - level], axis=1) - z))
        found.append((low, high))
    return found


def _fisher(pearson: npt.NDArray[np.floating]) -> Float64:
    """Fisher's z, finite for correlations of 1, too."""
    return np.arctanh(np.clip(pearson.astype(np.float64), -_ALMOST_ONE, _ALMOST_ONE))


def _draws(items: int, resamples: int, seed: int) -> Iterator[tuple[int, Float32]]:
    """(sample, item) how often each item is drawn, some samples at a time, with the number of the first of them."""
    for start in range(0, resamples, _AT_ONCE):
        random = np.random.default_rng([seed, start])
        size = min(_AT_ONCE, resamples - start)
        drawn = random.integers(items, size=(size, items)) + items * np.arange(size)[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items).astype(np.float32)


def _lower_level(items: int) -> float:
    """The share of samples below an interval of 95 %, a little less than 2.5 %."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-np.sqrt(items / (items - 1)) * stdtrit(items - 1, 0.975)))
