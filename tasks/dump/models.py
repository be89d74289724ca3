"""The model that a worker process has loaded: kept for the next blocks of its dump, freed when another is due."""

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rosetta.model_spec import ModelSpec
from rosetta.zoo import Model, load
from tasks.stage.memory import return_freed_memory


@dataclass(frozen=True)
class _Loaded:
    spec: ModelSpec
    device: str
    model: Model


_loaded: _Loaded | None = None
_lock = threading.RLock()
loads: Counter[str] = Counter()
"""By name: how often this process has loaded a model."""


@contextmanager
def lent(spec: ModelSpec, device: str) -> Iterator[Model]:
    """The model on a device, for one thread at a time: the process holds one model and what one dump holds.

    Parameters
    ----------
    spec
        With the SHA-256 of its weights, which tells models apart whose recipes look alike.

    Raises
    ------
    UserError
        Anything that keeps the model from running.
    """
    global _loaded
    with _lock:
        if _loaded is None or (_loaded.spec, _loaded.device) != (spec, device):
            free()  # before the next: there may not be room for both
            loads[spec.name] += 1
            _loaded = _Loaded(spec, device, load(spec, device))
        yield _loaded.model


def free() -> None:
    """Free the memory of the model, unless another thread works with it."""
    global _loaded
    if not _lock.acquire(blocking=False):
        return
    try:
        if _loaded is None:
            return
        _loaded = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return_freed_memory()
    finally:
        _lock.release()


def loads_here() -> dict[str, int]:
    """:data:`loads` of the worker that this runs on."""
    return dict(loads)
