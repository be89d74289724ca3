"""Stage `correlate`: activation stores into the correlation of every unit with every unit, for all pairs of a run.

Out of core and spread out: a plan puts pairs into groups that read together, and cuts what does not fit into tiles; one
Dask task reduces one range of images to moments of all tiles of a group, a tree of additions joins them, and each tile
is written as soon as its last range is in.
"""

from collections.abc import Mapping
from itertools import groupby

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.groups import Group, Pair
from rosetta.mining.halves import LEAST_IMAGES
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, CORRELATIONS
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import STORES
from storage.artifacts.pairs import PairStore
from storage.filesystem.root import Root
from tasks.cluster.engine import Engine, TileGraph, engine
from tasks.correlate.graph import tiles_of, written
from tasks.correlate.reading import Job, PairTile
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.plan import Plan, Stage
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track


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


def correlate(root: Root, fingerprints: Mapping[Pair, Fingerprint], setting: Setting) -> None:
    """Write what is missing of the correlations of some pairs.

    Raises
    ------
    UserError
        The memory is too small for a pair, two stores are of different images, or the cluster cannot do it.
    """
    root, kind, setting = root.absolute, STORES[setting.keep], setting.multiplying()
    stores = {pair: kind.open(root, one, *pair) for pair, one in fingerprints.items()}
    left = [pair for pair, store in stores.items() if store is None or not store.complete]
    if not left:
        return
    models = {name: ActivationStore.read(root, name) for name in dict.fromkeys(name for pair in left for name in pair)}
    for pair in left:
        require_same_images(pair, *(models[name] for name in pair))
    sides = {name: plan_side(model, setting) for name, model in models.items()}
    with engine(setting.cluster, setting.threads, root) as where:
        groups = plan_for(setting, sides, left, where.capacity)
        begun = {pair: stores[pair] or lay_out(root, pair, fingerprints[pair], models, setting) for pair in left}
        digests = {name: model.digest for name, model in models.items()}
        graphs = [(group, graph) for group in groups for graph in _graphs(root, group, begun, digests, setting, where)]
        names = f"{len(left)} pairs" if len(left) > 1 else "~".join(*left)
        with track(f"correlate {names}", sum(len(graph.parts) for _, graph in graphs)) as advance:
            for at_once, some in groupby(graphs, lambda one: one[0].first.threads):
                where.run([end for _, graph in some for end in graph.ends], advance, at_once)
        saw_images(max(model.images for model in models.values()))
    for store in begun.values():
        store.finish()


CORRELATE = Stage(
    "correlate",
    (CORRELATIONS,),
    fingerprint_of,
    lambda plan: correlate(
        plan.root, {pair: plan.fingerprint(CORRELATIONS, *pair) for pair in plan.pairs}, Setting.of(plan)
    ),
    per="run",
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


def lay_out(
    root: Root, pair: Pair, fingerprint: Fingerprint, models: Mapping[str, ActivationStore], setting: Setting
) -> PairStore:
    """Lay the store of a pair out."""
    a, b = (models[name] for name in pair)
    halves = setting.correlation == "pearson" and a.images >= LEAST_IMAGES
    return STORES[setting.keep].create(root, *pair, fingerprint, a.units, b.units, setting.keep_neighbours, halves)


def _graphs(
    root: Root,
    group: Group,
    stores: Mapping[Pair, PairStore],
    digests: Mapping[str, str],
    setting: Setting,
    where: Engine,
) -> list[TileGraph]:
    plan = group.first
    job = Job(root, digests, plan.step_images, setting.device, setting.precision, setting.ahead)
    missing = {pair: _missing(stores[pair]) for pair in group.pairs}
    spread = where.gpu_workers and job.device != "cpu"
    return [
        written(job, some, plan, spread)
        for tiles in tiles_of(group)
        if (some := tuple(tile for tile in tiles if missing[tile.a, tile.b][_panels(tile)].any()))
    ]


def _missing(store: PairStore) -> npt.NDArray[np.bool_]:
    """(panel_a, panel_b); of a model with itself what is below the diagonal is written with its mirror above it."""
    missing = ~store.written()
    return np.triu(missing | missing.T) if store.same else missing


def _panels(tile: PairTile) -> tuple[slice, slice]:
    rows, columns = (slice(span.start // PANEL, -(-span.stop // PANEL)) for span in tile.spans)
    return rows, columns
