"""Which device a recipe means, and in which precision a model runs there."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from rosetta.errors import UserError

_TARGET: ContextVar[torch.device | None] = ContextVar("target", default=None)


@contextmanager
def building_for(device: torch.device) -> Iterator[None]:
    """What is built inside, in this thread, will run on a device."""
    token = _TARGET.set(device)
    try:
        yield
    finally:
        _TARGET.reset(token)


def target_device() -> torch.device:
    """Where what is being built will run: a network may help to build it there that is gone when it runs."""
    return _TARGET.get() or torch.device("cpu")


def resolve_device(device: str) -> str:
    """The device that `auto` stands for; any other is checked.

    Raises
    ------
    UserError
        There is no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }[kind]
    if not there:
        raise UserError(f"compute.device: there is no {device} here; use auto or cpu")
    return device


@contextmanager
def true_float32() -> Iterator[None]:
    """Convolutions in float32 instead of TF32, which torch takes for them on CUDA unless it is asked not to.

    On an H100 TF32 moved the maps of convolutional models by up to 2 % of their spread, and correlations by up to
    2e-3. Matrix products are in float32 as it is.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def device_name(device: torch.device) -> str:
    """What people call a device: the name of a GPU, else its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
