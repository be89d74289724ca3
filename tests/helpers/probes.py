"""What tests ask of networks: their maps, where these answer to a change, what filters let through."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rosetta.units import Grid, Units


def maps_of(
    net: nn.Module, names: Iterable[str], *inputs: Tensor, through: Callable[..., Tensor] | None = None
) -> dict[str, Tensor]:
    """What the named modules put out, in the order in which they did, and the `image`.

    Parameters
    ----------
    through
        The part of the network that takes the inputs, instead of the whole.
    """
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: maps.update({name: output.clone()})

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    maps["image"] = (through or net)(*inputs)
    for handle in handles:
        handle.remove()
    return maps


Box = tuple[float, float, float, float]
"""(y0, x0, y1, x1) in fractions of the image."""


def patches(image: Grid, side: int = 32) -> tuple[Tensor, list[Box]]:
    """Images (image, rgb, y, x): a grey one, then grey ones with a bright patch; and where each patch is.

    A patch lies at a multiple of its side, as cells of the deepest layers do, which have 32 pixels as a rule. The
    places are told apart from their mirror images and from themselves with y and x exchanged.
    """
    height, width = image
    places = [(0.2, 0.7), (0.75, 0.3), (0.3, 0.2)]
    images = torch.full((1 + len(places), 3, height, width), 0.5)
    boxes = []
    for bright, (y, x) in zip(images[1:], places, strict=True):
        top, left = int(y * height) // side * side, int(x * width) // side * side
        bright[:, top : top + side, left : left + side] = 1
        boxes.append((top / height, left / width, (top + side) / height, (left + side) / width))
    return images, boxes


def misses(units: Units, maps: Mapping[str, Tensor], boxes: list[Box]) -> dict[str, float]:
    """By layer: by how many cells the strongest answer is beside the box, in the worst of the images.

    Parameters
    ----------
    units
        Of a model.
    maps
        (image, channel, y, x) by layer; the first image is the one without a change, the others have one each.
    boxes
        Where.

    Returns
    -------
    dict
        From the middle of the cell to the nearest edge of the box, the larger of y and x; infinite where nothing
        changes.
    """
    return {
        layer.name: max(
            _miss(changed - maps[layer.name][0], box) for changed, box in zip(maps[layer.name][1:], boxes, strict=True)
        )
        for layer in units.layers
    }


def _miss(change: Tensor, box: Box) -> float:
    answer = change.double().abs().mean(0)
    if not answer.max() > 0:
        return float("inf")
    rows, columns = answer.shape
    y, x = divmod(int(answer.argmax()), columns)
    y0, x0, y1, x1 = box
    middle_y, middle_x = y + 0.5, x + 0.5
    return max(0.0, y0 * rows - middle_y, middle_y - y1 * rows, x0 * columns - middle_x, middle_x - x1 * columns)


Array = npt.NDArray[np.float64]


def passed(kernel: Array, frequency: float) -> float:
    """The most that a filter over both axes passes from a frequency on, in cycles per sample, along either axis."""
    spectrum = np.abs(np.fft.fft2(kernel, (512, 512)))
    high = np.abs(np.fft.fftfreq(512)) >= frequency
    return float(spectrum[high | high[:, None]].max())


def square(kernel: Array | None) -> Array:
    """(tap, tap) of a filter that may be a line for either axis."""
    if kernel is None:
        return np.ones((1, 1))
    return np.outer(kernel, kernel) if kernel.ndim == 1 else kernel
