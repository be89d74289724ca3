"""Stage `dump`: every image once through one model, its activation maps into the model's store."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.units import Units
from rosetta.zoo import load
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_count
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.images import layout
from tasks.dump.memory import writers
from tasks.dump.model_store import cut, lay_out, require_same
from tasks.dump.pipeline import Pipeline
from tasks.plan import Plan, Stage
from tasks.plan.stage import Names
from tasks.stage.memory import keep_freed_memory
from tasks.stage.progress import track
from tasks.trust.observation import Observation


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


def _is_single(plan: Plan) -> bool:
    return not plan.is_spread


GENERATE = Stage("dump", (ACTIVATIONS,), fingerprint_of, _dump, protected=True, of=_makers, when=_is_single)
"""The maps of a generator, and with them the images."""
DUMP = Stage("dump", (ACTIVATIONS,), fingerprint_of, _dump, protected=True, of=_viewers, when=_is_single)
"""The maps of all other models, once the images are complete. On workers: :data:`tasks.dump.spread.SPREAD`."""
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
    if store is not None:
        require_same(store, model, pixels)
    held = cut(spec.name, model.units, pixels, compute, store, model.is_generator)
    blocks = held.blocks
    begin_store = partial(lay_out, root, fingerprint, spec, model, pixels, compute, blocks)
    rounded = compute.dtype == "float16"
    run = root.absolute.url
    pipeline = Pipeline(model, pixels, blocks, begin_store, rounded, writers(compute), held.sets, run=run)
    left = compute.memory_bytes - held.peak
    observation = begin(model.units, pixels.count, blocks.chunk, left) if begin is not None else None
    missing = [*range(block_count(pixels.count, blocks.shard))] if store is None else pipeline.missing(store)
    if observation is not None and store is not None and not observation.catch_up(store, missing):
        observation = None
    if observation is not None:
        pipeline = replace(pipeline, observe=observation)
    with track(f"dump {spec.name}", pixels.count) as advance:
        advance(pixels.count - pipeline.count(missing))
        store = pipeline.fill(store, missing, advance)
    if model.is_generator and not pixels.complete:
        pixels.finish()
    store.finish()
    if observation is not None:
        observation.finish()
