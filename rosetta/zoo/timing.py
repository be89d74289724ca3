"""How long a model takes on this machine."""

from collections.abc import Callable
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
    if model.preprocessing is None:
        return _median_seconds(lambda: model.generate_first(), model.device)
    image = torch.full((1, 3, *model.preprocessing.size), 0.5)
    return _median_seconds(lambda: model.observe(image), model.device)


def batch_seconds(model: Model, images: int) -> float:
    """Seconds of a forward pass over so many images, measured as :func:`forward_seconds`.

    Inputs are on the model's device, and maps are given away layer by layer as they are in a dump.
    """
    if model.preprocessing is not None:
        pixels = torch.full((images, 3, *model.preprocessing.size), 0.5, device=model.device)
        return _median_seconds(lambda: model.observe(pixels, range(images), take=_let_go), model.device)
    latents = torch.from_numpy(model.draw_latents(range(images), 0)).to(model.device)
    drawn = model.draw_classes(range(images), 0)
    classes = None if drawn is None else torch.from_numpy(drawn)
    return _median_seconds(lambda: model.generate(latents, classes, take=_let_go), model.device)


def _let_go(*_: object) -> None:
    """Takes maps and keeps nothing."""


def _median_seconds(run: Callable[[], object], device: torch.device) -> float:
    taken: list[float] = []
    begin = perf_counter()
    while len(taken) <= _REPEATS and perf_counter() - begin < _BUDGET:
        start = perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(perf_counter() - start)
    return median(taken[1:] or taken)
