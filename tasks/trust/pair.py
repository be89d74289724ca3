"""Stage `trust a~b`: what chance, halves, position and pixels say of the buddies of two models."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from dask.delayed import Delayed, delayed

from rosetta.mining.buddies import merge_neighbours
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import PairPlan, Tile, ranges
from rosetta.mining.trust.discoveries import q_values
from rosetta.mining.trust.halves import first_half, run_length
from rosetta.mining.trust.null import PARTNERS, Null, Shapes, null_of
from rosetta.mining.trust.pixels import partial_correlation
from rosetta.mining.trust.profile import SHAPE_SIDE
from rosetta.mining.trust.thumbs import thumb_grid
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CORRELATIONS, FEATURES, TRUST_OF_PAIR
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import buddies_of
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.cluster.engine import TileGraph, engine, part, summed
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.correlate.tiles import Job, tile_moments
from tasks.plan import Plan, Stage
from tasks.stage.memory import keep_freed_memory
from tasks.stage.progress import track
from tasks.trust.pair_worker import JUDGED, Nearest, Question, Verdict, judge_tile
from tasks.trust.table import reason_not_to

KEY = ("model_a", "unit_a", "layer_a", "channel_a", "model_b", "unit_b", "layer_b", "channel_b", "pearson")
COLUMNS = ("p_value", "q_value", "pearson_half_1", "pearson_half_2", "replicates", "pearson_centred", "positional",
           "pearson_partial", "pixel_explained")  # fmt: skip
Float64 = npt.NDArray[np.float64]


def fingerprint_of(plan: Plan, a: str, b: str) -> Fingerprint:
    """Of what is said of one pair's buddies."""
    return fingerprint(
        "trust part",
        correlations=plan.digest(CORRELATIONS, a, b),
        features=plan.digest(FEATURES),
        neighbours=plan.recipe.matching.neighbours,
    )


def judge_pair(plan: Plan, a: str, b: str) -> None:
    """Judge the buddies of one pair of models, all but what controls reach; one table."""
    root = plan.root.absolute
    keep_freed_memory()  # until the first tile says otherwise
    buddies = tables.read(root, BUDDIES.path())
    rows = buddies[(buddies["model_a"] == a) & (buddies["model_b"] == b)].reset_index(drop=True)
    features = FeatureStore.read(root)
    reason = reason_not_to(features.shape[0], features.distinct, plan.recipe.matching.correlation)
    judged = _unjudged(len(rows)) if reason else _judge(root, a, b, plan, rows)
    frame = pd.concat([rows[list(KEY)], judged], axis=1)
    # Of the two alone: what else the run has is no part of the fingerprint.
    categories = tables.categories_of({model: ActivationStore.read(root, model).units for model in (a, b)})
    tables.write(root, TRUST_OF_PAIR.path(a, b), frame, plan.fingerprint(TRUST_OF_PAIR, a, b), categories)


JUDGE_PAIR = Stage("trust", (TRUST_OF_PAIR,), fingerprint_of, judge_pair, on_cluster=True)


def _unjudged(count: int) -> pd.DataFrame:
    return pd.DataFrame(np.nan, range(count), COLUMNS).assign(replicates=np.zeros(count, dtype=bool))


