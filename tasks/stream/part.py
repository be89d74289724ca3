"""What a worker does to stream images: block after block through all models and into sums, which it saves now and then.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice:
it goes on behind what it saved last.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.mining.halves import Mask
from rosetta.mining.plan import ranges
from rosetta.mining.trust.pixels import FEATURE_BLOCK, FeatureBlock, FeatureSpan
from rosetta.model_spec import ModelSpec
from rosetta.units import Units
from rosetta.zoo import Model, load
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.source_images import LeftOut
from tasks.cluster.engine import worker_of_cluster
from tasks.cluster.reports import Report, report
from tasks.correlate.tiles import set_up_precision
from tasks.dump.features import features_of
from tasks.dump.forward import batch_size
from tasks.dump.pipeline import torch_threads
from tasks.dump.worker_weights import readable
from tasks.source.file_list import Files
from tasks.source.pixels import BadImageError, bad_images, what_of
from tasks.stage.memory import keep_freed_memory, return_freed_memory
from tasks.stage.metrics import forward
from tasks.stream.checkpoint import last_of, save
from tasks.stream.images import Pixels, made, read
from tasks.stream.job import Job
from tasks.stream.sums import Submit, Sums

_DECODERS = 4
"""Files that are read and decoded side by side."""
_one_at_a_time = Lock()
"""Of the parts that a process is given: each has the memory to itself."""


def stream_part(job: Job, part: str, blocks: Sequence[int], files: Files) -> None:
    """Add some blocks to the sums of a part, and save these.

    Parameters
    ----------
    files
        Those of the blocks' images, one block's after the other's; none of a generator's images.

    Raises
    ------
    UserError
        A model cannot be loaded, or gives a value that is not finite. Or files are bad and `images.skip_bad` is not
        set; names them once all have been read.
    """
    with _one_at_a_time:
        try:
            _run_and_save(job, part, blocks, files)
        finally:  # what it held is free, and goes back to the system
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            return_freed_memory()


def _run_and_save(job: Job, part: str, blocks: Sequence[int], files: Files) -> None:
    streaming = _Part(job, part, blocks, files)
    streaming.run()
    streaming.save()


def stream_here(job: Job, part: str, blocks: Sequence[int], files: Files) -> Sums:
    """The same for one who goes on with the sums in this process: they are saved now and then, but not in the end."""
    streaming = _Part(job, part, blocks, files)
    streaming.run()
    return streaming.sums


class _Part:
    """A worker's part of a pass."""

    def __init__(self, job: Job, part: str, blocks: Sequence[int], files: Files) -> None:
        keep_freed_memory()
        set_up_precision("float32")  # of the models; products have their own
        self._job, self._part, self._files = job, part, files
        self._place = {block: place for place, block in enumerate(blocks)}
        self._device = job.torch_device
        self._models = [self._load(spec) for spec in job.models]
        self.sums = Sums(job, self._device)
        self._require_same_units()
        self._done: list[int] = []
        self._sequence = 0
        self._bad: list[LeftOut] = []
        self._pending: list[Future[Any]] = []
        self._adding: int | None = None
        if (before := last_of(job.root, job.number, part, job.fingerprint)) is not None:
            self.sums.merge(before)
            self._done, self._sequence = list(before.blocks), before.sequence + 1
        self._saved = time.monotonic()

    def _load(self, spec: ModelSpec) -> Model:
        """A model, with weights out of the run's root where they are not seen where the recipe says."""
        try:
            return load(readable(self._job.root, spec, self._job.weights[spec.name]), str(self._device))
        except UserError as error:
            if (worker := worker_of_cluster()) is None:
                raise
            raise UserError(f"compute.cluster: worker {worker}: model {spec.name!r}: {error}") from None

    def _require_same_units(self) -> None:
        for model in self._models:
            if model.spec.name in self.sums.units and model.units != self.sums.units[model.spec.name]:
                raise UserError(
                    f"model {model.spec.name} has other layers on this worker than in its store; install the same"
                    " versions on all workers"
                )

    def run(self) -> None:
        """Add the blocks that are not in the sums yet."""
        done = set(self._done)
        left = [block for block in self._place if block not in done]
        buffers = [_Buffers(self._models, self._job.block, self._device) for _ in range(2)]
        with self._pool() as submit, ThreadPoolExecutor(_DECODERS) as decoders, torch.inference_mode():
            for number, block in enumerate(left):
                began = time.perf_counter()
                here = buffers[number % 2]
                pixels, first = self._fill(here, block, decoders)
                self._settle()  # While models ran, the last block was added.
                if self._is_bad:
                    continue
                self._adding = block
                if len(pixels):
                    maps, features = here.maps(len(pixels)), self._features(pixels)
                    self._pending = self.sums.add(block, first, maps, features, submit)
                self._report(len(pixels), time.perf_counter() - began)
                if time.monotonic() - self._saved >= self._job.checkpoint_seconds:
                    self._settle()
                    self.save()
            self._settle()
        self._require_good()

    def _report(self, images: int, seconds: float) -> None:
        names = ", ".join(model.spec.name for model in self._models)
        device = self._device.type
        name = torch.cuda.get_device_name(self._device) if device == "cuda" else device
        report(Report(names, images, seconds, name, run=self._job.root.url))

    def _settle(self) -> None:
        """Wait until the block that is being added is in the sums."""
        for future in self._pending:
            future.result()
        if self._adding is not None:
            self._done.append(self._adding)
        self._pending, self._adding = [], None

    def save(self) -> None:
        """Save the sums of the blocks that are done."""
        job = self._job
        state = self.sums.state()
        save(job.root, job.number, self._part, job.fingerprint, state, sorted(self._done), self._sequence)
        self._sequence += 1
        self._saved = time.monotonic()

    def _fill(self, buffers: "_Buffers", block: int, decoders: ThreadPoolExecutor) -> tuple[Pixels, Mask]:
        """Push a block's images through all models; gives (image, y, x, rgb) and (image,) whether each belongs to the
        first half.
        """
        span, size = self._job.span(block), batch_size(self._device)
        images, first = range(span.start, span.stop), self._job.first[span]
        viewers = [model for model in self._models if not model.is_generator]
        maker = next((model for model in self._models if model.is_generator), None)
        if maker is not None:
            with forward():
                pixels = made(maker, images, self._job.source.seed, size, buffers.taker(maker))
        else:
            place = self._place[block] * self._job.block
            pixels, good, bad = read(self._files[place : place + len(images)], self._job.source, decoders)
            first = first[good]
            self._bad += bad
            if self._is_bad:
                return pixels, first  # files are read to the end, to name all that are bad
        for model in viewers:
            take = buffers.taker(model)
            for batch in ranges(len(pixels), size):
                indices = range(images.start + batch.start, images.start + batch.stop)

                def keep(layer: str, maps: Tensor, batch: slice = batch, take: Any = take) -> None:
                    take(batch, layer, maps)

                with forward():
                    model.observe(from_pixels(pixels[batch], self._device), indices, take=keep)
        return pixels, first

    def _features(self, pixels: Pixels) -> FeatureSpan:
        """Of a block's images."""
        parts = [
            FeatureBlock(features_of(pixels[part], self._device).float()) for part in ranges(len(pixels), FEATURE_BLOCK)
        ]
        return FeatureSpan(parts, 0)

    @property
    def _is_bad(self) -> bool:
        return bool(self._bad) and not self._job.source.skip_bad

    def _require_good(self) -> None:
        """
        Raises
        ------
        UserError
            Files are bad that are not to be left out.
        """
        if self._is_bad:
            self.save()  # what was good
            errors = [BadImageError(one.record.source, one.reason) for one in self._bad]
            raise bad_images(errors, len(self._files), what=what_of(self._files))

    @contextmanager
    def _pool(self) -> Iterator[Submit]:
        """Threads beside the models on a processor; what a GPU is told, it does in turn anyway."""
        if self._device.type == "cpu":
            with torch_threads(self._job.threads) as pool:
                yield pool.submit
        else:
            yield _at_once


def _at_once(work: Any, /, *arguments: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(work(*arguments))
    return done


class _Buffers:
    """Room for the maps of all models over one block of images."""

    def __init__(self, models: Sequence[Model], images: int, device: torch.device) -> None:
        def room(units: Units) -> dict[str, Tensor]:
            return {
                layer.name: torch.empty(images, layer.channels, *layer.grid, device=device) for layer in units.layers
            }

        self._rooms = {model.spec.name: room(model.units) for model in models}

    def taker(self, model: Model) -> Any:
        """What takes maps (image, channel, y, x) of some of a block's images."""
        rooms = self._rooms[model.spec.name]

        def take(batch: slice, layer: str, maps: Tensor) -> None:
            rooms[layer][batch].copy_(maps)

        return take

    def maps(self, images: int) -> dict[str, dict[str, Tensor]]:
        """Those of the first images, by model and layer."""
        return {model: {layer: room[:images] for layer, room in rooms.items()} for model, rooms in self._rooms.items()}
