"""Images through a model, batch by batch."""

from collections.abc import Callable, Iterator
from operator import gt

import torch
from torch import Tensor

from rosetta.mining.plan import ranges
from rosetta.zoo import Model
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.finished import is_finished
from storage.artifacts.images import ImageStore
from tasks.plan import Plan
from tasks.stage.metrics import forward
from tasks.stage.progress import log

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


def say_enlarged(plan: Plan) -> None:
    """Warn once for a run where models take larger images than there are; not where all of their maps are there."""
    images = ImageStore.open(plan.place(IMAGES.path()).root, plan.fingerprint(IMAGES))
    if images is None or all(
        is_finished(plan.place(ACTIVATIONS.path(name)), ACTIVATIONS, plan.digest(ACTIVATIONS, name))
        for name in plan.names
    ):
        return
    seen = {name: plan.facts.models[name].image_size for name in plan.names}
    larger = {name: size for name, size in seen.items() if size is not None and any(map(gt, size, images.size))}
    if not larger:
        return
    named = ", ".join(f"{name} ({size[0]} × {size[1]})" for name, size in larger.items())
    remedy = ""
    if plan.facts.generator is None:
        remedy = f"; images.size = {max(max(size) for size in larger.values())} would show them all that they take"
    log.warning("images: %s × %s pixels are enlarged for %s%s", *images.size, named, remedy)