def _judge(root: Root, a: str, b: str, plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    sides = [ActivationStore.read(root, model) for model in (a, b)]
    profiles = ProfileStore.read(root, a), ProfileStore.read(root, b)
    buddies = buddies_of(rows, a, b)
    question = Question(
        buddies.unit_a,
        buddies.unit_b,
        plan.recipe.matching.neighbours,
        sides[0].images,
        (null_between(profiles[0], profiles[1]), null_between(profiles[1], profiles[0])),
    )
    verdicts = _verdicts(root, a, b, Setting.of(plan), sides, question)
    values = np.full((len(JUDGED), len(rows)), np.nan)
    for _, verdict in verdicts:
        values[:, verdict.buddies] = verdict.values
    judged = dict(zip(JUDGED, values, strict=True))
    pearson = rows["pearson"].to_numpy(np.float64)
    partial = _partial(profiles, rows)
    return _unjudged(len(rows)).assign(
        **judged,
        q_value=q_values(judged["p_value"], np.sum([verdict.p_counts for _, verdict in verdicts], axis=0)),
        replicates=_replicates(verdicts, question, a == b, tuple(len(side.units) for side in sides)),
        positional=_went(pearson, judged["pearson_centred"]),
        pearson_partial=partial,
        pixel_explained=_went(pearson, partial),
    )


def _went(pearson: Float64, left: Float64) -> Float64:
    """The share of a correlation that went; NaN where there was none above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pearson > 0, 1.0 - left / pearson, np.nan)


def null_between(units: ProfileStore, others: ProfileStore) -> Null:
    """The nulls of a model's units against some units of another, the same ones whenever it is asked."""
    alive = np.flatnonzero(~np.isnan(others.of_units("kurtosis")))
    chosen = np.sort(np.random.default_rng(0).permutation(alive)[:PARTNERS])
    return null_of(shapes(units, None), list(shapes(others, chosen)), len(units.units))


def shapes(profile: ProfileStore, chosen: npt.NDArray[np.intp] | None) -> Iterator[Shapes]:
    """Small thumbs of a model's units, or of some of them, layer by layer."""
    for layer, span in profile.units.spans():
        index = np.arange(span.start, span.stop)
        held = np.ones(len(index), dtype=bool) if chosen is None else np.isin(index, chosen)
        if held.any():
            thumbs = profile.of_layer(layer.name, "shape")[held].astype(np.float32)
            yield Shapes(thumb_grid(layer.grid, SHAPE_SIDE), index[held], thumbs)


def _verdicts(
    root: Root, a: str, b: str, setting: Setting, sides: Sequence[ActivationStore], question: Question
) -> list[tuple[Tile, Verdict]]:
    with engine(setting.cluster, setting.threads, root) as where:
        plan = plan_for(setting, f"{a}~{b}", plan_side(sides[0]), plan_side(sides[1]), where.capacity)
        job = Job(root, a, b, (sides[0].digest, sides[1].digest), plan.step_images, setting.device, setting.precision)
        graphs = [_tile_graph(job, tile, plan, question, setting.keep == "matrix") for tile in plan.tiles]
        with track(f"trust {a}~{b}", sum(len(graph.parts) for graph in graphs)) as advance:
            found = where.run([graph.last for graph in graphs], advance, plan.threads)
    return list(zip(plan.tiles, found, strict=True))


def _tile_graph(job: Job, tile: Tile, plan: PairPlan, question: Question, matrix: bool) -> TileGraph:
    """Moments of the first half of the images, of the second where not every correlation is kept; then a verdict."""
    flags = first_half(plan.images)
    parts: list[Delayed] = []
    sums: list[Delayed] = []
    for half in (flags,) if matrix else (flags, ~flags):
        runs = [run for run in ranges(plan.images, run_length(plan.images)) if half[run.start]]
        spans = [
            slice(run.start + held.start, run.start + held.stop)
            for run in runs
            for held in ranges(run.stop - run.start, plan.range_images)
        ]
        mine = [part(tile_moments, job, tile, span, False) for span in spans]
        parts += mine
        sums.append(summed(mine))
    return TileGraph(parts, delayed(judge_tile, pure=False)(job, tile, question, *sums))


def _replicates(
    verdicts: Sequence[tuple[Tile, Verdict]], question: Question, same: bool, units: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """(buddy,) whether a pair is one of buddies in either half."""
    both = np.ones(len(question.unit_a), dtype=bool)
    for half in range(2):
        of_a = _nearest([(tile[0].start, verdict.near_a[half]) for tile, verdict in verdicts], units[0], question)
        # Tiles run along the columns: for one span of columns the rows come by rising index, too.
        of_b = of_a
        if not same:
            of_b = _nearest([(tile[1].start, verdict.near_b[half]) for tile, verdict in verdicts], units[1], question)
        both &= (of_a[question.unit_a] == question.unit_b[:, None]).any(axis=1)
        both &= (of_b[question.unit_b] == question.unit_a[:, None]).any(axis=1)
    return both


def _nearest(parts: Sequence[tuple[int, Nearest]], units: int, question: Question) -> npt.NDArray[np.int32]:
    """(unit, k) the nearest neighbours out of all tiles; −1 where none, or none was asked for.

    Parameters
    ----------
    parts
        First unit of each tile on this side with what the tile found, by rising index of the other side.
    """
    result = np.full((units, question.neighbours), -1, dtype=np.int32)
    for start in dict.fromkeys(start for start, _ in parts):
        found = [nearest for first, nearest in parts if first == start]
        result[found[0].units] = merge_neighbours([one.found for one in found], question.neighbours).unit
    return result


def _partial(profiles: tuple[ProfileStore, ProfileStore], rows: pd.DataFrame) -> Float64:
    """(buddy,) partial correlations given the pixel features, pair of layers by pair of layers."""
    result = np.full(len(rows), np.nan)
    grid_a, grid_b = ({layer.name: layer.grid for layer in profile.units.layers} for profile in profiles)
    for layers, here in rows.groupby(["layer_a", "layer_b"]).indices.items():
        pairs = rows.iloc[here]
        common = common_grid(grid_a[layers[0]], grid_b[layers[1]])
        of_a, of_b = (
            profile.of_layer(layer, "pixels")[:, profile.commons(layer).index(common)][pairs[channel].to_numpy()]
            for profile, layer, channel in zip(profiles, layers, ("channel_a", "channel_b"), strict=True)
        )
        features = profiles[0].features_on(common).covariance
        result[here] = partial_correlation(pairs["pearson"].to_numpy(np.float64), of_a, of_b, features)
    return result
