"""A dump on a CUDA GPU against the bare forward passes of its model, and what device and processor do meanwhile."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from dask.system import cpu_count
from faces import folder_bytes
from figures import BENCH, clear, figure, in_turn, timed
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.zoo import Model, load
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.activations import dump
from tasks.dump.forward import batch_size

SPECS = {
    "vit": ModelSpec(name="vit", model="timm/vit_base_patch16_224", weights="random:0", layers=["blocks.*.mlp.act"]),
    "resnet": ModelSpec(name="resnet", model="timm/resnet50", weights="random:0"),
}
"""The hidden units of a ViT-B's MLPs, 12 layers of 3,072 channels on 14 × 14; and the blocks of a ResNet-50."""
FEW, MANY, SIDE, _BLOCK = 128, 384, 224, 64
IMAGES_MADE, MAPS_MADE = fingerprint("images"), fingerprint("bench")
Span = tuple[float, float]


class Spent(NamedTuple):
    """What a dump takes."""

    seconds: float
    processor: float
    """Seconds of all cores together."""


@dataclass(frozen=True)
class Shares:
    """Of the time between the first maps that reach the host and the last."""

    computing: float
    """In which the device computes."""
    copying: float
    """In which maps are copied to the host."""


def of_noise(count: int) -> Root:
    """A root with so many images of noise."""
    root = Root(str(BENCH / f"dump-{count}"))
    root.remove("")
    images = ImageStore.create(root, IMAGES_MADE, images=count, size=(SIDE, SIDE), block=_BLOCK, latents=None)
    random = np.random.default_rng(0)
    for block in range(count // _BLOCK):
        images.write(block, random.integers(0, 256, (_BLOCK, SIDE, SIDE, 3), np.uint8))
    images.finish()
    return root


def dumped(root: Root, spec: ModelSpec, device: str) -> Spent:
    """What dumping all images takes, loading the model included."""
    root.remove("activations")
    before = time.process_time()
    seconds = timed(lambda: dump(root, MAPS_MADE, IMAGES_MADE, spec, Compute(), device))
    return Spent(seconds, time.process_time() - before)


def disk_rate() -> float:
    """Bytes a second of writing files to the disk, synced one by one."""
    folder, content, files = BENCH / "disk", np.random.default_rng(0).bytes(16 << 20), 64
    folder.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        for number in range(files):
            with (folder / str(number)).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    seconds = timed(write)
    clear("disk")
    return files * len(content) / seconds


def forward(model: Model, batch: int, images: int) -> float:
    """Seconds an image of passes over images that are on the device, whose maps nobody takes."""
    inputs = torch.rand(batch, 3, SIDE, SIDE, device=model.device)
    passes = max(1, images // batch)

    def run() -> None:
        for _ in range(passes):
            model.observe(inputs, range(batch), take=lambda *_: None)
        torch.cuda.synchronize()

    return timed(run) / (passes * batch)


def shares(work: Callable[[], object]) -> Shares:
    """What the device does in a dump."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        work()
    done: dict[bool, list[Span]] = {True: [], False: []}
    for event in profiled.events() or ():
        if event.device_type == DeviceType.CUDA and not event.name.startswith("Memset"):
            copies = event.name.startswith("Memcpy") and "Pinned" in event.name.partition("->")[2]
            done[copies].append((event.time_range.start, event.time_range.end))
    began, ended = min(start for start, _ in done[True]), max(end for _, end in done[True])
    within = {copies: [(max(s, began), min(e, ended)) for s, e in spans] for copies, spans in done.items()}
    return Shares(*(covered(within[copies]) / (ended - began) for copies in (False, True)))


def covered(spans: Iterable[Span]) -> float:
    """The length of their union."""
    total, reached = 0.0, -np.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def dump_figures(name: str, device: str = "cuda") -> dict[str, dict[str, Any]]:
    """Of one model. Rates are those of further images: what each dump costs once is left out."""
    spec, roots = SPECS[name], {count: of_noise(count) for count in (FEW, MANY)}
    model = load(spec, device)
    torch.cuda.reset_peak_memory_stats()
    # The first one loads libraries.
    _, few, many = (dumped(roots[count], spec, device) for count in (FEW, FEW, MANY))
    peak = torch.cuda.max_memory_allocated()
    store = ActivationStore.read(roots[FEW], name)
    passes = [partial(forward, model, batch, MANY) for batch in (batch_size(model.device), store.chunk)]
    whole, chunked = in_turn(3, *passes)
    each = (many.seconds - few.seconds) / (MANY - FEW)
    cores = (many.processor - few.processor) / (many.seconds - few.seconds)
    seen = shares(lambda: dumped(roots[FEW], spec, device))
    size, stored = 2 * sum(layer.values for layer in store.units.layers), folder_bytes(BENCH / f"dump-{FEW}") / FEW
    clear(*(f"dump-{count}" for count in roots))
    return {
        f"cuda_dump_{name}": figure(1 / each, "images/s"),
        f"cuda_dump_rate_{name}": figure(size / each / 1e6, "MB/s"),
        f"cuda_dump_to_disk_{name}": figure(stored / each / 1e6, "MB/s"),
        "cuda_disk": figure(disk_rate() / 1e6, "MB/s"),
        f"cuda_dump_once_{name}": figure(few.seconds - FEW * each, "s"),
        f"cuda_forward_{name}": figure(1 / whole, "images/s"),
        f"cuda_forward_as_dumped_{name}": figure(1 / chunked, "images/s"),
        f"cuda_dump_over_forward_{name}": figure(each / whole, "ratio"),
        f"cuda_dump_computing_{name}": figure(seen.computing, "share"),
        f"cuda_dump_copying_{name}": figure(seen.copying, "share"),
        f"cuda_dump_cores_{name}": figure(cores, f"of {cpu_count()}"),
        f"cuda_dump_memory_{name}": figure(peak / 2**30, "GiB"),
    }
