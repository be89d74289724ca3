"""A dummy image or two through a model, to learn which modules run, in which order, and what they give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.units import Grid
from rosetta.zoo.maps.hidden_steps import Reached, hooked, rehearsal, timestep
from rosetta.zoo.maps.layout import Layout, NoMapError, Traits, tensor_in
from rosetta.zoo.maps.places import IN, Place, input_of, tensors_of
from rosetta.zoo.maps.readings import Readings, Shape


@dataclass(frozen=True)
class Probe:
    """What the dummy images showed."""

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
        self.seen[Place(path, run, IN, timestep())] = _shape(lambda: input_of(arguments, named))

    def after(self, path: str, run: int, output: Any) -> None:
        self.seen[Place(path, run, None, timestep())] = _shape(lambda: tensor_in(output))
        for part, tensor in tensors_of(output).items():
            self.seen[Place(path, run, part, timestep())] = _shape(lambda tensor=tensor: tensor)  # type: ignore[misc]

    def attends(self, path: str, run: int, part: str, find: Callable[[], Tensor]) -> None:
        place = Place(path, run, part, timestep())
        self.seen[place] = "attends more than once" if place in self.seen else _shape(find)


def probe(module: nn.Module, inputs: tuple[Tensor, ...], traits: Traits, image: Grid | None) -> Probe:
    """Run a model once with a hook on every module.

    Parameters
    ----------
    module
        In evaluation mode.
    inputs
        What it takes for a few images, each (image, …).
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
    places = _readings(_numbered(watch.seen, runs), paths, traits, image, len(inputs[0]), runs)
    layouts: dict[str, Layout] = {}
    problems: dict[str, str] = {}
    for path, part in paths.items():
        name = first_path[id(part)]
        reading = places.get(Place(name)) or _no_single_run(name, runs)
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


def _no_single_run(path: str, all_runs: Mapping[Reached, int]) -> str:
    at = [step for reached, step in all_runs if reached == path and step is not None]
    if at:
        return f"runs at timesteps; name one of them, {path}@t={at[0]}"
    runs = all_runs.get((path, None), 0)
    return f"runs {runs} times per image; name one of them, {path}#1 to #{runs}" if runs else "never runs"


def _numbered(seen: Mapping[Place, Shape | str], runs: Mapping[Reached, int]) -> dict[Place, Shape | str]:
    """Places as they are named: the number of a run only where there are several."""
    several = {reached for reached, count in runs.items() if count > 1}
    return {
        place if (place.path, place.timestep) in several else replace(place, run=None): shape
        for place, shape in seen.items()
    }


def _readings(
    seen: Mapping[Place, Shape | str],
    modules: Mapping[str, nn.Module],
    traits: Traits,
    image: Grid,
    images: int,
    runs: Mapping[Reached, int],
) -> dict[Place, Layout | str]:
    """How each place is read, or why it holds no map."""
    shapes = {place: shape for place, shape in seen.items() if not isinstance(shape, str)}
    readings = Readings(shapes, modules, traits, image, images)
    found: dict[Place, Layout | str] = {}
    for place, shape in seen.items():
        try:
            ran = runs[place.path, place.timestep]
            found[place] = shape if isinstance(shape, str) else replace(readings.read(place), runs=ran)
        except NoMapError as problem:
            found[place] = str(problem)
    return found


def _shape(find: Callable[[], Tensor]) -> Shape | str:
    try:
        tensor = find()
    except NoMapError as problem:
        return str(problem)
    return tuple(tensor.shape) if tensor.is_floating_point() else f"gives {tensor.dtype} numbers"
