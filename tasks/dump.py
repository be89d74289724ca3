"""Stage `dump`: every image once through one model, its activation maps into the model's store."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.recipe import Compute, ModelSpec
from rosetta.zoo import Model, load
from storage.activations import ActivationStore, LayerBlock
from storage.blocks import MIB, block_size, block_slice
from storage.fingerprint import Fingerprint
from storage.images import ImageStore
from storage.location import Root
from tasks.progress import log, track
from tasks.stage import Outcome, stage

_FLOAT16_MAX = 65504.0

Pixels = npt.NDArray[np.uint8]


class _Float16Error(Exception):
    def __init__(self, layer: str) -> None:
        self.layer = layer


def batch_size(device: torch.device) -> int:
    """Images in one forward pass. A CPU is fastest while a batch's maps stay in its caches."""
    return 4 if device.type == "cpu" else 64


def model_block(model: Model, images: int, dtype: str, chunk_mib: int) -> int:
    """Images in a chunk of the model's store."""
    largest = max(layer.values for layer in model.units.layers)
    return block_size(largest * np.dtype(dtype).itemsize, chunk_mib * MIB, images)


@stage("dump {spec.name}")
def dump(
    root: Root, wanted: Fingerprint, images: Fingerprint, spec: ModelSpec, compute: Compute, device: str
) -> Outcome:
    """Write what is missing of a model's store.

    A layer with a value that float16 cannot hold is stored as float32: the store is laid out anew with that layer
    widened and the dump begins again, so that all of a layer has one precision wherever an earlier run stopped.

    Raises
    ------
    UserError
        The model gives a value that is not finite; names layer, channels and images.
    """
    store = ActivationStore.open(root, spec.name, wanted)
    if store is not None and store.complete:
        return "skipped"
    pixels = ImageStore.open(root, images)
    if pixels is None:
        raise FileNotFoundError(f"{root.shown}/images.zarr")
    model = load(spec, device)
    dtypes = store.dtypes() if store else {layer.name: compute.dtype for layer in model.units.layers}
    while True:
        if store is None:
            block = model_block(model, pixels.count, compute.dtype, compute.chunk_mib)
            store = _lay_out(root, wanted, model, pixels, dtypes, block)
        try:
            _fill(store, model, pixels)
            break
        except _Float16Error as found:
            log.warning("%s: layer %s has values beyond float16; it is stored as float32", spec.name, found.layer)
            dtypes = {**dtypes, found.layer: "float32"}
            store = None
    if model.is_generator and not pixels.complete:
        pixels.finish()
    store.finish()
    return "done"


def _lay_out(
    root: Root, wanted: Fingerprint, model: Model, images: ImageStore, dtypes: Mapping[str, str], block: int
) -> ActivationStore:
    attributes: dict[str, Any] = {
        "name": model.spec.name,
        "model": model.spec.model,
        "weights": model.spec.weights if not _may_hold_secrets(model.spec.weights) else "URL with credentials",
        "weights_sha256": model.weights_sha256,
        "preprocessing": model.preprocessing.as_dict() if model.preprocessing else None,
        "generator": model.is_generator,
        "control": model.spec.control,
        "widened_to_float32": sorted(
            layer for layer, dtype in dtypes.items() if dtype == "float32" and "float16" in dtypes.values()
        ),
    }
    return ActivationStore.create(
        root,
        model.spec.name,
        wanted,
        units=model.units,
        images=images.count,
        block=block,
        dtypes=dtypes,
        attributes=attributes,
    )


def _may_hold_secrets(weights: str) -> bool:
    return "@" in weights and "://" in weights


def _fill(store: ActivationStore, model: Model, images: ImageStore) -> None:
    written = store.written()
    if model.is_generator and not images.complete:
        written &= images.written()
    dtypes = store.dtypes()
    # One block is compressed and written while the next goes through the model; never more than two are held.
    writing: Future[None] | None = None
    with track(f"dump {model.spec.name}", images.count) as advance, ThreadPoolExecutor(1) as writer:
        for block in range(len(written)):
            span = block_slice(block, store.block, images.count)
            if not written[block]:
                pixels, parts = _run_block(span, model, images, dtypes)
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write_block, store, images, block, pixels, parts)
            advance(span.stop - span.start)
        if writing is not None:
            writing.result()


def _run_block(
    span: slice, model: Model, images: ImageStore, dtypes: Mapping[str, str]
) -> tuple[Pixels | None, dict[str, list[Tensor]]]:
    """The pixels that a generator makes, where they are wanted, and every layer's maps, batch by batch."""
    device = model.device
    size = batch_size(device)
    latents = images.latents(span) if model.is_generator else None
    pixels = images.pixels(span) if latents is None else np.zeros((span.stop - span.start, *images.size, 3), np.uint8)
    parts: dict[str, list[Tensor]] = {layer.name: [] for layer in model.units.layers}
    for start in range(0, len(pixels), size):
        batch = slice(start, min(start + size, len(pixels)))
        if latents is not None:
            generated, maps = model.generate(torch.from_numpy(latents[batch]).to(device))
            pixels[batch] = to_pixels(generated)
        else:
            maps = model.observe(from_pixels(pixels[batch], device))
        for layer in model.units.layers:
            values = maps[layer.name].float()
            _require_finite(values, model.spec.name, layer.name, span.start + start)
            if dtypes[layer.name] == "float16":
                if values.abs().amax() > _FLOAT16_MAX:
                    raise _Float16Error(layer.name)
                values = values.half()
            parts[layer.name].append(values.cpu().contiguous())
    return pixels if latents is not None and not images.complete else None, parts


def _write_block(
    store: ActivationStore, images: ImageStore, block: int, pixels: Pixels | None, parts: Mapping[str, list[Tensor]]
) -> None:
    # Pixels first: their marker must not be behind that of the maps made from the same latents.
    if pixels is not None:
        images.write(block, pixels)
    store.write(block, {name: summarise(torch.cat(batches)) for name, batches in parts.items()})


def summarise(activation: Tensor) -> LayerBlock:
    """A layer's block with its statistics, taken from the values as they are stored.

    Parameters
    ----------
    activation : (image, channel, y, x) float16 or float32
    """
    flat = activation.flatten(2)
    exact = flat.double()
    mean = exact.mean(dim=(0, 2))
    square = (exact - mean[:, None]).square_().sum(dim=(0, 2))
    return LayerBlock(activation.numpy(), flat.amax(dim=2).float().numpy(), mean.numpy(), square.numpy())


def to_pixels(images: Tensor) -> Pixels:
    """(image, y, x, rgb) uint8 of (image, rgb, y, x) images in 0…1."""
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def from_pixels(pixels: Pixels, device: torch.device) -> Tensor:
    """(image, rgb, y, x) float32 in 0…1 of (image, y, x, rgb) uint8."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float().div(255)


def _require_finite(values: Tensor, model: str, layer: str, first_image: int) -> None:
    bad = ~torch.isfinite(values).flatten(2).all(dim=2)
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
