"""Stage `correlate`: two activation stores into the correlation of every unit with every unit.

Out of core and spread out: a plan cuts the pair into tiles and ranges of images; one Dask task reduces one range of one
tile to moments, a tree of additions joins them, and the tile is written as soon as its last range is in.
"""

import dask
import numpy as np
from dask.delayed import Delayed, delayed

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import Method, PairPlan, Tile, ranges
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, CORRELATIONS
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import STORES
from storage.artifacts.pairs import PairStore
from storage.filesystem.root import Root
from tasks.cluster.engine import Engine, TileGraph, engine, part, summed
from tasks.correlate.rank_tiles import rank_tile
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.correlate.tiles import Job, multiplied, prepared_step, tile_moments, write_tile
from tasks.plan import Plan, Stage
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track

_STEPS_SENT = 2
"""Steps that travel to a worker with a GPU together."""


def fingerprint_of(plan: Plan, a: str, b: str) -> Fingerprint:
    """Of a pair's correlations."""
    matching = plan.recipe.matching
    return fingerprint(
        "correlations",
        a=plan.digest(ACTIVATIONS, a),
        b=plan.digest(ACTIVATIONS, b),
        correlation=matching.correlation,
        precision=plan.recipe.compute.precision,
        keep={"neighbours": matching.keep_neighbours} if matching.keep == "neighbours" else "matrix",
    )


def correlate(root: Root, fingerprint: Fingerprint, a: str, b: str, setting: Setting) -> None:
    """Write what is missing of a pair's correlations.

    Raises
    ------
    UserError
        The memory is too small for this pair, the two stores are of different images, or the cluster cannot do it.
    """
    root, kind = root.absolute, STORES[setting.keep]
    store = kind.open(root, fingerprint, a, b)
    sides = [ActivationStore.read(root, model) for model in (a, b)]
    require_same_images((a, b), *sides)
    with engine(setting.cluster, setting.threads, root) as where:
        plan = plan_for(setting, f"{a}~{b}", plan_side(sides[0]), plan_side(sides[1]), where.capacity)
        if store is None:
            store = kind.create(root, a, b, fingerprint, sides[0].units, sides[1].units, setting.keep_neighbours)
        job = Job(root, a, b, (sides[0].digest, sides[1].digest), plan.step_images, setting.device, setting.precision)
        _fill(store, job, plan, where)
        saw_images(plan.images)
    store.finish()


CORRELATE = Stage(
    "correlate",
    (CORRELATIONS,),
    fingerprint_of,
    lambda plan, a, b: correlate(plan.root, plan.fingerprint(CORRELATIONS, a, b), a, b, Setting.of(plan)),
    protected=True,
    on_cluster=True,
)


def require_same_images(names: tuple[str, str], a: ActivationStore, b: ActivationStore) -> None:
    """
    Raises
    ------
    UserError
        The stores hold the maps of different images.
    """
    if (a.images, a.image_digest) != (b.images, b.image_digest):
        raise UserError(
            f"activations of {names[0]} and {names[1]} come from different images"
            f" ({a.images} {a.image_digest[:8]}, {b.images} {b.image_digest[:8]}); give --replace to dump them again"
        )


def _fill(store: PairStore, job: Job, plan: PairPlan, where: Engine) -> None:
    missing = ~store.written()
    if store.same:  # what is below the diagonal is written with its mirror above it
        missing = np.triu(missing | missing.T)
    tiles = [tile for tile in plan.tiles if missing[tuple(_panels(span) for span in tile)].any()]
    build = _moments
    if plan.method is not Method.PEARSON:
        build = _ranks
    elif where.gpu_workers and job.device != "cpu":
        build = _spread_moments
    graphs = [build(job, tile, plan) for tile in tiles]
    with track(f"correlate {job.a}~{job.b}", sum(len(graph.parts) for graph in graphs)) as advance:
        where.run([graph.last for graph in graphs], advance, plan.threads)


def _panels(units: slice) -> slice:
    return slice(units.start // PANEL, -(-units.stop // PANEL))


def _moments(job: Job, tile: Tile, plan: PairPlan) -> TileGraph:
    """A task for each range of images that reads, pulls back and multiplies."""
    return _written(job, tile, [part(tile_moments, job, tile, images) for images in plan.image_ranges])


def _spread_moments(job: Job, tile: Tile, plan: PairPlan) -> TileGraph:
    """The same, with reading and pulling back on any worker and multiplying on those that have a GPU."""
    parts = []
    for images in ranges(plan.images, _STEPS_SENT * plan.step_images):
        steps = [
            delayed(prepared_step, pure=False)(job, tile, slice(images.start + step.start, images.start + step.stop))
            for step in ranges(images.stop - images.start, plan.step_images)
        ]
        with dask.annotate(resources={"GPU": 1}):
            parts.append(part(multiplied, job, tile, steps))
    return _written(job, tile, parts)


def _ranks(job: Job, tile: Tile, plan: PairPlan) -> TileGraph:
    """One task: ranks are over all images."""
    task = part(rank_tile, job, tile, plan)
    return TileGraph([task], task)


def _written(job: Job, tile: Tile, parts: list[Delayed]) -> TileGraph:
    return TileGraph(parts, delayed(write_tile, pure=False)(job, tile, summed(parts)))
