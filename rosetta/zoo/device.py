"""Which device a recipe means."""

import torch

from rosetta.errors import UserError


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


def device_name(device: torch.device) -> str:
    """What people call a device: the name of a GPU, else its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
