"""One dummy image through a model, to learn which modules run, in which order, and what they give."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.units import WHOLE, Grid
from rosetta.zoo.maps.hidden_steps import hooked, rehearsal
from rosetta.zoo.maps.layout import Layout, NoMapError, Traits, layout_of, tensor_in
from rosetta.zoo.maps.tokens import MOST_PREFIX_TOKENS

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Probe:
    """What the dummy image showed."""

    paths: tuple[str, ...]
    """Every module path, those that never ran included."""
    order: tuple[str, ...]
    """Paths of the modules that ran, in the order in which they finished; each once."""
    layouts: dict[str, Layout]
    """How the output of each module that gives maps is read."""
    problems: dict[str, str]
    """Why each other module gives none."""
    output: Any
    """What the model itself returned; of a rehearsal, so that only its type and shape count."""


def probe(module: nn.Module, inputs: tuple[Tensor, ...], traits: Traits, image: Grid | None) -> Probe:
    """Run a model once with a hook on every module.

    Parameters
    ----------
    module
        In evaluation mode.
    inputs
        What it takes for a single image, each (1, …).
    traits
        What it declares about its tensors.
    image
        Height and width of the image, which tell the axes of square and of oblong maps; None: of the image
        that the model returns.
    """
    paths = {path: part for path, part in module.named_modules(remove_duplicate=False) if path}
    first_path: dict[int, str] = {}
    for path, part in paths.items():
        first_path.setdefault(id(part), path)
    seen: dict[str, list[Shape | str]] = {}

    def note(path: str, output: Any) -> None:
        seen.setdefault(path, []).append(_shape(output))

    with torch.inference_mode(), rehearsal(), hooked({path: paths[path] for path in first_path.values()}, note):
        output = module(*inputs)
    if image is None:
        image = (output.shape[-2], output.shape[-1]) if isinstance(output, Tensor) and output.ndim == 4 else (1, 1)
    readings = _readings(seen, traits, image)
    layouts: dict[str, Layout] = {}
    problems: dict[str, str] = {}
    for path, part in paths.items():
        reading = readings.get(first_path[id(part)], "never runs")
        if isinstance(reading, str):
            problems[path] = reading
        else:
            layouts[path] = reading
    # A module under two names is one layer, under its first.
    return Probe(tuple(first_path.values()), tuple(seen), layouts, problems, output)


def _readings(seen: Mapping[str, list[Shape | str]], traits: Traits, image: Grid) -> dict[str, Layout | str]:
    """By path: how the output is read, or why it is no map."""
    shapes = {path: outputs[0] for path, outputs in seen.items() if len(outputs) == 1}
    readings: dict[str, Layout | str] = {
        path: f"runs {len(outputs)} times per image" for path, outputs in seen.items() if len(outputs) > 1
    }
    readings |= {path: shape for path, shape in shapes.items() if isinstance(shape, str)}
    readings |= _of_heads({path: shape for path, shape in shapes.items() if not isinstance(shape, str)}, traits, image)
    before: dict[Grid, None] = {}
    for path, shape in shapes.items():  # in the order in which modules finished
        if path in readings or isinstance(shape, str):
            continue
        try:
            layout = layout_of(shape, traits, image, traits.frames.get(path, WHOLE), tuple(before))
        except NoMapError as problem:
            readings[path] = str(problem)
            continue
        readings[path] = layout
        if layout.kind != "tokens" and layout.raw_grid != (1, 1):
            before[layout.raw_grid] = None
    return readings


def _of_heads(shapes: Mapping[str, Shape], traits: Traits, image: Grid) -> dict[str, str]:
    """What only looks like maps: queries, keys and weights of attention, which are tensors of four axes, too.

    They are found beside the sequences that they come from, in the same module: two axes are tokens; or one is, and
    the others are heads and the channels of a head; or one is heads and two are those channels (XCiT).
    """
    sequences: dict[str, set[tuple[int, int]]] = {}
    for path, shape in shapes.items():
        if len(shape) == 3 and _read(shape, traits, image):
            sequences.setdefault(_parent(path), set()).add((shape[1], shape[2]))
    found: dict[str, str] = {}
    for path, shape in shapes.items():
        beside = sequences.get(_parent(path), set())
        counts = {tokens for tokens, _ in beside}
        if len(shape) != 4 or not beside or (layout := _read(shape, traits, image)) is None:
            continue
        places = prod(layout.raw_grid)
        if any(0 <= count - places <= MOST_PREFIX_TOKENS for count in counts):
            continue  # those of the sequence
        axes = shape[1:]
        whole = prod(axes)
        for tokens, channels in beside:
            apart = tokens in axes and whole == tokens * channels
            across = axes[1] == axes[2] and axes[0] * axes[1] == channels
            if apart or across or sum(axis in counts for axis in axes) > 1:
                found[path] = f"gives {shape} beside {tokens} tokens of {channels} channels: heads, not places"
    return found


def _read(shape: Shape, traits: Traits, image: Grid) -> Layout | None:
    """How a shape would be read by itself."""
    try:
        return layout_of(shape, traits, image)
    except NoMapError:
        return None


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _shape(output: Any) -> Shape | str:
    try:
        tensor = tensor_in(output)
    except NoMapError as problem:
        return str(problem)
    return tuple(tensor.shape) if tensor.is_floating_point() else f"gives {tensor.dtype} numbers"
