"""Models that run again and again on a few images: loaded once a process, made fast, with a twin for each thread."""

import threading
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import nn

from rosetta.model_spec import ModelSpec
from rosetta.zoo import load
from rosetta.zoo.folding import fold_batch_norms
from rosetta.zoo.model import Model


@lru_cache(maxsize=16)
def loaded(spec: ModelSpec, device: str) -> Model:
    """A model that is loaded once a process. It is nobody else's: its values differ from others' by rounding."""
    model = load(spec, device)
    # A sixth of a processor's time, measured on three networks of depthwise convolutions.
    fold_batch_norms(model.module, keep=model.capture.paths)
    if model.device.type == "cpu":
        # Networks of depthwise convolutions take half the time so.
        model.module.to(memory_format=torch.channels_last)
    return model


_twins = threading.local()
"""Of each thread: models by the one whose weights they share. Hooks sit on modules, so threads cannot share these."""


def of_thread(model: Model) -> Model:
    """A model for this thread alone, with the same weights in memory."""
    if threading.current_thread() is threading.main_thread():
        return model
    twins: WeakKeyDictionary[nn.Module, Model] = _twins.__dict__.setdefault("twins", WeakKeyDictionary())
    if model.module not in twins:
        twins[model.module] = model.twin()
    return twins[model.module]
