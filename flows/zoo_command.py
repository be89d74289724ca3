"""`rosetta zoo`: the families in a line each, or one model's layers, memory and time."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tomli_w
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from flows.answer import Json, print_json
from rosetta.recipe import ModelSpec, parse_recipe
from rosetta.units import Grid

_FLOAT32 = 4


def zoo(
    model: str | None = None,
    /,
    *,
    changes: Annotated[tuple[str, ...], Parameter("--set", negative="")] = (),
    device: str = "auto",
    as_json: Json = False,
) -> None:
    """List the families, or one model's layers with channels, grids, first units, memory and time.

    Needs no weights: layers, memory and time do not depend on them.

    Parameters
    ----------
    model
        A model, timm/resnet50 say; left out: all families.
    changes
        Change its entry in the recipe, like layers=["layer3"] or condition.timestep=100. May be repeated.
    device
        Where to time it: auto, cpu, cuda, mps.
    """
    from rosetta import zoo as models

    if model is None:
        families = models.families()
        if as_json:
            print_json({name: {"about": about, "models": models.names(name)} for name, about in families.items()})
            return
        for name, about in families.items():
            print(f"{name:12} {about}")
        return
    from flows.survey import resolve_device

    spec = _entry(model, changes)
    found = portrait(spec, resolve_device(device))
    if as_json:
        print_json(asdict(found))
    else:
        found.print()


def _entry(model: str, changes: tuple[str, ...]) -> ModelSpec:
    """A recipe's entry, checked as it would be anywhere; the second model only makes the recipe whole."""
    entry = {"name": "model", "model": model, "weights": "random:0"}
    text = tomli_w.dumps({"name": "zoo", "root": ".", "models": [entry, {**entry, "name": "other"}]})
    return parse_recipe(text, "zoo", changes=[f"models.model.{change}" for change in changes]).models[0]


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
    """What one model offers and costs."""

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
    forward_seconds: float
    """Of one image by itself on :attr:`device`."""
    device: str
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
                _mebibytes(layer.bytes_per_image),
            )
        Console(width=None if Console().is_terminal else 140).print(table)
        if any(layer.is_cropped for layer in self.layers):
            print("Where a grid is of a larger one, the layer reaches beyond the image and is cropped to it.")
        print(
            f"One image: {_mebibytes(self.bytes_per_image)} of maps in float32, half of that in a store before"
            f" compression; {self.forward_seconds:.3g} s for a forward pass on {self.device}"
        )


def portrait(spec: ModelSpec, device: str) -> Portrait:
    """Build a model, run it and measure.

    Raises
    ------
    UserError
        There is no such model, or it does not run.
    """
    from rosetta import zoo as models
    from rosetta.zoo.pace import forward_seconds

    model = models.load(spec, device)
    size = model.preprocessing.size if model.preprocessing else model.image_size
    assert size is not None
    layers = tuple(
        LayerPortrait(layer.name, layer.channels, *layer.grid, span.start, layer.values * _FLOAT32, layer.raw_grid)
        for layer, span in model.units.spans()
    )
    return Portrait(
        model=spec.model,
        role="generative" if model.is_generator else "discriminative",
        units=len(model.units),
        image_size=size,
        latent=model.latent,
        classes=model.classes,
        preprocessing=model.preprocessing.as_dict() if model.preprocessing else None,
        bytes_per_image=sum(layer.bytes_per_image for layer in layers),
        forward_seconds=forward_seconds(model),
        device=device,
        layers=layers,
    )


def _by(grid: Grid) -> str:
    return f"{grid[0]} × {grid[1]}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.3g} MiB" if count >= 2**20 else f"{count / 2**10:.3g} KiB"
