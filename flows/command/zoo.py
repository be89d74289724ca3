"""The command `rosetta zoo`: the families in a line each, or the layers of one model, its memory and its time."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tomli_w
from cyclopts import Parameter
from dask.utils import format_bytes
from rich.console import Console
from rich.table import Table

from flows.command.json_output import Json, print_json
from rosetta.errors import UserError
from rosetta.recipe import ModelSpec, parse_recipe
from rosetta.units import Grid

if TYPE_CHECKING:
    from rosetta.zoo import Model

_FLOAT32 = 4
_SILENCE = 1.0
"""Seconds after which the command says what takes so long."""


def zoo(
    model: str | None = None,
    /,
    *,
    changes: Annotated[tuple[str, ...], Parameter("--set")] = (),
    time: bool = False,
    device: str | None = None,
    as_json: Json = False,
) -> None:
    """List the model families, or show the layers of one model: channels, grids, first units, memory per image.

    No weights are needed. The model itself runs only with --time, or if its shapes alone do not tell the layers.

    Parameters
    ----------
    model
        A model, for example timm/resnet50. Default: list all families.
    changes
        Change the model's entry in the recipe, for example layers=["layer3"] or condition.timestep=100. May be
        repeated.
    time
        Also run the model and time a forward pass of one image.
    device
        Device for --time: auto (the default), cpu, cuda or mps.
    """
    if device is not None and not time:
        raise UserError("--device is the device for --time; add --time")
    if model is not None:
        _show(*_entry(model, changes, device or "auto"), time, as_json)
    elif changes or time:
        raise UserError("--set and --time need a model; name one, for example rosetta zoo timm/resnet50 --time")
    else:
        _list(as_json)


def _list(as_json: bool) -> None:
    """Print the families."""
    from rosetta import zoo as models

    families = models.families()
    if as_json:
        print_json({name: {"about": about, "models": models.names(name)} for name, about in families.items()})
        return
    for name, about in families.items():
        print(f"{name:12} {about}")


def _show(spec: ModelSpec, device: str, time: bool, as_json: bool) -> None:
    """Print the layers of a model, and then how long it takes."""
    from rosetta import zoo as models
    from rosetta.zoo.device import resolve_device

    device = resolve_device(device) if time else "cpu"
    # Weights that are named may decide what the model is, so only they tell its layers.
    outline = models.outline(spec) if spec.weights.startswith("random:") else None
    model = outline or _loaded(spec, device)
    shown = portrait(model)
    if not as_json:
        shown.print()
    timing: dict[str, Any] = {}
    if time:
        from rosetta.zoo.timing import forward_seconds

        seconds = forward_seconds(_loaded(spec, device) if model is outline else model)
        timing = {"forward_seconds": seconds, "device": device}
    if as_json:
        print_json(asdict(shown) | timing)
    elif time:
        print(f"A forward pass of one image takes {seconds:.3g} s on {device}.")


def _entry(model: str, changes: tuple[str, ...], device: str) -> tuple[ModelSpec, str]:
    """A model's entry and the device, validated as a recipe is, which needs a second model."""
    entry = {"name": "model", "model": model, "weights": "random:0"}
    models = [entry, {**entry, "name": "other"}]
    text = tomli_w.dumps({"name": "zoo", "root": ".", "models": models, "compute": {"device": device}})
    recipe = parse_recipe(text, "zoo", changes=[f"models.model.{change}" for change in changes])
    return recipe.models[0], recipe.compute.device


def _loaded(spec: ModelSpec, device: str) -> "Model":
    """The model itself. A line on standard error says what takes long."""
    from rosetta import zoo as models

    with _said_after(_SILENCE, f"Building {spec.model} and running it once on {device}. Large models take a minute."):
        return models.load(spec, device)


@contextmanager
def _said_after(seconds: float, line: str) -> Iterator[None]:
    """Print a line on standard error where the work inside takes longer."""
    timer = threading.Timer(seconds, lambda: print(line, file=sys.stderr, flush=True))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True)
class LayerPortrait:
    """One layer."""

    name: str
    channels: int
    grid_y: int
    grid_x: int
    first_unit: int
    bytes_per_image: int
    """Of its maps in float32."""
    raw_grid: Grid
    """What the module puts out. A larger one reaches beyond the image, and its maps are cropped to the image."""


@dataclass(frozen=True)
class Portrait:
    """One model in numbers."""

    model: str
    role: str
    """`generative` or `discriminative`."""
    units: int
    image_size: tuple[int, int]
    """Height and width of the images that it generates or takes."""
    latent: int | None
    classes: int | None
    preprocessing: dict[str, Any] | None
    bytes_per_image: int
    """Of all maps in float32, as a forward pass leaves them; a store holds half of that, before compression."""
    layers: tuple[LayerPortrait, ...]

    def print(self) -> None:
        """Print it on standard output."""
        print(f"{self.model}: {self.units:,} units in {len(self.layers)} layers")
        if self.role == "generative":
            classes = f" and one of {self.classes:,} classes" if self.classes else ""
            print(f"Generates images of {_by(self.image_size)} from {self.latent:,} latents{classes}.")
        elif self.preprocessing is not None:
            mean, std = (" ".join(f"{value:.4g}" for value in self.preprocessing[key]) for key in ("mean", "std"))
            scaling = f"{self.preprocessing['interpolation']}; mean {mean}, std {std}"
            print(f"Takes images of {_by(self.image_size)}, {scaling}.")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("layer")
        for column in ("channels", "grid", "first unit", "memory per image"):
            table.add_column(column, justify="right")
        for layer in self.layers:
            grid = (layer.grid_y, layer.grid_x)
            table.add_row(
                layer.name,
                f"{layer.channels:,}",
                _by(grid) if layer.raw_grid == grid else f"{_by(grid)} of {_by(layer.raw_grid)}",
                f"{layer.first_unit:,}",
                format_bytes(layer.bytes_per_image),
            )
        Console(width=None if Console().is_terminal else 140).print(table)
        if any(layer.raw_grid != (layer.grid_y, layer.grid_x) for layer in self.layers):
            print("A grid of a larger one: the layer reaches beyond the image and is cropped to it.")
        size = format_bytes(self.bytes_per_image)
        print(f"One image takes {size} of maps in float32. A store holds half of that before compression.")


def portrait(model: "Model") -> Portrait:
    """A model in numbers, from its shapes alone."""
    size = model.preprocessing.size if model.preprocessing else model.image_size
    assert size is not None
    layers = tuple(
        LayerPortrait(layer.name, layer.channels, *layer.grid, span.start, layer.values * _FLOAT32, layer.raw_grid)
        for layer, span in model.units.spans()
    )
    return Portrait(
        model=model.spec.model,
        role="generative" if model.is_generator else "discriminative",
        units=len(model.units),
        image_size=size,
        latent=model.latent,
        classes=model.classes,
        preprocessing=model.preprocessing.as_dict() if model.preprocessing else None,
        bytes_per_image=sum(layer.bytes_per_image for layer in layers),
        layers=layers,
    )


def _by(grid: Grid) -> str:
    return f"{grid[0]} × {grid[1]}"
