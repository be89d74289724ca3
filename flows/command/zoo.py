"""`rosetta zoo`: the families in a line each, or one model's layers and memory, and its time where asked."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tomli_w
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from flows.command.json_output import Json, print_json
from flows.command.upkeep import in_bytes
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
    changes: Annotated[tuple[str, ...], Parameter("--set", negative="")] = (),
    time: Annotated[bool, Parameter(negative="")] = False,
    device: str | None = None,
    as_json: Json = False,
) -> None:
    """List the model families, or show one model's layers: channels, grids, first units and memory per image.

    No weights are needed, and as a rule shapes alone tell the layers: a model is run only where they do not, and with
    --time.

    Parameters
    ----------
    model
        A model, for example timm/resnet50. Without it, all families are listed.
    changes
        Change the model's entry in the recipe, for example layers=["layer3"] or condition.timestep=100. May be
        repeated.
    time
        Also run the model and measure a forward pass of one image.
    device
        The device for --time: auto (the default), cpu, cuda or mps.
    """
    if device is not None and not time:
        raise UserError("--device says where to time the model; add --time")
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
    """Print what a model offers, and how long it takes once that is read."""
    from rosetta import zoo as models

    place = _place(device) if time else "cpu"
    # Weights that were named may decide what the model is, so that only they tell its layers.
    outline = models.outline(spec) if spec.weights.startswith("random:") else None
    model = outline or _loaded(spec, place)
    found = portrait(model)
    if not as_json:
        found.print()
    timing: dict[str, Any] = {}
    if time:
        from rosetta.zoo.timing import forward_seconds

        seconds = forward_seconds(_loaded(spec, place) if model is outline else model)
        timing = {"forward_seconds": seconds, "device": place}
    if as_json:
        print_json(asdict(found) | timing)
    elif time:
        print(f"One image takes {seconds:.3g} s for a forward pass on {place}")


def _place(device: str) -> str:
    from rosetta.zoo.device import resolve_device

    return resolve_device(device)


def _entry(model: str, changes: tuple[str, ...], device: str) -> tuple[ModelSpec, str]:
    """A recipe's entry and device, checked as anywhere; the second model only makes the recipe whole."""
    entry = {"name": "model", "model": model, "weights": "random:0"}
    models = [entry, {**entry, "name": "other"}]
    text = tomli_w.dumps({"name": "zoo", "root": ".", "models": models, "compute": {"device": device}})
    recipe = parse_recipe(text, "zoo", changes=[f"models.model.{change}" for change in changes])
    return recipe.models[0], recipe.compute.device


def _loaded(spec: ModelSpec, device: str) -> "Model":
    """The model itself; what takes long is said on standard error, once."""
    from rosetta import zoo as models

    with _said_after(_SILENCE, f"building {spec.model} and running it once on {device}; large models take a minute"):
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
    """What the module puts out; maps are cropped to the image."""

    @property
    def is_cropped(self) -> bool:
        """Whether the module's own grid reaches beyond the image."""
        return self.raw_grid != (self.grid_y, self.grid_x)


@dataclass(frozen=True)
class Portrait:
    """What one model offers."""

    model: str
    role: str
    """`generative` or `discriminative`."""
    units: int
    image_size: tuple[int, int]
    """Height and width of what it makes or sees."""
    latent: int | None
    classes: int | None
    preprocessing: dict[str, Any] | None
    bytes_per_image: int
    """Of all maps in float32, as a forward pass leaves them; a store holds half of that, before compression."""
    layers: tuple[LayerPortrait, ...]

    def print(self) -> None:
        """Print it on standard output."""
        size = f"{self.image_size[0]} × {self.image_size[1]}"
        print(f"{self.model}: {self.units:,} units in {len(self.layers)} layers")
        if self.role == "generative":
            known = f" and one of {self.classes:,} classes" if self.classes else ""
            print(f"makes images of {size} from {self.latent:,} latents{known}")
        elif self.preprocessing is not None:
            mean, std = (" ".join(f"{value:.4g}" for value in self.preprocessing[key]) for key in ("mean", "std"))
            print(f"sees images of {size}, {self.preprocessing['interpolation']}; mean {mean}, std {std}")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("layer")
        for column in ("channels", "grid", "first unit", "memory per image"):
            table.add_column(column, justify="right")
        for layer in self.layers:
            table.add_row(
                layer.name,
                f"{layer.channels:,}",
                f"{layer.grid_y} × {layer.grid_x}" + (f" of {_by(layer.raw_grid)}" if layer.is_cropped else ""),
                f"{layer.first_unit:,}",
                in_bytes(layer.bytes_per_image),
            )
        Console(width=None if Console().is_terminal else 140).print(table)
        if any(layer.is_cropped for layer in self.layers):
            print("Where a grid is of a larger one, the layer reaches beyond the image and is cropped to it.")
        print(
            f"One image: {in_bytes(self.bytes_per_image)} of maps in float32, half of that in a store before"
            " compression"
        )


def portrait(model: "Model") -> Portrait:
    """What there is to say of a model, from its shapes alone."""
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
