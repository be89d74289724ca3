"""Stage `dump`: every image once through one model, its activation maps into the model's store."""

from collections.abc import Collection, Iterator, Mapping
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
from storage.artifacts.activations import ActivationStore, LayerBlock
from storage.artifacts.blocks import block_slice, model_block
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.images import layout
from tasks.dump.rounding import Rounding
from tasks.plan import Plan, Stage
from tasks.stage.logs import about
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import forward, saw_images
from tasks.stage.progress import log, track

_FLOAT16_MAX = 65504.0

_REASONS = "widened_because"
"""Attribute of a store: why a layer is float32 that was to be float16."""
_OVERFLOW = "has values beyond float16"
_SAME = 0.03
"""How far maps may be from those of another device, over the spread of their layer; TF32 comes to a third of it."""


class _Float16Error(Exception):
    """Layers that float16 does not hold, with the reason."""

    def __init__(self, layers: Mapping[str, str]) -> None:
        self.layers = layers


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

    A layer that float16 cannot hold, as a value is too large or a unit's correlations would suffer from the rounding,
    is stored as float32: the store is rebuilt with that layer widened and the dump starts again, so that all of a
    layer has one precision wherever an earlier run stopped.

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
    widened = _widened(store) if store else {}
    while True:
        if store is None:
            store = _lay_out(root, fingerprint, model, pixels, compute, widened)
        try:
            _fill(store, model, pixels)
            break
        except _Float16Error as found:
            for layer, reason in found.layers.items():
                log.warning("%s: layer %s %s; it is stored as float32", spec.name, layer, reason)
            widened |= found.layers
            store = None
    if model.is_generator and not pixels.complete:
        pixels.finish()
    store.finish()


