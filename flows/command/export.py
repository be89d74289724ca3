"""The command `rosetta export`: a part of a run in one file."""

import re
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from flows.command.json_output import Json, print_json
from rosetta.errors import UserError

if TYPE_CHECKING:
    from storage.run.chosen import Chosen
    from storage.run.data import RunData


def export(
    root: str, out: Path, /, *, units: tuple[str, ...] = (), images: str | None = None, as_json: Json = False
) -> None:
    """Write a part of a run to one file: images, maps and statistics of some units, and their matches.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    out
        The new file: OUT.nc for NetCDF, OUT.zarr for Zarr.
    units
        Units of a model, for example lite0:143,150-159. May be repeated. Default: all units of Rosetta neurons.
    images
        For example 0-63,100; of a range those whose maps were kept. Default: all.
    """
    from storage.run.export import exported, matched_units, require_new, write
    from storage.run.run import Run

    require_new(out)
    run = Run.open(root)
    shown = None if images is None else _numbers("--images", images, run.seen, set(run.image_indices.tolist()))
    chosen = _by_model(units, run) if units else matched_units(run)
    if not chosen:
        raise UserError(f"{run.root.shown} has no Rosetta neurons to export; name units, like --units {run.anchor}:0-9")
    tree = exported(run, chosen, shown)
    write(tree, out)
    if as_json:
        counts = {model: int(tree[f"units/{model}"].sizes["unit"]) for model in chosen}
        print_json({"root": root, "path": str(out), "images": int(tree.sizes["image"]), "units": counts})
    else:
        print(f"Export: {out}, {tree.attrs['summary']}")


def _by_model(options: tuple[str, ...], run: "RunData") -> "dict[str, Chosen]":
    """By model: the units that the options name, in that order, each once."""
    units: dict[str, list[int]] = {}
    for option in options:
        model, colon, numbers = option.rpartition(":")
        if not colon:
            raise UserError(f"--units {option!r} names no units of a model; write it like lite0:143,150-159")
        run.require_model(model)
        named = _numbers(f"--units {model}:", numbers, len(run.stores[model].units))
        units[model] = [*units.get(model, []), *named]
    return {model: list(dict.fromkeys(numbers)) for model, numbers in units.items()}


def _numbers(option: str, text: str, count: int, kept: Container[int] | None = None) -> list[int]:
    """Numbers and ranges of numbers, ends included: `0-63,100`.

    Of a range that reaches beyond what there is, the end alone, which whoever looks it up refuses.

    Parameters
    ----------
    kept
        What a range takes, where that is not all; of one without any its start, which is refused in the same way.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(re.fullmatch("[0-9]{1,12}", end) for end in ends) or int(ends[0]) > int(ends[1]):
            raise UserError(f"{option} {text!r} is not a list of numbers; write it like 0-63,100")
        start, end = map(int, ends)
        within = [number for number in range(start, min(end + 1, count)) if kept is None or number in kept]
        numbers += [end] if end >= count else within if dash and within else [start]
    return numbers
