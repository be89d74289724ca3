"""The stages that correlate and profile a run of which the maps of only some images are stored.

All images pass by the models once for each pass of the plan, block by block, on one worker or on many; what their maps
add to goes to `stream/` now and then, and into the stores in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import dask
import numpy as np
from dask.delayed import delayed

from rosetta.errors import UserError
from rosetta.mining.grid import common_grid
from rosetta.mining.groups import Pair, met_grids
from rosetta.mining.streamed.layer import layer_bytes
from rosetta.mining.streamed.passes import Pass, block_images, plan_passes
from rosetta.units import Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_count
from storage.artifacts.catalogue import ACTIVATIONS, CORRELATIONS, IMAGES, PROFILES, STREAM
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.images import ImageStore
from tasks.cluster.engine import Cluster, Engine, engine
from tasks.cluster.reports import Report, listening, relayed
from tasks.correlate.pair import lay_out
from tasks.correlate.reading import PairTile
from tasks.correlate.setting import Setting
from tasks.plan import Plan, Stage
from tasks.source.file_list import Files
from tasks.stage.metrics import saw_images
from tasks.stage.progress import Advance, track
from tasks.stage.stage import Outcome
from tasks.stream.checkpoint import saved
from tasks.stream.finish import LayerTotals, ModelTotals, merged, write_profiles, write_tile
from tasks.stream.job import Job
from tasks.stream.part import stream_here, stream_part
from tasks.stream.sums import Sums

_TRIES = 3
"""How often blocks are dealt out, as some may be lost with a worker's memory."""


def or_streamed(stage: Stage) -> Stage:
    """A stage that reads maps; where those of only some images are stored, all are streamed instead."""

    def work(plan: Plan) -> Outcome | None:
        if plan.streamed is None:
            return stage.work(plan)
        stream(plan)
        return None

    return replace(stage, work=work)


@dataclass(frozen=True)
class StreamPlan:
    """How the images of a run pass by."""

    block: int
    """Images of a block."""
    passes: tuple[Pass, ...]


def plan_stream(units: Mapping[str, Units], pairs: Sequence[Pair], images: int, memory: int, device: str) -> StreamPlan:
    """Plan all passes.

    Parameters
    ----------
    units
        By model, of all models of the pairs.
    images
        Of the run.
    device
        Kind of the workers' devices: `cpu`, `cuda`.

    Raises
    ------
    UserError
        The memory is too small.
    """
    block = block_images(list(units.values()), images, device)
    met = met_grids(units, pairs)

    def bytes_of(model: str) -> int:
        grids = met.get(model, tuple(dict.fromkeys(grid for one in units.values() for grid in one.grids())))
        return sum(
            layer_bytes(layer, images, len({common_grid(layer.grid, grid) for grid in grids}), len(INDEPENDENT))
            for layer in units[model].layers
        )

    profiles = {model: bytes_of(model) for model in units}
    return StreamPlan(block, tuple(plan_passes(units, pairs, profiles, block, memory)))


def stream(plan: Plan) -> None:
    """Write what is missing of the correlations and profiles of a run, over all of its images.

    Raises
    ------
    UserError
        The memory is too small, a model gives values that are not finite, or files of the source are bad.
    """
    assert plan.facts.streamed is not None
    root, setting, images = plan.root.absolute, Setting.of(plan), plan.facts.streamed.images
    if plan.recipe.images.source is not None and not plan.facts.streamed.files:
        raise UserError(f"{root.shown} keeps the maps of some images only; give its recipe to rosetta mine to go on")
    pairs = [
        pair
        for pair in plan.pairs
        if not is_finished(plan.place(CORRELATIONS.path(*pair)), CORRELATIONS, plan.digest(CORRELATIONS, *pair))
    ]
    unprofiled = [
        name
        for name in plan.names
        if not is_finished(plan.place(PROFILES.path(name)), PROFILES, plan.digest(PROFILES, name))
    ]
    models = [name for name in plan.names if name in unprofiled or any(name in pair for pair in pairs)]
    stores = {name: ActivationStore.read(root, name) for name in plan.names}
    with engine(setting.cluster, setting.threads, root) as where:
        on_gpus = isinstance(where, Cluster) and where.gpu_workers and setting.device != "cpu"
        kind = "cuda" if on_gpus else setting.device.partition(":")[0].replace("auto", "cpu")
        units = {name: stores[name].units for name in models}
        planned = plan_stream(units, pairs, images, setting.memory, kind)
        jobs = [_job(plan, setting, where, stores, planned, number) for number in range(len(planned.passes))]
        names = f"{len(plan.names)} models"
        with track(f"stream {names}", len(jobs) * images) as advance:
            here = [_run(job, plan, where, advance, on_gpus, alone=len(jobs) == 1) for job in jobs]
        saw_images(images)
    _finish(plan, setting, list(zip(jobs, here, strict=True)), pairs, unprofiled, stores)
    root.remove(STREAM)


