"""Where a classifier looks for a class: Grad-CAM.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017. With
`y` the score of a class before the softmax and `A_k` the map of channel k of a layer, over Z positions:

    α_k = 1/Z Σ_p ∂y/∂A_k[p]
    L = max(Σ_k α_k A_k, 0)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.device import true_float32
from rosetta.zoo.image_arrays import Pixels, from_pixels
from rosetta.zoo.model import Model
from rosetta.zoo.registry import find

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GradCam:
    """Where a model looks for a class on one image."""

    index: int
    """Of the class."""
    name: str
    """Of the class; empty where nothing tells it."""
    score: float
    """Of the class, before the softmax."""
    probability: float
    """Of the class, after it."""
    cams: Mapping[str, Float32]
    """(grid_y, grid_x), no less than 0, by layer."""
    maps: Mapping[str, Float32]
    """(channel, grid_y, grid_x) activation maps of all layers of the model."""


def grad_cam(model: Model, pixels: Pixels, index: int | None = None, layers: Sequence[str] | None = None) -> GradCam:
    """The same as :func:`grad_cams`, of one image (y, x, rgb)."""
    (found,) = grad_cams(model, pixels[None], index, layers)
    return found


def grad_cams(
    model: Model, pixels: Pixels, index: int | None = None, layers: Sequence[str] | None = None
) -> list[GradCam]:
    """Where a model looks for a class, image by image; one forward and one backward pass for all.

    Parameters
    ----------
    pixels
        (image, y, x, rgb) uint8, of any size.
    index
        Of the class; left out, the likeliest on each image.
    layers
        Those whose maps are weighed; left out, the last that the scores depend on.

    Raises
    ------
    UserError
        The model has no classifier or no such class, or its scores do not depend on a layer.
    """
    if model.preprocessing is None:
        raise UserError(f"{model.spec.name} is a generator; Grad-CAM is of a model that names classes")
    images = model.preprocessing(from_pixels(pixels.copy(), model.device))
    beside = (torch.zeros(len(images), dtype=torch.int64, device=model.device),) if model.indexed else ()
    told: list[tuple[Tensor, Sequence[str], list[int]]] = []

    def total(output: object) -> Tensor:
        # Images do not see each other, so the derivative of the sum is each image's own.
        scores, names = _scores(model, output)
        chosen = _classes(model, scores, index)
        told.append((scores.detach().double().cpu(), names, chosen))
        return scores[torch.arange(len(chosen)), chosen].sum()

    with true_float32():
        _, maps, gradients = model.capture.differentiate(images, *beside, of=total)
    ((scores, names, chosen),) = told
    weighed_layers = _layers(model, gradients, layers)
    return [
        GradCam(
            number,
            names[number] if names else "",
            float(scores[image, number]),
            float(scores[image].softmax(0)[number]),
            {layer: weighed(maps[layer][image], gradients[layer][image]) for layer in weighed_layers},
            {layer: of_layer[image].float().cpu().numpy() for layer, of_layer in maps.items()},
        )
        for image, number in enumerate(chosen)
    ]


def weighed(maps: Tensor, gradients: Tensor) -> Float32:
    """(y, x) the two equations of this module, for maps and derivatives (channel, y, x)."""
    weights = gradients.double().mean(dim=(1, 2))
    cam = torch.einsum("c,cyx->yx", weights, maps.double()).clamp_min(0.0)
    return np.asarray(cam.cpu().numpy(), np.float32)


def _scores(model: Model, output: object) -> tuple[Tensor, Sequence[str]]:
    """(image, class) scores, and the classes' names where they are known."""
    scores = getattr(output, "logits", output)
    family, name = find(model.spec.model)
    table = scores if isinstance(scores, Tensor) and scores.ndim == 2 else None
    names = None if table is None else family.classes(name, model.module, table.shape[1])
    if table is None or names is None:
        raise UserError(f"{model.spec.name} ({model.spec.model}) has no classifier; choose a model that names classes")
    if not bool(table.isfinite().all()):  # what a checkpoint lacks is NaN
        raise UserError(f"{model.spec.name}: its weights hold no classifier; give weights that do")
    return table, names


def _classes(model: Model, scores: Tensor, index: int | None) -> list[int]:
    """(image,) the class that is asked for, or the likeliest."""
    if index is None:
        return [int(number) for number in scores.argmax(dim=1)]
    classes = scores.shape[1]
    if not 0 <= index < classes:
        raise UserError(f"{model.spec.name} has no class {index}; its classes are 0 to {classes - 1}")
    return [index] * len(scores)


def _layers(model: Model, gradients: Mapping[str, Tensor], asked: Sequence[str] | None) -> Sequence[str]:
    own = [layer.name for layer in model.units.layers]
    if asked is None:
        depends = [name for name in own if name in gradients]
        if not depends:
            raise UserError(f"{model.spec.name}: its scores depend on none of the layers {', '.join(own)}")
        return depends[-1:]
    for name in asked:
        if name not in own:
            raise UserError(f"{model.spec.name} has no layer {name!r} in this run; there are {', '.join(own)}")
        if name not in gradients:
            raise UserError(f"{model.spec.name}: its scores do not depend on layer {name!r}; choose another")
    return asked
