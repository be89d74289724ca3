"""A measured file: what `rosetta zoo MODEL --measure FILE` found on a device, for a forecast to take."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.strict import Strict, validated
from rosetta.zoo.timing import batch_seconds
from tasks.dump.forward import batch_size

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Measured(Strict):
    """Forward passes of one model on one device, with capture of its maps."""

    device: str = Field(min_length=1, description="As the device reports itself, or `cpu`.")
    threads: int = Field(1, ge=1, description="Cores that took part, of a processor.")
    model: str = Field(min_length=1, description="As recipes name it.")
    images_per_second: Positive
    seconds_per_image: Positive
    flop_per_image: int | None = Field(ge=0, description="None of a model without an outline.")
    tflops: float | None = Field(ge=0, allow_inf_nan=False, description="Reached: FLOP of an image over its seconds.")
    batch: int = Field(ge=1, description="Images in a pass.")
    precision: str
    torch: str = Field(description="Its version.")
    date: date


def measure(model: zoo.Model) -> Measured:
    """Run a model on its device in batches as a dump takes them."""
    device = model.device
    batch = batch_size(device)
    seconds = batch_seconds(model, batch) / batch
    work = zoo.forward_work(model.spec)
    return Measured(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads() if device.type == "cpu" else 1,
        model=model.spec.model,
        images_per_second=1 / seconds,
        seconds_per_image=seconds,
        flop_per_image=None if work is None else work.operations,
        tflops=None if work is None else work.operations / seconds / 10**12,
        batch=batch,
        precision=_precision(device),
        torch=torch.__version__,
        date=datetime.now(UTC).date(),
    )


def _precision(device: torch.device) -> str:
    """Of convolutions and of matrix products, which torch decides separately."""
    if device.type != "cuda" or not torch.backends.cudnn.allow_tf32:
        return "float32"
    return "float32, convolutions in tf32"


def write_measured(measured: Measured, path: Path) -> None:
    """Write a measured file, in place of one that is there.

    Raises
    ------
    UserError
        Nothing can be written there.
    """
    try:
        path.write_text(json.dumps(measured.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--measure {path}: {error.strerror}; give the path of a file that can be written") from None


def read_measured(content: str, origin: str) -> Measured:
    """A measured file; `origin` is what an error calls it.

    Raises
    ------
    UserError
        It is none.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UserError(f"{origin}: not a measured file; write one with rosetta zoo MODEL --measure FILE")
    return validated(Measured, data, origin)
