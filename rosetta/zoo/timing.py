"""How long a model takes on this machine."""

from statistics import median
from time import perf_counter

import torch

from rosetta.zoo.model import Model

_REPEATS = 5
_BUDGET = 20.0
"""Seconds after which no further pass is begun."""


def forward_seconds(model: Model) -> float:
    """Seconds that one image takes by itself, with all maps kept: the median of a few passes after one to warm up.

    A model that takes long is measured less often, but at least once.
    """
    image = torch.full((1, 3, *model.preprocessing.size), 0.5) if model.preprocessing is not None else None
    taken: list[float] = []
    begin = perf_counter()
    while len(taken) <= _REPEATS and perf_counter() - begin < _BUDGET:
        start = perf_counter()
        if image is None:
            model.generate_first()
        else:
            model.observe(image)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        taken.append(perf_counter() - start)
    return median(taken[1:] or taken)
