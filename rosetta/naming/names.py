"""The words that fit a concept best, and how well words fit where there is nothing to fit.

Each concept is seen in images where it is strong and in as many where it is silent, whole and with all masked but where
it is. A word's score is the mean of both soft WPMIs (:mod:`rosetta.naming.soft_wpmi`). The best of thousands of words
scores high by chance, so it is compared with the best word under two nulls:

- **Images exchanged.** Strong and silent images of the concept are mixed at random. Its null is the 95th percentile of
  the best score. A concept that has nothing to do with what the images show stays below it.
- **Words turned.** The embeddings of all words are turned by one random rotation, which keeps how words lie to each
  other and takes away what they have to do with images. Each best score is put in standard deviations of the concept's
  own best scores under all rotations. The null is the highest of all concepts and rotations, so that the chance of any
  name at all is 1 in 100 where the two towers do not agree, as with random weights.

A name must exceed both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.naming.soft_wpmi import Float32, probabilities, soft_wpmi

DRAWS = 99
"""Of each null."""
QUANTILE = 0.95
"""Of the best scores with images exchanged."""
_BYTES = 2**26
"""Of probabilities that are in memory at once, about."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """Embeddings of what `S` subjects, concepts or units, are seen in; all of length 1."""

    whole: Float32
    """(subject, image, embedding): images where it is strong, strongest first, then as many where it is silent."""
    masked: Float32
    """The same with all masked but where the subject is; a silent image has the mask of a strong one."""
    member: Float32
    """(subject, strong image) see :func:`rosetta.naming.soft_wpmi.membership`."""

    @property
    def strong(self) -> int:
        """How many images there are where it is strong."""
        return self.member.shape[1]


@dataclass(frozen=True)
class Scores:
    """How well words fit."""

    whole: Float32
    """(subject, word) by whole images."""
    masked: Float32
    """(subject, word) by masked ones."""
    null: Float64
    """(subject,) what the best word must exceed."""

    @property
    def score(self) -> Float32:
        """(subject, word) the mean of both."""
        return _mean(self.whole, self.masked)


def score(views: Views, text: Float32, seed: int, advance: Callable[[int], object] = lambda draws: None) -> Scores:
    """Score all words for all subjects.

    Parameters
    ----------
    text
        (word, embedding) of length 1.
    seed
        Of both nulls.
    advance
        Is called with how many more of :data:`DRAWS` rotations are done.
    """
    parts = [_scores(views, part, text.T) for part in _parts(views, len(text))]
    whole, masked = np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])
    best = _mean(whole, masked).max(axis=1).astype(np.float64)
    null = np.maximum(_turned(views, text, best, seed, advance), _exchanged(views, text, seed))
    return Scores(whole, masked, null)


def best_words(score: Float32, count: int) -> npt.NDArray[np.intp]:
    """(subject, rank) the words that score highest, ties to the earlier word."""
    return np.argsort(-score, axis=1, kind="stable")[:, :count]


def rotation(size: int, generator: np.random.Generator) -> Float32:
    """(size, size) a random rotation or reflection, all equally likely (Mezzadri, Notices of the AMS 54, 2007)."""
    q, r = np.linalg.qr(generator.normal(size=(size, size)))
    return np.asarray(q * np.sign(np.diagonal(r)), np.float32)


def _mean(whole: Float32, masked: Float32) -> Float32:
    return (whole + masked) / np.float32(2)


def _parts(views: Views, words: int) -> Iterator[slice]:
    """Subjects that are scored at once."""
    subjects, images = views.whole.shape[:2]
    step = max(1, _BYTES // (4 * 2 * images * words))
    yield from (slice(first, min(first + step, subjects)) for first in range(0, subjects, step))


def _scores(views: Views, part: slice, words: Float32) -> tuple[Float32, Float32]:
    """(subject, word) scores of some subjects, by whole and by masked images, for words (embedding, word)."""
    strong, member = views.strong, views.member[part]
    found = []
    for seen in (views.whole[part], views.masked[part]):
        probability = probabilities(seen @ words)
        found.append(soft_wpmi(probability[:, :strong], probability[:, strong:], member))
    return found[0], found[1]


def _turned(views: Views, text: Float32, best: Float64, seed: int, advance: Callable[[int], object]) -> Float64:
    """(subject,) null with the words turned."""
    drawn = np.empty((DRAWS + 1, len(best)))
    drawn[DRAWS] = best  # one of the rotations, and no other than they where the towers do not agree
    for draw in range(DRAWS):
        words = rotation(text.shape[1], np.random.default_rng([seed, 1, draw])) @ text.T
        for part in _parts(views, len(text)):
            drawn[draw, part] = _mean(*_scores(views, part, words)).max(axis=1)
        advance(1)
    mean, deviation = drawn.mean(axis=0), drawn.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return np.asarray(mean + ((drawn[:DRAWS] - mean) / deviation).max() * deviation)


def _exchanged(views: Views, text: Float32, seed: int) -> Float64:
    """(subject,) null with strong and silent images exchanged."""
    strong, found = views.strong, np.empty(len(views.whole))
    orders = [
        np.random.default_rng([seed, 2, draw]).permutation(views.whole.shape[1]) for draw in range(DRAWS)
    ]  # the same for all subjects: each is compared with its own null alone
    for subject, member in enumerate(views.member):
        sides = [probabilities(seen[subject] @ text.T) for seen in (views.whole, views.masked)]
        drawn = [
            _mean(*(soft_wpmi(side[order[:strong]], side[order[strong:]], member) for side in sides)).max()
            for order in orders
        ]
        found[subject] = np.quantile(drawn, QUANTILE, method="higher")
    return found
