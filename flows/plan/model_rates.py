"""How long one image takes in a model on some device: as it was measured, or from operations and rates."""

from dataclasses import dataclass
from typing import Literal

from flows.plan.rates import SHARED_MEMORY, Device, Rates
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.view.numbers import operations

_NEAR = 0.02
"""By how much operations may differ that two releases of a library count of the same model."""
_TFLOP, _GB = 10**12, 10**9


@dataclass(frozen=True)
class ModelRate:
    """One model of a run on one device."""

    name: str
    model: str
    units: int
    flop_per_image: int | None
    seconds_per_image: float
    source: Literal["measured", "estimate"]
    file: str | None = None
    """Where that was measured."""


def model_rate(spec: ModelSpec, units: int, name: str, device: Device, rates: Rates) -> ModelRate:
    """What is known of a model with so many units on a device of that name.

    Raises
    ------
    UserError
        The model has no outline to count operations in and was not measured, or was measured with other settings.
    """
    work = zoo.forward_work(spec)
    flop = None if work is None else work.operations
    found = rates.measured_on(spec.model, name)
    if found is not None:
        path, measured = found
        counted = measured.flop_per_image
        if flop is not None and counted is not None and abs(flop - counted) > _NEAR * max(flop, counted):
            raise UserError(
                f"rates {path}: {spec.model} was measured with {operations(counted)} for an image, but takes"
                f" {operations(flop)} in this recipe; measure it with the recipe's size and condition (--set)"
            )
        # Cores were measured together and are counted one by one.
        cores = measured.threads if name == SHARED_MEMORY else 1
        seconds = measured.seconds_per_image * cores
        return ModelRate(spec.name, spec.model, units, flop, seconds, "measured", str(path))
    if work is None:
        raise UserError(
            f"model {spec.name!r}: {spec.model} cannot be built without values, so its operations are not known;"
            f" measure it on a {name} with rosetta zoo {spec.model} --measure FILE, and give --rates FILE"
        )
    return ModelRate(spec.name, spec.model, units, flop, estimated_seconds(work, device), "estimate")


def estimated_seconds(work: zoo.Work, device: Device) -> float:
    """Of an image: convolutions in tf32 and matrix products in float32, as PyTorch runs them, and what all read and
    write, one after the other."""
    return (
        work.convolutions / (_TFLOP * device.tf32[0] * device.convolutions[0])
        + work.products / (_TFLOP * device.float32[0] * device.matrices[0])
        + work.moved / (_GB * device.bandwidth[0] * device.moving[0])
    )
