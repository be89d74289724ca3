"""The store of a model's maps: how it is cut, how it is laid out, and whether a model is the one that began it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.units import Units
from rosetta.zoo import Model
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_slice
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.forward import forward_passes
from tasks.dump.memory import Holding, fitted, holding

_SAME = 0.03
"""How far maps may be from those of another device, over the spread of their layer; TF32 comes to a third of it."""


def cut(
    model: str, units: Units, images: ImageStore, compute: Compute, store: ActivationStore | None, generator: bool
) -> Holding:
    """How a model's store is cut, or is to be cut, and what dumping into it holds.

    Parameters
    ----------
    store
        One that is there already.
    generator
        Whether the model makes the images.

    Raises
    ------
    UserError
        The recipe's memory holds not even the smallest chunks.
    """
    if store is not None:
        return holding(units, Blocks(store.chunk, store.block), compute)
    held = fitted(model, units, images.count, compute)
    if generator and not images.complete:
        return holding(units, held.blocks.of(images.block), compute)  # their pixels are written together
    return held


def lay_out(
    root: Root,
    fingerprint: Fingerprint,
    spec: ModelSpec,
    model: Model,
    images: ImageStore,
    compute: Compute,
    blocks: Blocks,
    codecs: Mapping[str, str],
) -> ActivationStore:
    """Lay a model's store out.

    Parameters
    ----------
    spec
        As the recipe has it; the model's own may name a copy of the weights.
    codecs
        By layer name, see :func:`storage.artifacts.shards.best_codec`.
    """
    attributes: dict[str, Any] = {
        "name": spec.name,
        "model": spec.model,
        "weights": spec.weights,
        "weights_sha256": model.weights_sha256,
        "preprocessing": model.preprocessing.as_dict() if model.preprocessing else None,
        "condition": spec.condition.identity,
        "generator": model.is_generator,
        "control": spec.control,
    }
    beside = {
        "options": spec.options or None,
        "published": model.published,
        "captured": getattr(model.module, "captured", None),
    }
    attributes |= {name: value for name, value in beside.items() if value is not None}
    return ActivationStore.create(
        root,
        spec.name,
        fingerprint,
        units=model.units,
        images=images.count,
        block=blocks.shard,
        chunk=blocks.chunk,
        codecs=codecs,
        labels=images.coordinates(),
        attributes=attributes,
        rounded=compute.dtype == "float16",
        indices=images.indices(slice(None)),
    )


def require_same(store: ActivationStore, model: Model, images: ImageStore) -> None:
    """Let the model see an image again that is in its store: the two may not be mixed if the maps are others.

    Raises
    ------
    UserError
        They are.
    """
    written = store.written()
    if model.is_generator and not images.complete:
        written = written & images.written()
    if not written.any():
        return
    image = block_slice(int(written.argmax()), store.block, images.count).start
    maps: dict[str, Tensor] = {}

    def take(_: slice, layer: str, values: Tensor) -> None:
        maps[layer] = values.clone()

    list(forward_passes(slice(image, image + 1), model, images, take))
    for layer, values in maps.items():
        stored = torch.from_numpy(store.maps(layer, slice(image, image + 1))).double()
        now = values.to("cpu", torch.float64)
        error = (now - stored).square().mean().sqrt()
        if error > _SAME * stored.std(correction=0) + 2.0**-10 * stored.abs().amax():
            raise UserError(
                f"{ACTIVATIONS.path(model.spec.name)} was begun with another model: layer {layer} of image {image} is"
                " different now; give --replace to rebuild it, or go back to the model as it was"
            )
