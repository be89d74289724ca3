"""The command `rosetta zoo`: the families in a line each, or the layers of one model, its memory and its time."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tomli_w
from cyclopts import Parameter

from flows.command.check import check_model, picture_path, print_tensors, require_image, tensors_of
from flows.command.json_output import Json, print_json
from rosetta.errors import UserError, nearest
from rosetta.model_spec import ModelSpec
from rosetta.recipe import parse_recipe
from rosetta.units import Grid
from tasks.stage.text_table import print_table

if TYPE_CHECKING:
    from rosetta.zoo import Model
    from rosetta.zoo.maps.layout import Layout

_FLOAT32 = 4
_SILENCE = 1.0
"""Seconds after which the command says what takes so long."""


def zoo(
    model: str | None = None,
    /,
    *,
    changes: Annotated[tuple[str, ...], Parameter("--set")] = (),
    layers: tuple[str, ...] = (),
    weights: str | None = None,
    check: str | None = None,
    out: Path | None = None,
    time: bool = False,
    measure: Path | None = None,
    device: str | None = None,
    as_json: Json = False,
) -> None:
    """List the model families, show the layers of one model, or check what its weights make of an image.

    Layers are shown with channels, grids, first units and memory per image. That needs no weights. The model itself
    runs only with --weights, --time or --measure, or if its shapes alone do not tell the layers.

    Parameters
    ----------
    model
        A model, for example timm/resnet50. Default: list all families.
    changes
        Change the model's entry in the recipe, for example layers=["layer3"], size=384, options.depth=4 or
        condition.timestep=100. May be repeated.
    layers
        List all places whose names match a glob, for example blocks.0.*, with maps or the reason why there are none.
        May be repeated.
    weights
        Weights to load, as a recipe names them. Shows which tensors of a checkpoint were used, are left over, or were
        filled in.
    check
        With --weights: an image, or the seed of an image that a generator makes. Shows the likeliest classes, if there
        is a classifier, and writes a picture with the maps of the strongest units.
    out
        With --check: the picture, a PNG. Default: MODEL-check.png in this folder, if there is no such file yet. A file
        that is named is replaced.
    time
        Also run the model and time a forward pass of one image.
    measure
        A file to write: images per second in batches as a dump takes them, for rosetta mine --plan --on … --rates.
    device
        Device for --time and --measure: auto (the default), cpu, cuda or mps.
    """
    if device is not None and not (time or measure):
        raise UserError("--device is the device for --time and --measure; add one of them")
    if sum((time, bool(layers), measure is not None)) > 1:
        raise UserError("--layers lists places, --time times an image and --measure batches; give one of them")
    if model is None and any((changes, layers, weights, check, out, time, measure)):
        raise UserError("these options need a model; name one, for example rosetta zoo timm/resnet50")
    if check is None and out is not None:
        raise UserError("--out is the picture of --check; add --check IMAGE")
    if check is not None and (time or layers or measure is not None):
        raise UserError("--check looks at one image; leave --time, --layers and --measure out")
    if weights is not None:
        changes = (*changes, f"weights={json.dumps(weights)}")
    elif check is not None and not any(change.partition("=")[0].strip() == "weights" for change in changes):
        raise UserError("--check needs weights; add --weights PATH, or --weights random:0 for an untrained model")
    if model is not None and check is not None:
        spec, picture = _entry(model, changes, "auto")[0], picture_path(model, out)
        require_image(check)
        check_model(_loaded(spec, "cpu"), check, picture, as_json)
    elif model is not None and measure is not None:
        _measure(*_entry(model, changes, device or "auto"), measure, as_json)
    elif model is not None and layers:
        _show_places(_entry(model, changes, "auto")[0], layers, as_json)
    elif model is not None:
        _show(*_entry(model, changes, device or "auto"), time, as_json)
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
    if not as_json:
        _print(model)
        if outline is None:
            print_tensors(model)
    timing: dict[str, Any] = {}
    if time:
        from rosetta.zoo.timing import forward_seconds

        seconds = forward_seconds(_loaded(spec, device) if model is outline else model)
        timing = {"forward_seconds": seconds, "device": device}
    if as_json:
        print_json(portrait(model) | ({} if outline else {"tensors": tensors_of(model)}) | timing)
    elif time:
        print(f"A forward pass of one image takes {seconds:.3g} s on {device}.")


def _measure(spec: ModelSpec, device: str, path: Path, as_json: bool) -> None:
    """Measure a model and write what comes out."""
    from flows.plan.measured import measure, write_measured
    from rosetta.view.numbers import operations, significant
    from rosetta.zoo.device import resolve_device

    if not path.absolute().parent.is_dir():
        raise UserError(f"--measure {path}: there is no folder {path.parent}; make it first")
    measured = measure(_loaded(spec, resolve_device(device)))
    write_measured(measured, path)
    if as_json:
        print_json(measured.model_dump(mode="json"))
        return
    rate = f"{significant(measured.images_per_second)} images/s in batches of {measured.batch}"
    if measured.flop_per_image is not None and measured.tflops is not None:
        rate += f", {operations(measured.flop_per_image)} an image, {significant(measured.tflops)} TFLOP/s"
    print(f"{measured.model} on {measured.device}: {rate}")
    print(f"Written to {path}")


def _show_places(spec: ModelSpec, globs: tuple[str, ...], as_json: bool) -> None:
    """Print the places inside a model whose names match.

    Raises
    ------
    UserError
        None does.
    """
    from rosetta import zoo as models
    from rosetta.zoo.maps.globs import matches
    from rosetta.zoo.maps.places import parse_place

    places = models.places(spec)
    # A glob of modules shows all places of those.
    named = dict.fromkeys(name for name in places for key in (name, parse_place(name).path) if matches(globs, [key]))
    if not named:
        raise UserError(f"{spec.model}: no place matches {', '.join(globs)}{nearest(globs[0], list(places))}")
    if as_json:
        print_json([{"name": name, **_place(places[name])} for name in named])
        return
    rows = []
    for name in named:
        place = _place(places[name])
        rows.append((name, place["channels"] or "", _by(place["grid"]) if place["grid"] else "", place["reason"] or ""))
    print_table(("place", "channels", "grid", "no maps, as it"), rows, words=("place", "no maps, as it"))


def _place(reading: "Layout | str") -> dict[str, Any]:
    if isinstance(reading, str):
        return {"channels": None, "grid": None, "reason": reading}
    return {"channels": reading.channels, "grid": reading.grid, "reason": None}


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


def _image_size(model: "Model") -> Grid:
    """Height and width of the images that a model generates or takes."""
    size = model.preprocessing.size if model.preprocessing else model.image_size
    assert size is not None
    return size


def portrait(model: "Model") -> dict[str, Any]:
    """A model in numbers, from its shapes alone, for JSON.

    Bytes per image are those of its maps in float32, as a forward pass leaves them. A layer's `raw_grid` is the grid
    of its module. Where that reaches beyond the image, the maps are cropped to the image.
    """
    layers = [
        {
            "name": layer.name,
            "channels": layer.channels,
            "grid_y": layer.grid[0],
            "grid_x": layer.grid[1],
            "first_unit": span.start,
            "bytes_per_image": layer.values * _FLOAT32,
            "raw_grid": layer.raw_grid,
        }
        for layer, span in model.units.spans()
    ]
    return {
        "model": model.spec.model,
        "options": model.spec.options or {},
        "role": "generative" if model.is_generator else "discriminative",
        "units": len(model.units),
        "image_size": _image_size(model),
        "latent": model.latent,
        "classes": model.classes,
        "preprocessing": model.preprocessing.as_dict() if model.preprocessing else None,
        "published": model.published,
        "bytes_per_image": sum(layer.values for layer in model.units.layers) * _FLOAT32,
        "layers": layers,
    }


def _print(model: "Model") -> None:
    """Print a model's layers, and what they take."""
    from dask.utils import format_bytes

    size, layers = _by(_image_size(model)), model.units.layers
    print(f"{model.spec.model}: {len(model.units):,} units in {len(layers)} layers")
    if model.is_generator:
        noun = "prompts" if model.spec.condition.prompts else "classes"
        classes = f" and one of {model.classes:,} {noun}" if (model.classes or 0) > 1 else ""
        print(f"Generates images of {size} from {model.latent:,} latents{classes}.")
    elif model.preprocessing is not None:
        scaling = model.preprocessing.as_dict()
        mean, std = (" ".join(f"{value:.4g}" for value in scaling[key]) for key in ("mean", "std"))
        whose = "" if model.published in (None, model.spec.model) else f", as {model.published}"
        print(f"Takes images of {size}, {scaling['interpolation']}; mean {mean}, std {std}{whose}.")
    if model.spec.options:
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in model.spec.options.items())
        print(f"Built with options {options}.")
    rows = []
    for layer, span in model.units.spans():
        grid = _by(layer.grid) + ("" if layer.raw_grid == layer.grid else f" of {_by(layer.raw_grid)}")
        memory = format_bytes(layer.values * _FLOAT32)
        rows.append((layer.name, layer.channels, grid, span.start, memory))
    print_table(("layer", "channels", "grid", "first unit", "memory per image"), rows, words=("layer",))
    if any(layer.raw_grid != layer.grid for layer in layers):
        print("A grid of a larger one: the layer reaches beyond the image and is cropped to it.")
    memory = format_bytes(sum(layer.values for layer in layers) * _FLOAT32)
    print(f"One image takes {memory} of maps in float32. A store holds half of that before compression.")


def _by(grid: Grid) -> str:
    return f"{grid[0]} × {grid[1]}"
