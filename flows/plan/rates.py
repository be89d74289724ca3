"""What devices do in a second: a table that comes with the project, and files that replace its figures."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from flows.plan.measured import Measured, read_measured
from rosetta.errors import UserError, nearest
from rosetta.fields import text
from rosetta.strict import Strict, validated

Source = Literal["data sheet", "measured", "estimate"]
"""Where a figure is from."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Key = Annotated[str, text(r"[a-z0-9]+", "not a device's name; write it in small letters and digits, like h100")]
Rate = tuple[Positive, Source]

SHARED_MEMORY = "cpu"
"""The device that is a core: all cores of a node have one memory."""
_MOST = 100_000
_MOST_BYTES = 2**20
"""Of a file of rates: a longer one is something else."""


class Device(Strict):
    """One kind of device; each figure with where it is from. Units are in `rates.toml`."""

    title: str
    float32: Rate
    tf32: Rate
    bfloat16: Rate
    memory_gb: Rate
    bandwidth: Rate
    convolutions: tuple[Share, Source]
    matrices: tuple[Share, Source]
    products: tuple[Share, Source]
    moving: tuple[Share, Source]
    per_node: tuple[Count, Source]
    cores: tuple[Count, Source]
    encode: Rate
    decode: Rate
    write: Rate
    read: Rate

    def figures(self, source: Source) -> list[str]:
        """Names of the figures that are from there."""
        return [name for name, value in self if isinstance(value, tuple) and value[1] == source]


class Devices(Strict):
    """The table."""

    devices: Mapping[Key, Device] = Field(min_length=1)


class _Given(Strict):
    """A file of devices: single figures, before they are put together."""

    usual: Mapping[str, Any] = Field(default_factory=dict)
    devices: Mapping[Key, Mapping[str, Any]] = Field(default_factory=dict)

    def over(self, other: "_Given") -> "_Given":
        """The other table with the figures of this one: what is usual here, and before that what a device has."""
        names = {**other.devices, **self.devices}
        known = {name: {**other.devices.get(name, {}), **self.usual, **self.devices.get(name, {})} for name in names}
        return _Given(usual={**other.usual, **self.usual}, devices=known)

    def devices_as(self, origin: str) -> Mapping[str, Device]:
        """The whole table, of which each device has all figures."""
        whole = {name: {**self.usual, **figures} for name, figures in self.devices.items()}
        return validated(Devices, {"devices": whole}, origin).devices


class Rates:
    """Devices by name, and what was measured of models on them."""

    def __init__(self, given: Sequence[Path] = ()) -> None:
        """Read the table of the project, and then some files in their order: `.toml` of the same tables, else measured.

        Raises
        ------
        UserError
            A file is missing, or is neither.
        """
        packaged = files("flows.plan").joinpath("rates.toml").read_text(encoding="utf-8")
        table = _Given.model_validate(tomllib.loads(packaged))
        self.devices = table.devices_as("rates.toml")
        self.measured: list[tuple[Path, Measured]] = []
        """Files, each with what was measured."""
        for path in given:
            content, origin = _content(path), f"rates {path}"
            if path.suffix != ".toml":
                self.measured.append((path, read_measured(content, origin)))
                continue
            try:
                data = tomllib.loads(content)
            except tomllib.TOMLDecodeError as error:
                raise UserError(f"{origin} is not TOML: {error}") from None
            table = validated(_Given, data, origin).over(table)
            self.devices = table.devices_as(origin)

    def device(self, name: str) -> Device:
        """One of the table.

        Raises
        ------
        UserError
            There is none of that name.
        """
        if name not in self.devices:
            known = nearest(name, self.devices) or f"; the table has {', '.join(self.devices)}"
            raise UserError(f"--on: no device {name!r} in the table of rates{known}")
        return self.devices[name]

    def measured_on(self, model: str, device: str) -> tuple[Path, Measured] | None:
        """The last file in which a model was measured on such a device, and what it says."""
        fitting = [one for one in self.measured if one[1].model == model and device in _words(one[1].device)]
        return fitting[-1] if fitting else None


def _words(reported: str) -> set[str]:
    """How a device may be called that reports itself so: `h100` for `NVIDIA H100 80GB HBM3`, `rtx4090` for `RTX 4090`.

    A GH200 is no H200: words count whole, by themselves and two together.
    """
    words = re.findall(r"[a-z0-9]+", reported.lower())
    return {*words, *(one + other for one, other in pairwise(words))}


def parse_devices(asked: str) -> tuple[str, int]:
    """Name and number in `h100:8`.

    Raises
    ------
    UserError
        It is not written so, or asks for none.
    """
    name, _, number = asked.partition(":")
    count = int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 0
    if not name or not 1 <= count <= _MOST:
        raise UserError(f"--on {asked!r} is not DEVICE:COUNT; write it like h100:8, with 1 to {_MOST:,} devices")
    return name.lower(), count


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UserError(f"rates {path}: larger than 1 MiB, so not a file of rates")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(
            f"rates {path}: {reason}; give a file that rosetta zoo MODEL --measure wrote, or a .toml of devices"
        ) from None
