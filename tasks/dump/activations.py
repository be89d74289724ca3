"""Stage `dump`: every image once through one model, its activation maps into the model's store."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.units import Units
from rosetta.zoo import Model, load
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_slice
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.forward import forward_passes, say_enlarged
from tasks.dump.images import layout
from tasks.dump.memory import fitted, holding, writers
from tasks.dump.pipeline import Pipeline
from tasks.plan import Plan, Stage
from tasks.plan.stage import Names
from tasks.stage.memory import keep_freed_memory
from tasks.trust.observation import Observation

_SAME = 0.03
"""How far maps may be from those of another device, over the spread of their layer; TF32 comes to a third of it."""


def fingerprint_of(plan: Plan, model: str) -> Fingerprint:
    """Of a model's activations."""
    identity, images = plan.facts.models[model], plan.digest(IMAGES)
    return fingerprint(
        "activations", identity.made_with, images=images, model=identity.depends, **layout(plan.recipe.compute)
    )


def _dump(plan: Plan, model: str) -> None:
    dump(
        plan.root,
        plan.fingerprint(ACTIVATIONS, model),
        plan.fingerprint(IMAGES),
        plan.spec(model),
        plan.recipe.compute,
        plan.facts.device,
        partial(Observation.begin, plan, model),
    )


def _makers(plan: Plan) -> list[Names]:
    return [] if plan.facts.generator is None else [(plan.facts.generator.name,)]


def _viewers(plan: Plan) -> list[Names]:
    return [names for names in plan.instances("model") if names not in _makers(plan)]


GENERATE = Stage("dump", (ACTIVATIONS,), fingerprint_of, _dump, protected=True, of=_makers)
"""The maps of a generator, and with them the images."""
DUMP = Stage("dump", (ACTIVATIONS,), fingerprint_of, _dump, protected=True, of=_viewers)
"""The maps of all other models, once the images are complete."""
Begin = Callable[[Units, int, int, int], Observation | None]
"""Takes units, images of the run, images in a chunk and the bytes that are left, and gives what is to observe the maps,
if anything."""


def dump(
    root: Root,
    fingerprint: Fingerprint,
    images: Fingerprint,
    spec: ModelSpec,
    compute: Compute,
    device: str,
    begin: Begin | None = None,
) -> None:
    """Write what is missing of a model's store.

    Raises
    ------
    UserError
        The model gives a value that is not finite; names layer, channels and images. It is not the model that an
        earlier run began the store with. Or the recipe's memory does not hold what a dump holds.
    """
    store = ActivationStore.open(root, fingerprint, spec.name)
    pixels = ImageStore.open(root, images)
    if pixels is None:
        raise FileNotFoundError(f"{root.shown}/{IMAGES.path()}")
    keep_freed_memory()
    model = load(spec, device)
    say_enlarged(model, pixels)
    if store is not None:
        _require_same(store, model, pixels)
        held = holding(model.units, Blocks(store.chunk, store.block), compute)
    else:
        held = fitted(spec.name, model.units, pixels.count, compute)
        if model.is_generator and not pixels.complete:
            held = holding(model.units, held.blocks.of(pixels.block), compute)  # their pixels are written together
    blocks = held.blocks
    lay_out = partial(_lay_out, root, fingerprint, model, pixels, compute, blocks)
    rounded = compute.dtype == "float16"
    pipeline = Pipeline(model, pixels, blocks, lay_out, rounded, writers(compute), held.sets)
    left = compute.memory_bytes - held.peak
    observation = begin(model.units, pixels.count, blocks.chunk, left) if begin is not None else None
    if observation is not None and store is not None and not observation.catch_up(store, pipeline.missing(store)):
        observation = None
    if observation is not None:
        pipeline = replace(pipeline, observe=observation)
    store = pipeline.fill(store)
    if model.is_generator and not pixels.complete:
        pixels.finish()
    store.finish()
    if observation is not None:
        observation.finish()


def _lay_out(
    root: Root,
    fingerprint: Fingerprint,
    model: Model,
    images: ImageStore,
    compute: Compute,
    blocks: Blocks,
    codecs: Mapping[str, str],
) -> ActivationStore:
    attributes: dict[str, Any] = {
        "name": model.spec.name,
        "model": model.spec.model,
        "weights": model.spec.weights,
        "weights_sha256": model.weights_sha256,
        "preprocessing": model.preprocessing.as_dict() if model.preprocessing else None,
        "condition": model.spec.condition.model_dump(mode="json", exclude_none=True),
        "generator": model.is_generator,
        "control": model.spec.control,
    }
    return ActivationStore.create(
        root,
        model.spec.name,
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


def _require_same(store: ActivationStore, model: Model, images: ImageStore) -> None:
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