def _job(
    plan: Plan, setting: Setting, where: Engine, stores: Mapping[str, ActivationStore], planned: StreamPlan, number: int
) -> Job:
    assert plan.streamed is not None
    one = planned.passes[number]
    needed = [spec for spec in plan.models if spec == plan.facts.generator or spec.name in one.models]
    grids = met_grids({name: store.units for name, store in stores.items()}, plan.pairs)
    tiles = tuple(PairTile(*pair, spans) for pair, spans in one.tiles)
    depends = fingerprint(
        "stream",
        images=plan.digest(IMAGES),
        activations=plan.digests(ACTIVATIONS),
        block=planned.block,
        profiled=list(one.profiled),
        tiles=[[tile.a, tile.b, *((span.start, span.stop) for span in tile.spans)] for tile in tiles],
        precision=setting.precision,
    )
    return Job(
        plan.root.absolute,
        number,
        depends.digest,
        tuple(needed),
        {spec.name: plan.facts.weights[spec.name] for spec in needed},
        {spec.name: stores[spec.name].digest for spec in needed if spec.name in one.models},
        {name: met for name, met in grids.items() if name in one.models},
        one.profiled,
        tiles,
        plan.streamed,
        planned.block,
        ImageStore.begun(plan.root.absolute).first_half_of_run(plan.streamed),
        plan.recipe.images,
        setting.device,
        setting.precision,
        where.capacity.threads,
        60 * plan.recipe.compute.checkpoint_minutes,
    )


def _run(job: Job, plan: Plan, where: Engine, advance: Advance, on_gpus: bool, alone: bool) -> Sums | None:
    """Have every block of a pass added to the sums of some part.

    Parameters
    ----------
    alone
        Whether there is no other pass, so that sums may stay in memory.

    Returns
    -------
    Sums or None
        Where they are in this process; else they have been saved.
    """
    for attempt in range(_TRIES):
        before = saved(job.root, job.number, job.fingerprint)
        done = {block for checkpoint in before for block in checkpoint.blocks}
        left = [block for block in range(block_count(job.images, job.block)) if block not in done]
        if attempt == 0:
            advance(sum(job.span(block).stop - job.span(block).start for block in done))
        if not left:
            return None
        addresses = _workers(where, on_gpus)
        # Whoever begins goes on with what was saved, so that what is saved does not grow with every restart.
        parts = [one.part for one in before][: len(addresses)]
        parts += [uuid4().hex[:8] for _ in range(len(addresses) - len(parts))]
        shares = [left[number :: len(parts)] for number in range(len(parts))]

        def take(report: Report) -> None:
            advance(report.images)

        if isinstance(where, Cluster):
            tasks = []
            for part, share, address in zip(parts, shares, addresses, strict=True):
                files = Files.of(_files(plan, job, share))  # without all the others
                with dask.annotate(
                    workers=[address], allow_other_workers=True, **({"resources": {"GPU": 1}} if on_gpus else {})
                ):
                    tasks.append(delayed(stream_part, pure=False)(job, part, share, files))
            with relayed(where.client, job.root.url), listening(take, run=job.root.url):
                where.run(tasks, lambda *_: None, 1)
        else:
            with listening(take, run=job.root.url):
                if alone:
                    sums = stream_here(job, parts[0], left, _files(plan, job, left))
                    for other in before[1:]:
                        sums.merge(other)
                    return sums
                stream_part(job, parts[0], left, _files(plan, job, left))
    raise RuntimeError(f"{len(left)} blocks of images were lost again and again")


def _workers(where: Engine, on_gpus: bool) -> list[str]:
    """Addresses of those that take part; one without a name in this process."""
    if not isinstance(where, Cluster):
        return [""]
    return sorted(address for address, worker in where.workers().items() if worker.gpu or not on_gpus)


def _files(plan: Plan, job: Job, blocks: Sequence[int]) -> Files:
    """Those of some blocks, one after the other."""
    assert plan.facts.streamed is not None
    every = plan.facts.streamed.files
    if not every or not blocks:
        return Files.of(())
    spans = [job.span(block) for block in blocks]
    return every.take(np.concatenate([np.arange(span.start, span.stop) for span in spans]))


def _finish(
    plan: Plan,
    setting: Setting,
    jobs: Sequence[tuple[Job, Sums | None]],
    pairs: Sequence[Pair],
    unprofiled: Sequence[str],
    stores: Mapping[str, ActivationStore],
) -> None:
    """Write what follows from the sums of all passes."""
    root = plan.root.absolute
    begun = {
        pair: CorrelationStore.open(root, plan.fingerprint(CORRELATIONS, *pair), *pair)
        or lay_out(root, pair, plan.fingerprint(CORRELATIONS, *pair), stores, setting)
        for pair in pairs
    }
    totals: dict[str, ModelTotals] = {}
    seen: list[int] = []
    for job, here in jobs:
        sums = here or merged(job)
        for model in job.profiled:
            layers = [sums.layers[model, layer.name] for layer in sums.units[model].layers]
            totals[model] = ModelTotals(sums.units[model], tuple(map(LayerTotals.of, layers)))
            seen = layers[0].half_images.tolist()
        left = {model: plan.fingerprint(PROFILES, model) for model in job.profiled if model in unprofiled}
        if left:
            write_profiles(root, sums, left)
        for tile in job.tiles:
            write_tile(job, tile, sums, totals, seen)
    for store in begun.values():
        store.finish()
