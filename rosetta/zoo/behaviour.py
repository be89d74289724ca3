"""What a model does, in a few numbers: whether one that is loaded today gives the maps that it once gave.

Code, preprocessing and libraries decide about a model's maps as much as its weights do, and no file says how. So a test
image, always the same, goes through the model, and a *sketch* is kept of each layer's maps: their level, their spread,
and their scalar products with a few fixed patterns of signs. A product changes by as much as the maps do (its expected
square is the squared norm of the change), so that sketches which agree mean maps which agree, to :data:`TOLERANCE` of
their spread. Last bits, which differ between machines, threads and versions, stay far below it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.units import Units
from rosetta.zoo.loading import load
from rosetta.zoo.maps.hidden_steps import rehearsal
from rosetta.zoo.model import Model
from rosetta.zoo.registry import find
from rosetta.zoo.weights.source import forked_rng

Sketch = list[float]
"""Level, spread, and :data:`_PATTERNS` products each of the channels' means and of what the maps hold beyond them.

Empty where maps are not finite, or not the same a second time."""

TOLERANCE = 1e-3
"""Of a sketch's spread. A change of the maps by so much moves no correlation by more than a millionth."""
_ROUNDING = 2.0**-20
"""Of a sketch's level: eight roundings of float32."""
_PATTERNS = 6
_SIDE = 64
"""Of the test image, in pixels: most models have to resize it."""


@dataclass(frozen=True)
class Behaviour:
    """What decides about a model's maps and images, as found on the model itself."""

    units: Units
    preprocessing: Mapping[str, Any] | None
    """None for a generator."""
    maps: Mapping[str, Sketch]
    """By layer."""
    image: Sketch | None
    """Of a generator."""


def examine(spec: ModelSpec) -> Behaviour:
    """Load a model on the CPU, show it the test image, and discard it.

    Half of the cores do this. The others are busy with whatever else starts, and a thread that waits for a core spins.

    Raises
    ------
    UserError
        Anything that keeps the model from running.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        return _examine(spec)
    finally:
        torch.set_num_threads(threads)


def _examine(spec: ModelSpec) -> Behaviour:
    model = load(_of_first_prompt(spec))
    image, maps = _sketches(model)
    if spec.model.startswith("python:"):
        # The zoo's models draw nothing unasked; what a user's own draws or counts says nothing of the model.
        image_again, maps_again = _sketches(model)
        maps = {layer: sketch if agree(sketch, maps_again[layer]) else [] for layer, sketch in maps.items()}
        image = image if image is None or image_again is None or agree(image, image_again) else []
    preprocessing = model.preprocessing.as_dict() if model.preprocessing else None
    return Behaviour(model.units, preprocessing, maps, image)


def _of_first_prompt(spec: ModelSpec) -> ModelSpec:
    """The same model with no more prompts than the test image needs: text encoders may take seconds for each."""
    condition = spec.condition
    if condition.prompts is None:
        return spec
    number = condition.classes[0] if condition.classes else 0
    if number >= len(condition.prompts):
        return spec  # which is an error that loading names
    alone = condition.model_copy(update={"prompts": condition.prompts[number : number + 1], "classes": None})
    return spec.model_copy(update={"condition": alone})


def agree(before: Sequence[float], now: Sequence[float]) -> bool:
    """Whether two sketches are of the same maps."""
    if len(before) != len(now) or not now:
        return len(before) == len(now)
    allowed = TOLERANCE * max(before[1], now[1]) + _ROUNDING * max(before[0], now[0])
    return all(isclose(one, other, rel_tol=0, abs_tol=allowed) for one, other in zip(before, now, strict=True))


def made_with(model: str) -> dict[str, str]:
    """Versions of the code that computes a model's maps, by name: of libraries, and a digest of the zoo's own.

    Raises
    ------
    UserError
        No such family.
    """
    libraries = ("torch", *find(model)[0].libraries)
    return {**{name: _version(name) for name in libraries}, "rosetta's zoo": _zoo_digest()}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def _zoo_digest() -> str:
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _sketches(model: Model) -> tuple[Sketch | None, dict[str, Sketch]]:
    try:
        # What hooks do not see, the many early steps of a diffusion model, is left out: it would take minutes.
        with forked_rng(0), rehearsal():
            if model.is_generator:
                images, maps = model.generate_first()
                image = _sketch(images[0])
            else:
                maps, image = model.observe(_test_image()), None
    except UserError:
        raise
    except Exception as error:  # a module may fail in any way
        name = f"model {model.spec.name!r} ({model.spec.model})"
        raise UserError(f"{name} fails on a test image: {type(error).__name__}: {error}") from None
    return image, {layer: _sketch(values[0]) for layer, values in maps.items()}


def _sketch(values: Tensor) -> Sketch:
    """Of (channel, y, x)."""
    exact = values.double().numpy()
    if not np.isfinite(exact).all():
        return []
    means = exact.mean(axis=(1, 2))
    beyond = exact - means[:, None, None]
    signs = [_signs(axis, length) for axis, length in enumerate(exact.shape)]
    # A product of signs per axis is a pattern of signs, and costs no array of its own.
    of_means = signs[0] @ means / sqrt(means.size)
    of_rest = np.einsum("cyx,kc,ky,kx->k", beyond, *signs, optimize=True) / sqrt(beyond.size)
    level = float(np.abs(exact).max())
    return [float(f"{number:.7g}") for number in (level, float(exact.std()), *of_means, *of_rest)]


def _signs(axis: int, length: int) -> npt.NDArray[np.float64]:
    """(pattern, length) of −1 and 1, the same everywhere and for ever."""
    return np.stack([_bits(f"{axis} {pattern}", length) * 2.0 - 1 for pattern in range(_PATTERNS)])


def _bits(text: str, length: int) -> npt.NDArray[np.uint8]:
    noise = hashlib.shake_256(text.encode()).digest(-(-length // 8))
    return np.unpackbits(np.frombuffer(noise, np.uint8), count=length)


def _test_image() -> Tensor:
    """(1, rgb, y, x) float32 in 0…1: noise of every scale, down to single pixels."""
    total = np.zeros((3, _SIDE, _SIDE))
    sides = [2**power for power in range(1, 7)]
    for side in sides:
        noise = hashlib.shake_256(f"image {side}".encode()).digest(3 * side * side)
        total += np.frombuffer(noise, np.uint8).reshape(3, side, side).repeat(_SIDE // side, 1).repeat(_SIDE // side, 2)
    return torch.from_numpy((total / (255 * len(sides))).astype(np.float32))[None]
