"""Scores of words as bytes, against the scores."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.naming.vocabulary import shipped
from rosetta.view.atlas.script import put
from rosetta.view.atlas.words import ABOVE, quantised


def values(found, null: np.ndarray) -> np.ndarray:
    """(concept, kept) the scores that bytes stand for, as the page reads them."""
    low, high = found.low[:, None], found.high[:, None]
    middle = np.clip(np.nan_to_num(null, nan=np.inf)[:, None], low, high)
    coded = found.score.astype(np.float64)
    below = low + (middle - low) * coded / (ABOVE - 1)
    return np.where(coded < ABOVE, below, middle + (high - middle) * (coded - ABOVE) / (255 - ABOVE))


@given(st.integers(0, 2**32 - 1), st.sampled_from([-9.0, -0.2, 0.0, 0.3, 9.0, np.nan]))
def test_scores_come_back_and_chance_is_exact(seed, null):
    score = np.random.default_rng(seed).normal(size=(4, 30))
    nulls = np.full(4, null)
    found = quantised(score, nulls)
    assert found.word is None
    assert np.array_equal(found.score >= ABOVE, score > null), "NaN: nothing is above"
    step = (found.high - found.low)[:, None] / (ABOVE - 1)
    assert (np.abs(values(found, nulls) - score) <= step / 2 + 1e-12).all()


def test_where_there_is_no_room_the_best_words_stay():
    score = np.random.default_rng(1).normal(size=(5, 40))
    null = np.full(5, 0.4)
    found = quantised(score, null, room=90)
    assert found.score.shape == (5, 6)
    assert np.array_equal(found.word, np.argsort(-score, axis=1)[:, :6])
    kept = np.take_along_axis(score, found.word.astype(int), axis=1)
    assert np.array_equal(found.score >= ABOVE, kept > 0.4)
    words = np.frombuffer(base64.b64decode(found.data["word"]), "<u2").reshape(5, 6)
    assert np.array_equal(words, found.word)


@pytest.mark.parametrize("shape", [(0, 5), (3, 1)])
def test_of_nothing_little_is_left(shape):
    assert quantised(np.zeros(shape), np.zeros(shape[0])).score.shape == shape


@pytest.mark.parametrize(("concepts", "most"), [(85, 400_000), (3000, 500_000)])
def test_the_file_is_small(concepts, most):
    words = list(shipped())
    score = np.random.default_rng(0).normal(size=(concepts, len(words)))
    found = quantised(score, np.full(concepts, 0.1234))
    value = {"words": words, "concept": list(range(concepts)), "null": [0.123] * concepts, **found.data}
    assert len(put("words", value)) < most
