"""One dummy image through a model, to learn which modules run, in which order, and what they give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.units import WHOLE, Grid
from rosetta.zoo.maps.hidden_steps import hooked, rehearsal
from rosetta.zoo.maps.layout import Layout, NoMapError, Traits, layout_of, tensor_in
from rosetta.zoo.maps.places import IN, PATTERN, Place, input_of, tensors_of
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
    places: dict[str, Layout | str]
    """All places in the order in which they were reached, outputs of modules that run once included: how maps are
    read, or why there are none."""
    output: Any
    """What the model itself returned; of a rehearsal, so that only its type and shape count."""


class _Watch:
    """Writes down the shape of everything that modules take and give."""

    def __init__(self) -> None:
        self.seen: dict[Place, Shape | str] = {}
        """In the order in which it was there, every run counted."""

    def before(self, path: str, run: int, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self.seen[Place(path, run, IN)] = _shape(lambda: input_of(arguments, named))

    def after(self, path: str, run: int, output: Any) -> None:
        self.seen[Place(path, run)] = _shape(lambda: tensor_in(output))
        for part, tensor in tensors_of(output).items():
            self.seen[Place(path, run, part)] = _shape(lambda tensor=tensor: tensor)  # type: ignore[misc]

    def attends(self, path: str, run: int, find: Callable[[], Tensor]) -> None:
        place = Place(path, run, PATTERN)
        self.seen[place] = "attends more than once" if place in self.seen else _shape(find)


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
    watch = _Watch()
    watched = {path: paths[path] for path in first_path.values()}
    with torch.inference_mode(), rehearsal(), hooked(watched, watch, attention=True) as runs:
        output = module(*inputs)
    if image is None:
        image = (output.shape[-2], output.shape[-1]) if isinstance(output, Tensor) and output.ndim == 4 else (1, 1)
    places = _readings(_numbered(watch.seen, runs), traits, image)
    layouts: dict[str, Layout] = {}
    problems: dict[str, str] = {}
    for path, part in paths.items():
        name = first_path[id(part)]
        reading = places.get(Place(name), _no_single_run(name, runs[name]))
        if isinstance(reading, str):
            problems[path] = reading
        else:
            layouts[path] = reading
    # A module under two names is one layer, under its first.
    return Probe(
        tuple(first_path.values()),
        tuple(dict.fromkeys(place.path for place in watch.seen if place.part is None)),
        layouts,
        problems,
        {str(place): reading for place, reading in places.items()},
        output,
    )


def _no_single_run(path: str, runs: int) -> str:
    return f"runs {runs} times per image; name one of them, {path}#1 to #{runs}" if runs else "never runs"


def _numbered(seen: Mapping[Place, Shape | str], runs: Mapping[str, int]) -> dict[Place, Shape | str]:
    """Places as they are named: the number of a run only where there are several."""
    return {place if runs[place.path] > 1 else replace(place, run=None): shape for place, shape in seen.items()}


def _readings(seen: Mapping[Place, Shape | str], traits: Traits, image: Grid) -> dict[Place, Layout | str]:
    """How each place is read, or why it holds no map."""
    heads = _of_heads({place: shape for place, shape in seen.items() if not isinstance(shape, str)}, traits, image)
    readings: dict[Place, Layout | str] = {}
    before: dict[Grid, None] = {}
    for place, shape in seen.items():
        if isinstance(shape, str):
            readings[place] = shape
            continue
        if place in heads:
            readings[place] = heads[place]
            continue
        if place.part == IN and traits.frames:
            readings[place] = "is given maps of which the model does not say how far they reach beyond the image"
            continue
        try:
            layout = layout_of(
                shape, traits.of(place.path, place.part), image, traits.frames.get(place.path, WHOLE), tuple(before)
            )
        except NoMapError as problem:
            words = str(problem)
            readings[place] = words.replace("gives", "is given", 1) if place.part == IN else words
            continue
        if place.part == PATTERN and not (layout.kind == "tokens" and layout.prefix):
            readings[place] = "has no class token, whose attention this would be"
            continue
        readings[place] = layout
        if layout.kind != "tokens" and layout.raw_grid != (1, 1) and place.part is None and place.run is None:
            before[layout.raw_grid] = None
    return readings


def _of_heads(shapes: Mapping[Place, Shape], traits: Traits, image: Grid) -> dict[Place, str]:
    """What only looks like maps: queries, keys and weights of attention, which are tensors of four axes, too.

    They are found beside the sequences that they come from, in the same module: two axes are tokens; or one is, and
    the others are heads and the channels of a head; or one is heads and two are those channels (XCiT).
    """
    sequences: dict[str, set[tuple[int, int]]] = {}
    for place, shape in shapes.items():
        if place.part is None and len(shape) == 3 and _read(shape, traits.of(place.path, place.part), image):
            sequences.setdefault(_parent(place.path), set()).add((shape[1], shape[2]))
    found: dict[Place, str] = {}
    for place, shape in shapes.items():
        beside = sequences.get(_parent(place.path), set())
        counts = {tokens for tokens, _ in beside}
        if len(shape) != 4 or not beside or (layout := _read(shape, traits.of(place.path, place.part), image)) is None:
            continue
        positions = prod(layout.raw_grid)
        if any(0 <= count - positions <= MOST_PREFIX_TOKENS for count in counts):
            continue  # those of the sequence
        axes = shape[1:]
        whole = prod(axes)
        for tokens, channels in beside:
            apart = tokens in axes and whole == tokens * channels
            across = axes[1] == axes[2] and axes[0] * axes[1] == channels
            if apart or across or sum(axis in counts for axis in axes) > 1:
                verb = "is given" if place.part == IN else "gives"
                found[place] = f"{verb} {shape} beside {tokens} tokens of {channels} channels: heads, not places"
    return found


def _read(shape: Shape, traits: Traits, image: Grid) -> Layout | None:
    """How a shape would be read by itself."""
    try:
        return layout_of(shape, traits, image)
    except NoMapError:
        return None


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _shape(find: Callable[[], Tensor]) -> Shape | str:
    try:
        tensor = find()
    except NoMapError as problem:
        return str(problem)
    return tuple(tensor.shape) if tensor.is_floating_point() else f"gives {tensor.dtype} numbers"
