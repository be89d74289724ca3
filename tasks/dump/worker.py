"""What a worker of a cluster does of a dump. It imports no part of a flow."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.zoo import Model
from rosetta.zoo.device import resolve_device
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.cluster.engine import worker_address
from tasks.dump import models
from tasks.dump.memory import Holding, holding
from tasks.dump.model_store import lay_out, require_same
from tasks.dump.pipeline import Pipeline
from tasks.dump.worker_weights import readable
from tasks.stage.memory import keep_freed_memory


@dataclass(frozen=True)
class Job:
    """The dump of one model, as workers need to know it."""

    root: Root
    """Absolute."""
    fingerprint: Fingerprint
    images: Fingerprint
    spec: ModelSpec
    """As the recipe has it."""
    sha256: str
    """Of its weights."""
    blocks: Blocks
    """How its store is cut; the same wherever it is made."""
    compute: Compute


@dataclass(frozen=True)
class Lanes:
    """Threads of one worker."""

    forward: int
    """Of torch, for a model on a processor."""
    writers: int
    """That round and encode."""


def dump_blocks(job: Job, blocks: Sequence[int], first: bool, lanes: Lanes) -> None:
    """Write some blocks of a model's store, those of them that are missing.

    Parameters
    ----------
    first
        Whether no other worker works on the model yet: its store is laid out here, or compared with the model.

    Raises
    ------
    UserError
        As :func:`tasks.dump.activations.dump`; or this worker cannot load the model.
    """
    images = ImageStore.open(job.root, job.images)
    if images is None:
        raise FileNotFoundError(f"{job.root.shown}/{IMAGES.path()}")
    store = ActivationStore.open(job.root, job.fingerprint, job.spec.name)
    if store is None and not first:
        raise FileNotFoundError(f"{job.root.shown}/{ACTIVATIONS.path(job.spec.name)}")
    keep_freed_memory()
    with _model(job) as model, _torch_threads(lanes.forward):
        if store is not None and first:
            require_same(store, model, images)
        held, writers = _fitting(job, model, lanes.writers)
        begin = partial(lay_out, job.root, job.fingerprint, job.spec, model, images, job.compute, job.blocks)
        rounded = job.compute.dtype == "float16"
        pipeline = Pipeline(model, images, job.blocks, begin, rounded, writers, held.sets, run=job.root.url)
        missing = blocks if store is None else [block for block in pipeline.missing(store) if block in blocks]
        if missing:
            pipeline.fill(store, missing)


def finish(job: Job, generator: bool) -> None:
    """Mark a store of which all blocks are written as finished, and of a generator the images before it."""
    if generator:
        images = ImageStore.open(job.root, job.images)
        if images is not None and not images.complete:
            images.finish()
    store = ActivationStore.open(job.root, job.fingerprint, job.spec.name)
    assert store is not None, "its blocks are written"
    if not store.complete:
        store.finish()


@contextmanager
def _model(job: Job) -> Iterator[Model]:
    with ExitStack() as lending:
        try:
            spec = readable(job.root, job.spec, job.sha256)
            model = lending.enter_context(models.lent(spec, resolve_device(job.compute.device)))
        except UserError as error:
            raise UserError(f"compute.cluster: worker {worker_address()}: model {job.spec.name!r}: {error}") from None
        yield model


def _fitting(job: Job, model: Model, writers: int) -> tuple[Holding, int]:
    """What the dump holds here, with as many writers as its memory allows."""
    while True:
        held = holding(model.units, job.blocks, job.compute.model_copy(update={"writers": writers}))
        if held.peak <= job.compute.memory_bytes or writers == 1:
            return held, writers
        writers -= 1


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
