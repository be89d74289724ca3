"""Stage `dump`: every image once through one model, its activation maps into the model's store."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from operator import gt
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.mining.plan import ranges
from rosetta.recipe import Compute, ModelSpec
from rosetta.zoo import Model, load
from rosetta.zoo.image_arrays import from_pixels, to_pixels
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_count, block_slice, model_blocks
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.images import layout
from tasks.dump.maps import MapBuffers, layer_block
from tasks.dump.rounding import Statistics
from tasks.plan import Plan, Stage
from tasks.stage.logs import about
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import forward, saw_images
from tasks.stage.progress import log, track

_SAME = 0.03
"""How far maps may be from those of another device, over the spread of their layer; TF32 comes to a third of it."""


def batch_size(device: torch.device) -> int:
    """Images in one forward pass. A CPU is fastest while a batch's maps stay in its caches."""
    return 4 if device.type == "cpu" else 64


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
    )


DUMP = Stage("dump", (ACTIVATIONS,), fingerprint_of, _dump, protected=True)


def dump(
    root: Root, fingerprint: Fingerprint, images: Fingerprint, spec: ModelSpec, compute: Compute, device: str
) -> None:
    """Write what is missing of a model's store.

    Raises
    ------
    UserError
        The model gives a value that is not finite; names layer, channels and images. Or it is not the model that an
        earlier run began the store with.
    """
    store = ActivationStore.open(root, fingerprint, spec.name)
    pixels = ImageStore.open(root, images)
    if pixels is None:
        raise FileNotFoundError(f"{root.shown}/{IMAGES.path()}")
    keep_freed_memory()
    model = load(spec, device)
    if model.preprocessing and any(map(gt, model.preprocessing.size, pixels.size)):
        made, given = ("×".join(map(str, size)) for size in (model.preprocessing.size, pixels.size))
        log.info("%s: sees images of %s enlarged from %s", spec.name, made, given)
    if store is not None:
        _require_same(store, model, pixels)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        store = _Dump(root, fingerprint, compute, model, pixels, pool).fill(store)
    if model.is_generator and not pixels.complete:
        pixels.finish()
    store.finish()


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
    )


def _require_same(store: ActivationStore, model: Model, images: ImageStore) -> None:
    """Let the model see an image again that is in its store: the two may not be mixed if the maps are others.

    Raises
    ------
    UserError
        They are.
    """
    if not (written := _written(store, model, images)).any():
        return
    image = block_slice(int(written.argmax()), store.block, images.count).start
    ((_, _, maps),) = _forward(slice(image, image + 1), model, images)
    for layer, values in maps.items():
        stored = torch.from_numpy(store.maps(layer, slice(image, image + 1))).double()
        now = values.to("cpu", torch.float64)
        error = (now - stored).square().mean().sqrt()
        if error > _SAME * stored.std(correction=0) + 2.0**-10 * stored.abs().amax():
            raise UserError(
                f"{ACTIVATIONS.path(model.spec.name)} was begun with another model: layer {layer} of image {image} is"
                " different now; give --replace to rebuild it, or go back to the model as it was"
            )


def _written(store: ActivationStore, model: Model, images: ImageStore) -> npt.NDArray[np.bool_]:
    written = store.written()
    return written & images.written() if model.is_generator and not images.complete else written


