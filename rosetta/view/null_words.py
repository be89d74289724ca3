"""The dictionary beside its null, in words: how much of what is counted is also counted with images exchanged."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rosetta.mining.trust.null_dictionary import NEURONS, NullCount
from rosetta.view.numbers import count, counted, percent, significant


def rate(null: NullCount) -> str:
    """The false discovery rate with its interval: ``18 % (12–25 %)``; a dash where there is none."""
    if not math.isfinite(null.fdr):
        return "–"
    if not math.isfinite(null.fdr_low + null.fdr_high):
        return percent(null.fdr)
    return f"{percent(null.fdr)} ({percent(null.fdr_low).removesuffix(' %')}–{percent(null.fdr_high)})"


def ratio(null: NullCount) -> str:
    """Found over null with its interval: ``5.6 (4.0–8.3)``; a dash where there is none."""
    if math.isnan(null.ratio):
        return "–"
    return f"{_times(null.ratio)} ({_times(null.ratio_low)}–{_times(null.ratio_high)})"


def mean(null: NullCount) -> str:
    """The mean count with images exchanged: ``31``, ``0.33``."""
    if not math.isfinite(null.null_mean):
        return "–"
    return f"{null.null_mean:.2g}" if null.null_mean < 10 else count(round(null.null_mean))


def phrase(nulls: Sequence[NullCount]) -> str:
    """Of Rosetta neurons: ``175 neurons, 31 with images exchanged: false discovery rate 18 % (12–25 %)``.

    Empty where the run has no null.
    """
    for null in reversed(nulls):  # a model may have that name, and comes before
        if null.of == NEURONS and math.isfinite(null.null_mean):
            found = f"{counted(null.found, 'neuron', 'neurons')}, {mean(null)} with images exchanged"
            return found + (f": false discovery rate {rate(null)}" if math.isfinite(null.fdr) else "")
    return ""


def as_json(null: NullCount) -> dict[str, Any]:
    """Its fields, None for what is not a finite number."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(null).items()
    }


def _times(value: float) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "–"
    return significant(value, 2) if value < 100 else count(round(value))
