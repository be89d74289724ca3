"""Stage `judge`: what chance, halves, position and pixels say of the buddies of each pair of models."""

from collections.abc import Mapping, Sequence

from dask.delayed import Delayed, delayed

from rosetta.mining.groups import Pair
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CORRELATIONS, FEATURES, TRUST_OF_PAIR
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.nearest import buddies_of, pair_store
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.cluster.engine import Capacity, TileGraph, engine, part
from tasks.correlate.graph import Ending, ended, range_parts, tiles_of
from tasks.correlate.reading import Job, PairTile
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.plan import Plan, Stage
from tasks.stage.memory import keep_freed_memory
from tasks.stage.progress import track
from tasks.trust.nulls import NullsOfRun, strips
from tasks.trust.pair_table import write_judged, write_unjudged
from tasks.trust.pair_worker import Question, judge, judge_strip
from tasks.trust.table import reason_not_to


def fingerprint_of(plan: Plan, a: str, b: str) -> Fingerprint:
    """Of what is said of one pair's buddies."""
    return fingerprint(
        "trust part",
        held_out=True,
        correlations=plan.digest(CORRELATIONS, a, b),
        features=plan.digest(FEATURES),
        neighbours=plan.recipe.matching.neighbours,
    )


def judge_pairs(plan: Plan) -> None:
    """Judge the buddies of all pairs, all but what controls reach; a table for each pair.

    Raises
    ------
    UserError
        The correlations of a pair lack what judging needs, and the memory is too small to find it again.
    """
    root, setting = plan.root.absolute, Setting.of(plan)
    keep_freed_memory()  # until the first task says otherwise
    left = [pair for pair in plan.pairs if not _is_judged(plan, pair)]
    features = FeatureStore.read(root)
    if reason_not_to(features.shape[0], features.distinct, plan.recipe.matching.correlation):
        for pair in left:
            write_unjudged(root, pair, plan.fingerprint(TRUST_OF_PAIR, *pair))
        return
    with engine(setting.cluster, setting.threads, root) as where:
        graphs, at_once = _graphs(root, plan, left, setting, where.capacity)
        names = f"{len(left)} pairs" if len(left) > 1 else "~".join(*left)
        with track(f"judge {names}", sum(len(graph.parts) for graph in graphs)) as advance:
            where.run([end for graph in graphs for end in graph.ends], advance, at_once)


JUDGE_PAIRS = Stage("judge", (TRUST_OF_PAIR,), fingerprint_of, judge_pairs, per="run", on_cluster=True)


def _is_judged(plan: Plan, pair: Pair) -> bool:
    return is_finished(plan.place(TRUST_OF_PAIR.path(*pair)), TRUST_OF_PAIR, plan.digest(TRUST_OF_PAIR, *pair))


def _graphs(
    root: Root, plan: Plan, pairs: Sequence[Pair], setting: Setting, where: Capacity
) -> tuple[list[TileGraph], int]:
    """The work on every pair, and how many tasks a worker does at once.

    Correlations that hold the first half of the images are judged strip by strip. Of others the moments of the halves
    are taken from the maps again.
    """
    models = {name: ActivationStore.read(root, name) for name in dict.fromkeys(name for pair in pairs for name in pair)}
    judging = _Judging(root, plan, setting, models)
    stores = {pair: pair_store(root, *pair) for pair in pairs}
    kept = [pair for pair, store in stores.items() if isinstance(store, CorrelationStore) and store.has_halves]
    graphs = [judging.strips_of(pair) for pair in kept]
    again = [pair for pair in pairs if pair not in kept]
    if not again:
        return graphs, where.threads
    sides = {name: plan_side(model, setting) for name, model in models.items()}
    groups = plan_for(setting, sides, again, where)
    verdicts: dict[Pair, list[tuple[PairTile, Delayed]]] = {pair: [] for pair in again}
    parts: list[Delayed] = []
    for group in groups:
        cut = group.first
        job = judging.job(cut.step_images)
        for tiles in tiles_of(group):
            ranges_of = range_parts(job, tiles, cut.image_ranges, summed_up=False)
            graph = ended(tiles, ranges_of, judging.of_moments(job))
            parts += graph.parts
            for tile, end in zip(tiles, graph.ends, strict=True):
                verdicts[tile.a, tile.b].append((tile, end))
    graphs.append(TileGraph(parts, [judging.table(pair, found) for pair, found in verdicts.items()]))
    return graphs, min(group.first.threads for group in groups)


class _Judging:
    """Makes the tasks that judge a run's pairs."""

    def __init__(self, root: Root, plan: Plan, setting: Setting, models: Mapping[str, ActivationStore]) -> None:
        self._root, self._plan, self._setting, self._models = root, plan, setting, models
        self._profiles = {name: ProfileStore.read(root, name) for name in models}
        self._nulls = NullsOfRun(root, self._profiles)
        self._buddies = tables.read(root, BUDDIES.path())

    def strips_of(self, pair: Pair) -> TileGraph:
        """Judge a pair whose correlations are kept, of all images and of the first half."""
        a, b = (len(self._models[name].units) for name in pair)
        tiles = [PairTile(*pair, (strip, slice(0, b))) for strip in strips(a)]
        job, question = self.job(1), self._question(pair)
        parts = [part(judge_strip, job, tile, question, self._nulls_of(tile)) for tile in tiles]
        return TileGraph(parts, [self.table(pair, list(zip(tiles, parts, strict=True)))])

    def of_moments(self, job: Job) -> Ending:
        """Judges a tile by moments of the halves."""

        def end(tile: PairTile, halved: Delayed) -> Delayed:
            question = self._question((tile.a, tile.b))
            return delayed(judge, pure=False)(job, tile, question, self._nulls_of(tile), halved)

        return end

    def table(self, pair: Pair, found: Sequence[tuple[PairTile, Delayed]]) -> Delayed:
        """Writes the table of a pair, given what its tiles say."""
        fingerprint = self._plan.fingerprint(TRUST_OF_PAIR, *pair)
        tiles, verdicts = [tile for tile, _ in found], [verdict for _, verdict in found]
        return delayed(write_judged, pure=False)(self._root, pair, fingerprint, self._question(pair), tiles, verdicts)

    def job(self, step_images: int) -> Job:
        """How moments are taken."""
        digests = {name: model.digest for name, model in self._models.items()}
        return Job(self._root, digests, step_images, self._setting.device, self._setting.precision, self._setting.ahead)

    def _question(self, pair: Pair) -> Question:
        buddies = buddies_of(self._buddies, *pair)
        neighbours = self._plan.recipe.matching.neighbours
        a, b = (self._profiles[model].digest for model in pair)
        return Question(buddies.unit_a, buddies.unit_b, neighbours, self._profiles[pair[0]].images, (a, b))

    def _nulls_of(self, tile: PairTile) -> tuple[Delayed, Delayed]:
        rows, columns = tile.spans
        return self._nulls.of(tile.a, tile.b, rows), self._nulls.of(tile.b, tile.a, columns)
