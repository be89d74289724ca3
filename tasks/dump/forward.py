"""Images through a model, batch by batch."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rosetta.mining.plan import ranges
from rosetta.zoo import Model
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.images import ImageStore
from tasks.stage.metrics import forward

Take = Callable[[slice, str, Tensor], None]
"""Takes maps (image, channel, y, x) of a batch: where in the span its images are, and the layer."""


def batch_size(device: torch.device) -> int:
    """Images in one forward pass. A CPU is fastest while a batch's maps stay in its caches."""
    return 4 if device.type == "cpu" else 64


def forward_passes(span: slice, model: Model, images: ImageStore, take: Take) -> Iterator[Tensor | None]:
    """Push some images through the model; yields for each batch the images that it generated, or None.

    Parameters
    ----------
    take
        Is given every layer's maps while the model runs; they change once it returns.
    """
    latents = images.latents(span) if model.is_generator else None
    classes = images.classes(span) if model.is_generator else None
    pixels = images.pixels(span) if latents is None else None
    indices = images.indices(span)
    for batch in ranges(span.stop - span.start, batch_size(model.device)):

        def keep(layer: str, maps: Tensor, batch: slice = batch) -> None:
            take(batch, layer, maps)

        if latents is not None:
            asked = None if classes is None else torch.from_numpy(classes[batch])
            with forward():
                generated, _ = model.generate(torch.from_numpy(latents[batch]), asked, take=keep)
            yield generated
        elif pixels is not None:
            with forward():
                model.observe(from_pixels(pixels[batch], model.device), indices[batch], take=keep)
            yield None