@dataclass(frozen=True)
class _Dump:
    """A model's images on their way into its store."""

    root: Root
    fingerprint: Fingerprint
    compute: Compute
    model: Model
    images: ImageStore
    pool: Executor

    @cached_property
    def blocks(self) -> Blocks:
        """How the store is cut along images; as the pixels where they are written together."""
        blocks = model_blocks(self.model.units, self.images.count, self.compute.chunk_mib)
        return blocks if self.images.complete or not self.model.is_generator else blocks.of(self.images.block)

    def fill(self, store: ActivationStore | None) -> ActivationStore:
        """Write the blocks that are missing; one that was not begun is laid out once its first maps are known."""
        count, blocks = self.images.count, self.blocks
        if store is not None:
            blocks = Blocks(store.chunk, store.block)
        written = np.zeros(block_count(count, blocks.shard), bool)
        if store is not None:
            written = _written(store, self.model, self.images)
        buffers = MapBuffers(self.model.units, blocks.chunk)
        with track(f"dump {self.model.spec.name}", count) as advance:
            for block in range(len(written)):
                span = block_slice(block, blocks.shard, count)
                with about(images=f"{span.start}-{span.stop - 1}"):
                    if not written[block]:
                        store = self._write(store, block, span, blocks, buffers)
                        saw_images(span.stop - span.start)
                    advance(span.stop - span.start)
        assert store is not None
        return store

    def _write(
        self, store: ActivationStore | None, block: int, span: slice, blocks: Blocks, buffers: MapBuffers
    ) -> ActivationStore:
        """Write one block: a generator's pixels first, since the maps' marker must not stand before them."""
        layers, model = self.model.units.layers, self.model
        rows: dict[str, list[list[bytes]]] = {layer.name: [] for layer in layers}
        parts: dict[str, list[Statistics]] = {layer.name: [] for layer in layers}
        generated = []
        for start in range(span.start, span.stop, blocks.chunk):
            chunk = slice(start, min(start + blocks.chunk, span.stop))
            for batch, pixels, maps in _forward(chunk, model, self.images):
                buffers.put(batch, maps)
                if pixels is not None and not self.images.complete:
                    generated.append(to_pixels(pixels))
            statistics = buffers.round(chunk.stop - chunk.start, self.compute.dtype == "float16")
            for layer in layers:
                if not statistics[layer.name].finite:
                    _refuse(buffers.bad(layer.name, chunk.stop - chunk.start), model.spec.name, layer.name, start)
            if store is None:
                codecs = buffers.codecs()
                store = _lay_out(self.root, self.fingerprint, model, self.images, self.compute, blocks, codecs)
            encoded = buffers.encode(store.codecs, self.pool)
            for layer in layers:
                rows[layer.name].append(encoded[layer.name])
                parts[layer.name].append(statistics[layer.name])
        assert store is not None
        if generated:
            self.images.write(block, np.concatenate(generated))
        store.write(
            block,
            {
                layer.name: layer_block(rows[layer.name], parts[layer.name], layer.grid[0] * layer.grid[1])
                for layer in layers
            },
        )
        return store


def _forward(span: slice, model: Model, images: ImageStore) -> Iterator[tuple[slice, Tensor | None, dict[str, Tensor]]]:
    """Push some images through the model, batch by batch: where in the span, images generated, every layer's maps."""
    latents = images.latents(span) if model.is_generator else None
    classes = images.classes(span) if model.is_generator else None
    pixels = images.pixels(span) if latents is None else None
    for batch in ranges(span.stop - span.start, batch_size(model.device)):
        if latents is not None:
            told = None if classes is None else torch.from_numpy(classes[batch])
            with forward():
                seen = model.generate(torch.from_numpy(latents[batch]), told)
            yield batch, *seen
        elif pixels is not None:
            indices = range(span.start + batch.start, span.start + batch.stop)
            with forward():
                maps = model.observe(from_pixels(pixels[batch], model.device), indices)
            yield batch, None, maps


def _refuse(bad: Tensor, model: str, layer: str, first_image: int) -> NoReturn:
    """Say which (image, channel) maps are bad.

    Raises
    ------
    UserError
        Always.
    """
    images = [first_image + int(i) for i in bad.any(dim=1).nonzero().flatten()]
    channels = [int(i) for i in bad.any(dim=0).nonzero().flatten()]
    raise UserError(
        f"model {model}, layer {layer}: NaN or infinity in channels {_few(channels)} for images {_few(images)};"
        " check its weights and preprocessing, or leave the layer out"
    )


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{shown} and more" if len(numbers) > 4 else shown
