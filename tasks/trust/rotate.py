"""Stage `rotate`: how much better each unit of a layer matches than units of the layer rotated at random."""

from collections.abc import Mapping, Sequence

from dask.delayed import Delayed, delayed

from rosetta.mining.groups import Pair
from rosetta.mining.plan import too_little
from rosetta.mining.trust.rotation import parts_of_layer, rotation_count
from rosetta.units import Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS, EXCESS, PROFILES
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.profiles import ProfileStore
from tasks.cluster.engine import engine, part
from tasks.correlate.setting import Setting
from tasks.plan import Plan, Stage
from tasks.stage.progress import track
from tasks.trust.rotate_worker import Rotated, rotate_part, write_excess, write_unrotated
from tasks.trust.table import reason_not_to


def fingerprint_of(plan: Plan, a: str, b: str) -> Fingerprint:
    """Of a pair's excess over rotation."""
    return fingerprint(
        "excess",
        correlations=plan.digest(CORRELATIONS, a, b),
        own=plan.digest(CORRELATIONS, a, a) if (a, a) in plan.pairs else None,
        profile=plan.digest(PROFILES, a),
        rotations=plan.recipe.trust.rotations,
        seed=plan.recipe.images.seed,
    )


def rotate(plan: Plan) -> None:
    """Write what is missing of the tables of excess.

    Only what is kept as a matrix can be rotated, of the model with itself and of the pair. Elsewhere, and in runs whose
    matches cannot be judged, nothing is said.

    Raises
    ------
    UserError
        The memory is too small for a layer.
    """
    root, setting = plan.root.absolute, Setting.of(plan)
    left = [pair for pair in plan.pairs if len({*pair}) == 2 and not _is_made(plan, pair)]
    units = {model: ActivationStore.read(root, model).units for pair in left for model in pair}
    features = FeatureStore.read(root)
    reason = reason_not_to(features.shape[0], features.distinct, plan.recipe.matching.correlation)
    parts: dict[Pair, list[list[Rotated]]] = {}
    for pair in left:
        if reason or plan.recipe.matching.keep != "matrix" or (pair[0], pair[0]) not in plan.pairs:
            write_unrotated(root, pair, plan.fingerprint(EXCESS, *pair), {model: units[model] for model in pair})
        else:
            parts[pair] = _parts(plan, pair, units)
    if not parts:
        return
    every = [one for layers in parts.values() for layer in layers for one in layer]
    largest = max(every, key=lambda one: one.bytes)
    if largest.bytes > setting.memory:
        raise too_little(setting.memory, largest.bytes, f"rotating layer {largest.layer.name} of {largest.pair[0]}")
    tasks = [_table(plan, pair, units, layers) for pair, layers in parts.items()]
    with engine(setting.cluster, setting.threads, root) as where, track("rotate", len(every)) as advance:
        where.run(tasks, advance, min(where.capacity.threads, setting.memory // largest.bytes))


ROTATE = Stage(
    "rotate",
    (EXCESS,),
    fingerprint_of,
    rotate,
    per="run",
    when=lambda plan: EXCESS.measured not in plan.recipe.trust.leave_out,
    on_cluster=True,
)


def _is_made(plan: Plan, pair: Pair) -> bool:
    return is_finished(plan.place(EXCESS.path(*pair)), EXCESS, plan.digest(EXCESS, *pair))


def _parts(plan: Plan, pair: Pair, units: Mapping[str, Units]) -> list[list[Rotated]]:
    """By layer of A: its parts."""
    profile, least = ProfileStore.read(plan.root, pair[0]).digest, plan.recipe.trust.rotations
    return [
        [
            Rotated(
                pair,
                layer,
                slice(span.start + channels.start, span.start + channels.stop),
                channels,
                units[pair[1]],
                rotation_count(layer.channels, least),
                (plan.recipe.images.seed, channels.start, *f"{pair[0]}/{layer.name}".encode()),
                profile,
            )
            for channels in parts_of_layer(layer.channels)
        ]
        for layer, span in units[pair[0]].spans()
    ]


def _table(plan: Plan, pair: Pair, units: Mapping[str, Units], layers: Sequence[Sequence[Rotated]]) -> Delayed:
    root, made = plan.root.absolute, plan.fingerprint(EXCESS, *pair)
    bests = [[part(rotate_part, root, one) for one in layer] for layer in layers]
    return delayed(write_excess, pure=False)(root, pair, made, {model: units[model] for model in pair}, bests)
