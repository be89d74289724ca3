"""A model's images on their way into its store: forward passes here; rounding, encoding and writing beside them.

Two sets of buffers hold the maps of the images of one chunk each: one is filled while the other is rounded, summed up
and encoded, layer by layer, by a pool of writers. A single thread then writes the blocks in their order, each before
its marker. What waits is bounded: two sets of buffers, and the encoded chunks of two blocks; see
:mod:`tasks.dump.memory`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rosetta.zoo import Model
from rosetta.zoo.device import device_name
from rosetta.zoo.image_arrays import to_pixels
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks, block_slice
from storage.artifacts.images import ImageStore
from tasks.cluster.reports import Report, report
from tasks.dump.beside import Streams
from tasks.dump.forward import forward_passes
from tasks.dump.maps import Encoded, MapBuffers, layer_block
from tasks.dump.observer import Observer, Turn, Turns
from tasks.stage.logs import about
from tasks.stage.metrics import ContextThreads, saw_images

Chunk = dict[str, Future[Encoded]]
"""By layer."""
Codecs = dict[str, Future[str]]
"""By layer; known of a store that is there, and else once the layer's first chunk is encoded."""


@dataclass(frozen=True)
class Pipeline:
    """From a model to its store.

    Parameters
    ----------
    lay_out
        Makes the store, given by layer the codecs that suit its first maps.
    rounded
        Whether maps are rounded.
    writers
        Threads that round and encode.
    sets
        Of buffers, and most blocks that are under way.
    observe
        Is shown the maps of the blocks that are missing, by rising index.
    """

    model: Model
    images: ImageStore
    blocks: Blocks
    lay_out: Callable[[Mapping[str, str]], ActivationStore]
    rounded: bool
    writers: int
    sets: int = 2
    observe: Observer | None = None
    run: str = ""
    """URL of the run's root, to which reports are addressed."""
    _free: SimpleQueue[MapBuffers] = field(default_factory=SimpleQueue)

    def fill(
        self, store: ActivationStore | None, missing: Sequence[int], advance: Callable[[int], None] = lambda _: None
    ) -> ActivationStore:
        """Write blocks that are missing; a store that was not begun is laid out once its first maps are known.

        Parameters
        ----------
        missing
            By rising index; of a store that was not begun, the first block is one of them.
        advance
            Is given the number of images of each block that is written, which is reported, too.
        """
        count, shard = self.images.count, self.blocks.shard
        turns = None if self.observe is None else Turns(self.observe)
        codecs: Codecs = {layer.name: Future() for layer in self.model.units.layers}
        if store is not None:
            for layer, codec in store.codecs.items():
                codecs[layer].set_result(codec)
        beside = Streams.of(self.model.device)
        for _ in range(self.sets):
            self._free.put(MapBuffers(self.model.units, self.blocks.chunk, beside))
        waiting: deque[Future[int]] = deque()
        device, since = device_name(self.model.device), time.perf_counter()
        with torch_threads(self.writers) as pool, torch_threads(1) as finisher:
            # While a store is laid out the model goes on.
            ready = finisher.submit(self._opened, store, codecs)

            def settle(most: int) -> None:
                """Wait until at most so many blocks are under way; raises what went wrong in one of them."""
                nonlocal since
                while waiting and (len(waiting) > most or waiting[0].done()):
                    done = waiting.popleft().result()
                    saw_images(done)
                    now = time.perf_counter()
                    report(Report(self.model.spec.name, done, now - since, device, run=self.run))
                    since = now
                    advance(done)

            for block in missing:
                span = block_slice(block, shard, count)
                with about(images=f"{span.start}-{span.stop - 1}"):
                    chunks: list[Chunk] = []
                    pixels: list[npt.NDArray[np.uint8]] = []
                    for start in range(span.start, span.stop, self.blocks.chunk):
                        settle(self.sets)
                        _raise_failures([ready, *(part for chunk in chunks for part in chunk.values())])
                        chunk = slice(start, min(start + self.blocks.chunk, span.stop))
                        chunks.append(self._process(chunk, codecs, pixels, pool, turns))
                    last = waiting[-1] if waiting else None
                    waiting.append(finisher.submit(self._write, ready, block, span, chunks, pixels, last))
                    settle(self.sets - 1)
            settle(0)
            if beside is not None:
                beside.emptied()  # whoever reads what an observer has summed up does so after its last work
            return ready.result()

    def _opened(self, store: ActivationStore | None, codecs: Codecs) -> ActivationStore:
        """The store; laid out with the codecs that suit the first chunk."""
        if store is None:
            return self.lay_out({layer: codec.result() for layer, codec in codecs.items()})
        return store

    def missing(self, store: ActivationStore) -> list[int]:
        """Blocks that are not in a store yet, by rising index; written ones may lie between them."""
        written = store.written()
        if self.model.is_generator and not self.images.complete:
            written = written & self.images.written()
        return [int(block) for block in np.flatnonzero(~written)]

    def count(self, blocks: Sequence[int]) -> int:
        """Images in some blocks."""
        spans = (block_slice(block, self.blocks.shard, self.images.count) for block in blocks)
        return sum(span.stop - span.start for span in spans)

    def _process(
        self,
        chunk: slice,
        codecs: Codecs,
        pixels: list[npt.NDArray[np.uint8]],
        pool: ContextThreads,
        turns: Turns | None,
    ) -> Chunk:
        """Push the images of a chunk through the model, and leave their maps to the pool.

        Parameters
        ----------
        pixels
            Where those of a generator go that are not in their store yet.
        """
        buffers = self._free.get()
        with buffers.filling():
            for generated in forward_passes(chunk, self.model, self.images, buffers.put):
                if generated is not None and not self.images.complete:
                    pixels.append(to_pixels(generated))
        count = chunk.stop - chunk.start
        images = f"images {chunk.start}-{chunk.stop - 1}"

        def encode(layer: str, codec: Future[str], first: bool, turn: Turn | None) -> Encoded:
            try:
                known = None if first else codec.result()
                done = buffers.encode(layer, count, self.rounded, known, (self.model.spec.name, chunk.start), turn)
            except BaseException as error:
                _note(error, f"model {self.model.spec.name}, layer {layer}, {images}")
                if first:
                    codec.set_exception(error)
                if turn is not None:
                    turn.give_up(error)
                raise
            if first:
                codec.set_result(done.codec)
            return done

        parts = {
            layer: pool.submit(
                encode, layer, codec, not codec.done() and chunk.start == 0, turns and turns.take(layer, chunk.start)
            )
            for layer, codec in codecs.items()
        }
        left = _Countdown(len(parts), lambda: self._free.put(buffers))
        for part in parts.values():
            part.add_done_callback(left)
        return parts

    def _write(
        self,
        ready: Future[ActivationStore],
        block: int,
        span: slice,
        chunks: list[Chunk],
        pixels: list[npt.NDArray[np.uint8]],
        last: Future[int] | None,
    ) -> int:
        """Write a block once it is encoded, and give the number of its images.

        A generator's pixels come first: the marker of their maps must not stand before them.

        Parameters
        ----------
        last
            The block before, unless it is known to be written. If it failed, nothing more is written.
        """
        if last is not None:
            last.result()
        layers = {
            layer.name: layer_block([chunk[layer.name].result() for chunk in chunks], layer)
            for layer in self.model.units.layers
        }
        if pixels:
            self.images.write(block, np.concatenate(pixels))
        try:
            ready.result().write(block, layers)
        except BaseException as error:
            _note(error, f"model {self.model.spec.name}, images {span.start}-{span.stop - 1}")
            raise
        return span.stop - span.start


def _note(error: BaseException, what: str) -> None:
    """Say what an error came up in; once, as others fail with it."""
    if not getattr(error, "__notes__", None):
        error.add_note(what)


class _Countdown:
    """Does something when it has been called so many times."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left, self._then, self._lock = count, then, threading.Lock()

    def __call__(self, _: object) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()


def _raise_failures(parts: Sequence[Future[Any]]) -> None:
    """Do not go on with a block of which a part has failed already."""
    for part in parts:
        if part.done():
            part.result()


@contextmanager
def torch_threads(count: int) -> Iterator[ContextThreads]:
    """Threads in which torch uses one thread each: together they keep the cores busy."""
    before, started = torch.get_num_threads(), threading.Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)
        # A thread takes its number where it first needs it: now, and not what is set for the others in the end.
        torch.get_num_threads()
        started.wait()

    pool = ContextThreads(count, initializer=start)
    try:
        for _ in range(count):
            pool.submit(int)
        started.wait()
        torch.set_num_threads(before)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
