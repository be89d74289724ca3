"""One dummy image through a model, to learn which modules run, in which order, and what they give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.units import Grid
from rosetta.zoo.maps.layout import Layout, NoMapError, Traits, layout_of
from rosetta.zoo.maps.unseen import is_seen, rehearsal


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
    seen: dict[str, list[tuple[int, ...] | str]] = {}

    def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if is_seen():
                seen.setdefault(path, []).append(_shape(output))

        return hook

    handles = [paths[path].register_forward_hook(note(path)) for path in first_path.values()]
    try:
        with torch.inference_mode(), rehearsal():
            output = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()

    if image is None:
        image = (output.shape[-2], output.shape[-1]) if isinstance(output, Tensor) and output.ndim == 4 else (1, 1)
    layouts: dict[str, Layout] = {}
    problems: dict[str, str] = {}
    for path, part in paths.items():
        outputs = seen.get(first_path[id(part)], [])
        try:
            layouts[path] = _single(outputs, traits, image)
        except NoMapError as problem:
            problems[path] = str(problem)
    # A module under two names is one layer, under its first.
    return Probe(tuple(first_path.values()), tuple(seen), layouts, problems, output)


def _shape(output: Any) -> tuple[int, ...] | str:
    if not isinstance(output, Tensor):
        return f"gives a {type(output).__name__}, not a tensor"
    return tuple(output.shape) if output.is_floating_point() else f"gives {output.dtype} numbers"


def _single(outputs: list[tuple[int, ...] | str], traits: Traits, image: Grid) -> Layout:
    if not outputs:
        raise NoMapError("never runs")
    if len(outputs) > 1:
        raise NoMapError(f"runs {len(outputs)} times per image")
    if isinstance(outputs[0], str):
        raise NoMapError(outputs[0])
    return layout_of(outputs[0], traits, image)
