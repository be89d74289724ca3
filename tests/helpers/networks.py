"""The table of networks and their default layers, `tests/rosetta/zoo/maps/networks.txt`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import Tensor, nn

from rosetta.units import Grid

_TABLE = Path(__file__).parents[1] / "rosetta" / "zoo" / "maps" / "networks.txt"


@dataclass(frozen=True)
class Row:
    """One layer of a network."""

    layer: str
    """As a recipe names it."""
    channels: int
    grid: Grid
    prefix: int
    """How many tokens come before those of the grid."""
    in_rows: bool
    """Whether the tokens follow the rows of the image."""

    def read(self, raw: Tensor) -> Tensor:
        """(image, channel, y, x) of what a hook sees, by nothing but this row."""
        count, (rows, columns) = len(raw), self.grid
        if raw.ndim == 3:
            assert raw.shape == (count, self.prefix + rows * columns, self.channels)
            return raw[:, self.prefix :].reshape(count, rows, columns, self.channels).permute(0, 3, 1, 2)
        if raw.shape == (count, self.channels, rows, columns):
            return raw
        assert raw.shape == (count, rows, columns, self.channels)
        return raw.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Network:
    """One network of the table."""

    name: str
    options: Mapping[str, int]
    rows: tuple[Row, ...]


def networks() -> dict[str, Network]:
    """All networks of the table, by name."""
    found: dict[str, Network] = {}
    for paragraph in _TABLE.read_text().split("\n\n")[1:]:
        head, *lines = paragraph.strip().splitlines()
        name, *options = head.split()
        values = {key: int(value) for key, value in (option.split("=") for option in options)}
        found[name] = Network(name, values, tuple(row for line in lines for row in _rows(line)))
    return found


def _rows(line: str) -> Iterator[Row]:
    layer, channels, where = line.split()
    prefix, rows, columns = re.fullmatch(r"~?(?:(\d+)\+)?(\d+)x(\d+)", where).groups()  # type: ignore[union-attr]
    first, last = re.search(r"\{(\d+)-(\d+)\}", layer).groups() if "{" in layer else ("0", "0")  # type: ignore[union-attr]
    for index in range(int(first), int(last) + 1):
        name = re.sub(r"\{.*\}", str(index), layer)
        yield Row(name, int(channels), (int(rows), int(columns)), int(prefix or 0), not where.startswith("~"))


def watch(module: nn.Module, rows: tuple[Row, ...]) -> dict[str, Tensor]:
    """What plain hooks see at some layers from now on, by layer: the module's first tensor, or what goes into it."""
    seen: dict[str, Tensor] = {}
    for row in rows:
        path, _, part = row.layer.partition("@")

        def keep(raw: object, name: str = row.layer) -> None:
            while isinstance(raw, tuple | list):
                raw = raw[0]
            assert isinstance(raw, Tensor)
            seen[name] = raw.clone()

        def before(_: nn.Module, given: tuple[object, ...], keep: object = keep) -> None:
            keep(given)  # type: ignore[operator]

        def after(_: nn.Module, __: object, output: object, keep: object = keep) -> None:
            keep(output)  # type: ignore[operator]

        part_of = module.get_submodule(path)
        if part == "in":
            part_of.register_forward_pre_hook(before)
        else:
            part_of.register_forward_hook(after)
    return seen


def build_as(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes timm build a network as the table says."""
    create = timm.create_model
    options: dict[str, Any] = dict(network.options)
    if (side := options.pop("input", options.get("img_size"))) is not None:
        options["pretrained_cfg_overlay"] = {"input_size": (3, side, side)}
    monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given, **options))
