"""What a model makes of one image: classes where it has a classifier, and the units that respond most."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.zoo.device import true_float32
from rosetta.zoo.image_arrays import Pixels, from_pixels, to_pixels
from rosetta.zoo.model import Model
from rosetta.zoo.registry import find

CLASSES = 5
LAYERS, UNITS = 6, 5
"""Layers that are shown at most, evenly over the depth, and units of each."""

_HUNDREDTH = 100


@dataclass(frozen=True)
class Class:
    """One of the likeliest classes."""

    index: int
    name: str
    """Empty where nothing tells it."""
    probability: float


@dataclass(frozen=True)
class Response:
    """A unit with its map of the image."""

    layer: str
    channel: int
    map: npt.NDArray[np.float32]
    """(grid_y, grid_x)"""
    high: float
    """The mean of its strongest hundredth, which a single odd position does not decide."""

    @property
    def peak(self) -> float:
        """The largest value."""
        return float(self.map.max())


@dataclass(frozen=True)
class Checked:
    """An image as a model sees or makes it."""

    image: Pixels
    """(y, x, rgb) uint8."""
    classes: tuple[Class, ...] | None
    """The likeliest first; None without a classifier, empty where its weights are not there."""
    layers: tuple[tuple[Response, ...], ...]
    """The strongest units of some layers, in forward order."""


def check_image(model: Model, pixels: Pixels) -> Checked:
    """Show an image to a discriminative model.

    Parameters
    ----------
    pixels
        (y, x, rgb) uint8, of any size.
    """
    images = from_pixels(pixels[None].copy(), model.device)
    assert model.preprocessing is not None
    beside = (torch.zeros(1, dtype=torch.int64, device=model.device),) if model.indexed else ()
    with torch.inference_mode(), true_float32():
        output, maps = model.capture(model.preprocessing(images), *beside)
    return Checked(pixels, _classes(model, output), _strongest(model, maps))


def check_seed(model: Model, seed: int) -> Checked:
    """Let a generator make the first image of a seed."""
    classes = model.draw_classes(range(1), seed)
    latents = torch.from_numpy(model.draw_latents(range(1), seed))
    images, maps = model.generate(latents, None if classes is None else torch.from_numpy(classes))
    return Checked(to_pixels(images)[0], None, _strongest(model, maps))


def _classes(model: Model, output: object) -> tuple[Class, ...] | None:
    if not isinstance(output, Tensor) or output.ndim != 2:
        return None
    family, name = find(model.spec.model)
    names = family.classes(name, model.module, output.shape[1])
    if names is None:
        return None
    probabilities = output[0].double().softmax(0)
    if not probabilities.isfinite().all():  # what a checkpoint lacks is NaN
        return ()
    found = probabilities.topk(min(CLASSES, len(probabilities)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return tuple(Class(index, names[index] if names else "", value) for index, value in pairs)


def _strongest(model: Model, maps: Mapping[str, Tensor]) -> tuple[tuple[Response, ...], ...]:
    """Units whose strongest positions rise the highest above the mean of their map."""
    layers = [layer.name for layer in model.units.layers]
    places = np.unique(np.linspace(0, len(layers) - 1, LAYERS).round().astype(int))
    shown = []
    for layer in (layers[place] for place in places):
        values = maps[layer][0].float().nan_to_num(0.0, 0.0, 0.0).cpu()
        flat = values.flatten(1)
        high = flat.topk(-(-flat.shape[1] // _HUNDREDTH)).values.mean(1)
        rise = high if flat.shape[1] == 1 else high - flat.mean(1)
        order = rise.argsort(descending=True, stable=True)[:UNITS].tolist()
        shown.append(
            tuple(Response(layer, channel, values[channel].numpy(), float(high[channel])) for channel in order)
        )
    return tuple(shown)
