"""Scores of words for concepts, small enough for a page: one byte each, from which chance is told apart exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.maps import Bytes, encode

ROOM = 276_000
"""Bytes of all scores, before they are base64."""
ABOVE = 128
"""The least byte of a score above its concept's null."""


@dataclass(frozen=True)
class WordScores:
    """How well words fit concepts, as the page has it."""

    low: npt.NDArray[np.float64]
    """(concept,) the score of byte 0."""
    high: npt.NDArray[np.float64]
    """(concept,) the score of byte 255."""
    score: Bytes
    """(concept, kept)"""
    word: npt.NDArray[np.uint16] | None
    """(concept, kept) which words these are, best first; None where all are kept, in the order of the vocabulary."""

    @property
    def data(self) -> dict[str, Any]:
        """As it stands in a file of the page: numbers and base64, words as 16 bits with the low byte first."""
        from rosetta.view.atlas.script import numbers

        return {
            "low": numbers(self.low, 3),
            "high": numbers(self.high, 3),
            "kept": self.score.shape[1],
            "score": encode(self.score.tobytes()),
            "word": None if self.word is None else encode(self.word.astype("<u2").tobytes()),
        }


def quantised(score: npt.NDArray[np.floating[Any]], null: npt.NDArray[np.float64], room: int = ROOM) -> WordScores:
    """Scores as bytes.

    Parameters
    ----------
    score
        (concept, word); at most 65,536 words.
    null
        (concept,) what the best word reaches by chance; NaN where nothing is above it.
    room
        Bytes that the scores may take. Where it is too small for all, each concept keeps its best words, as many as
        there is room for, and at least one.

    Returns
    -------
    WordScores
        Bytes from `ABOVE` on are scores above the null, evenly from the null to the concept's highest; those below
        are evenly from its lowest to the null. So which are above chance is exact, and any score to within half a
        step of its part.
    """
    exact = np.asarray(score, np.float64)
    concepts, words = exact.shape
    low = np.nan_to_num(np.min(exact, axis=1, initial=np.inf, where=np.isfinite(exact)), posinf=0.0)
    high = np.nan_to_num(np.max(exact, axis=1, initial=-np.inf, where=np.isfinite(exact)), neginf=0.0)
    limit = np.where(np.isfinite(null), null, np.inf)
    middle = np.clip(limit, low, high)[:, None]
    filled = np.where(np.isfinite(exact), exact, low[:, None])
    below = (ABOVE - 1) * _part(filled, low[:, None], middle)
    above = ABOVE + (255 - ABOVE) * _part(filled, middle, high[:, None])
    coded = np.rint(np.where(filled > limit[:, None], above, below)).astype(np.uint8)
    if concepts * words <= room:
        return WordScores(low, high, coded, None)
    kept = max(1, min(words, room // (3 * concepts)))
    best = np.argsort(-filled, axis=1, kind="stable")[:, :kept]
    return WordScores(low, high, np.take_along_axis(coded, best, axis=1), best.astype(np.uint16))


def _part(values: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Where values lie from low to high, in 0…1; 0 where these are the same."""
    span = high - low
    return np.clip((values - low) / np.where(span > 0, span, 1.0), 0.0, 1.0)