def _lay_out(
    root: Root, fingerprint: Fingerprint, model: Model, images: ImageStore, compute: Compute, widened: Mapping[str, str]
) -> ActivationStore:
    block = model_block(model.units, images.count, compute.dtype, compute.chunk_mib)
    if model.is_generator and not images.complete:
        block = images.block  # their pixels are written together
    attributes: dict[str, Any] = {
        "name": model.spec.name,
        "model": model.spec.model,
        "weights": model.spec.weights,
        "weights_sha256": model.weights_sha256,
        "preprocessing": model.preprocessing.as_dict() if model.preprocessing else None,
        "condition": model.spec.condition.model_dump(mode="json", exclude_none=True),
        "generator": model.is_generator,
        "control": model.spec.control,
        "widened_to_float32": sorted(widened),
        _REASONS: dict(widened),
    }
    return ActivationStore.create(
        root,
        model.spec.name,
        fingerprint,
        units=model.units,
        images=images.count,
        block=block,
        dtypes={layer.name: "float32" if layer.name in widened else compute.dtype for layer in model.units.layers},
        attributes=attributes,
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


def _widened(store: ActivationStore) -> dict[str, str]:
    attributes: Any = store.group.attrs
    # Overflow was once the only reason, and not said.
    reasons = attributes.get(_REASONS, {})
    return {layer: reasons.get(layer, _OVERFLOW) for layer in attributes["widened_to_float32"]}


def _written(store: ActivationStore, model: Model, images: ImageStore) -> npt.NDArray[np.bool_]:
    written = store.written()
    return written & images.written() if model.is_generator and not images.complete else written


def _fill(store: ActivationStore, model: Model, images: ImageStore) -> None:
    written = _written(store, model, images)
    dtypes, grids = store.dtypes(), {layer.name: layer.grid for layer in model.units.layers}
    roundings = {name: Rounding(grid[0] * grid[1]) for name, grid in grids.items() if dtypes[name] == "float16"}
    # One after the other: a thread that writes beside the forward pass was measured to slow it by more than it saves.
    with track(f"dump {model.spec.name}", images.count) as advance:
        for block in range(len(written)):
            span = block_slice(block, store.block, images.count)
            with about(images=f"{span.start}-{span.stop - 1}"):
                if not written[block]:
                    _dump_block(store, block, span, model, images, roundings)
                    saw_images(span.stop - span.start)
                advance(span.stop - span.start)


def _dump_block(
    store: ActivationStore,
    block: int,
    span: slice,
    model: Model,
    images: ImageStore,
    roundings: Mapping[str, Rounding],
) -> None:
    """Write one block: a generator's pixels first, since the maps' marker must not stand before them.

    Parameters
    ----------
    roundings
        Of the layers that are stored as float16; all others are float32.
    """
    count = span.stop - span.start
    stored = {}
    for layer in model.units.layers:
        dtype = torch.float16 if layer.name in roundings else torch.float32
        stored[layer.name] = torch.empty((count, layer.channels, *layer.grid), dtype=dtype)
    extremes = {layer.name: torch.empty((2, count, layer.channels)) for layer in model.units.layers}
    pixels = np.empty((count, *images.size, 3), np.uint8) if model.is_generator and not images.complete else None
    for batch, generated, maps in _forward(span, model, images):
        for name, values in maps.items():
            # Narrows, goes to host memory and puts channels first, in one pass.
            stored[name][batch].copy_(values)
            # Over the same values while they are in the caches.
            extremes[name][0, batch].copy_(values.amin(dim=(2, 3)))
            extremes[name][1, batch].copy_(values.amax(dim=(2, 3)))
        if pixels is not None and generated is not None:
            pixels[batch] = to_pixels(generated)
    layers = {name: summarise(activation, extremes[name][1]) for name, activation in stored.items()}
    if not all(np.isfinite(part.mean).all() for part in layers.values()):
        _explain(span, model, images, roundings)
    _require_resolved(count, layers, extremes, roundings)
    if pixels is not None:
        images.write(block, pixels)
    store.write(block, layers)


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


def _explain(span: slice, model: Model, images: ImageStore, float16: Collection[str]) -> NoReturn:
    """Look at a block again in full precision to say why not all of it is finite.

    Raises
    ------
    UserError
        The model gives NaN or infinity.
    _Float16Error
        A value is only too large for float16.
    """
    bad: dict[str, list[Tensor]] = {layer.name: [] for layer in model.units.layers}
    too_large = set()
    for _, _, maps in _forward(span, model, images):
        for name, values in maps.items():
            bad[name].append(~torch.isfinite(values).flatten(2).all(dim=2))
            if name in float16 and values.abs().amax() > _FLOAT16_MAX:
                too_large.add(name)
    for name, parts in bad.items():
        _require_finite(torch.cat(parts), model.spec.name, name, span.start)
    if too_large:
        raise _Float16Error({name: _OVERFLOW for name in bad if name in too_large})
    raise UserError(f"model {model.spec.name}: its maps are not finite, but only now and then; check its hardware")


def _require_resolved(
    count: int, layers: Mapping[str, LayerBlock], extremes: Mapping[str, Tensor], roundings: Mapping[str, Rounding]
) -> None:
    """
    Raises
    ------
    _Float16Error
        Float16 rounds units too coarsely.
    """
    coarse = {}
    for name, rounding in roundings.items():
        rounding.add(count, layers[name], *extremes[name])
        if channels := rounding.coarse():
            coarse[name] = f"varies too little for float16 in channels {_few(channels)}"
    if coarse:
        raise _Float16Error(coarse)


def summarise(activation: Tensor, peak: Tensor) -> LayerBlock:
    """A layer's block with its statistics, taken from the values as they are stored.

    Parameters
    ----------
    activation : (image, channel, y, x) float16 or float32
    peak : (image, channel) float32
        Each map's maximum before it was rounded.
    """
    exact = activation.flatten(2).double()
    mean = exact.mean(dim=(0, 2))
    square = exact.sub_(mean[:, None]).square_().sum(dim=(0, 2))
    # Rounding keeps the order: the rounded maximum is the maximum of what was rounded.
    return LayerBlock(activation.numpy(), peak.to(activation.dtype).float().numpy(), mean.numpy(), square.numpy())


def _require_finite(bad: Tensor, model: str, layer: str, first_image: int) -> None:
    """Say which (image, channel) maps are bad, if any."""
    if not bad.any():
        return
    images = [first_image + int(i) for i in bad.any(dim=1).nonzero().flatten()]
    channels = [int(i) for i in bad.any(dim=0).nonzero().flatten()]
    raise UserError(
        f"model {model}, layer {layer}: NaN or infinity in channels {_few(channels)} for images {_few(images)};"
        " check its weights and preprocessing, or leave the layer out"
    )


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{shown} and more" if len(numbers) > 4 else shown
