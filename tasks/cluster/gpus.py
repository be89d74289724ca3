"""The GPUs of this machine, and the worker processes that share them out: one each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rosetta.errors import UserError
from rosetta.recipe import Compute

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class GpuProcess:
    """How one worker process is started."""

    env: dict[str, str]
    """Its environment, beside that of this process."""
    resources: dict[str, float]
    """What Dask's scheduler is to know of it."""


def processes(gpus: Sequence[str]) -> list[GpuProcess]:
    """A worker for each GPU, which is the only one that it sees."""
    return [GpuProcess({_VISIBLE: gpu}, {"GPU": 1}) for gpu in gpus]


def visible() -> list[str]:
    """What this process calls its GPUs: numbers, or what `CUDA_VISIBLE_DEVICES` has."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def asked_for(compute: Compute, device: str) -> int:
    """How many GPUs `compute.devices` means, one process each; 1 where this process does the work.

    Parameters
    ----------
    device
        That the recipe's `device` means here.

    Raises
    ------
    UserError
        They are not there, or the recipe says otherwise, too.
    """
    asked = compute.devices
    if asked == 1:
        return 1
    if compute.cluster != "threads":
        raise UserError(
            f"compute.devices: {asked} is for a run without a cluster, and compute.cluster is {compute.cluster};"
            " leave one of them out (workers of a cluster have a GPU each: dask worker … --resources GPU=1)"
        )
    if device != "cuda":
        if asked == "all":
            return 1
        why = f", but compute.device is {compute.device}" if compute.device not in ("auto", "cuda") else ", 0 visible"
        raise UserError(f"compute.devices: {asked} GPUs asked for{why}; leave devices out, or set device to cuda")
    there = len(visible())
    if asked != "all" and asked > there:
        raise UserError(f"compute.devices: {asked} GPUs asked for, {there} visible; ask for fewer, or for 'all'")
    return there if asked == "all" else asked
