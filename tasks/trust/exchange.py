"""Stage `exchange`: what the whole dictionary counts when images are exchanged, so that nothing is left to find.

The anchor is correlated again with every model in which a Rosetta neuron needs a buddy. Of these correlations only the
nearest neighbours are kept, and only while the stage runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from operator import getitem

from dask.delayed import Delayed, delayed

from rosetta.errors import UserError
from rosetta.mining.factors import factor_values
from rosetta.mining.grid import product_grid
from rosetta.mining.groups import Group, Pair, met_grids
from rosetta.mining.plan import Side, operations, ranges, scratch_values, too_little
from rosetta.mining.trust.exchange import SIDES, Exchange
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, NULL, PROFILES
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.profiles import ProfileStore
from tasks.cluster.engine import Capacity, engine, part, summed
from tasks.correlate.graph import tiles_of
from tasks.correlate.reading import Job, PairTile
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.plan import Plan, Stage
from tasks.stage.progress import track
from tasks.trust.exchange_worker import Counted, Exchanging, added, nearest_in_tile, tile_sums, write_null
from tasks.trust.table import reason_not_to

_MOST_PARTS = 8
"""Each part of the images ends in an addition as large as its tile; more parts spread further but add more."""
_SHARE = 0.75
"""Of the products of correlating the run, that finer grids may take. On the faces run the null's buddies are 5 to 8 %
fewer than on the maps' own grids with 16 positions a side and 6 to 18 % with 8; in processor time that took 0.67 and
0.53 of correlating, and 0.96 on their own grids."""
_LEAST_PARTS = 4
"""As long as that does not make steps smaller, though larger chunks of a store are then decoded several times."""
_AT_ONCE = 128
"""Images of all blocks that are held at once, at most; or one of each."""
_LESS = 0.8
"""So much of the memory is given to the plan of correlating, again and again, until what exchanging takes fits."""


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the null of the dictionary."""
    return fingerprint(
        "null",
        buddies=plan.digest(BUDDIES),
        profiles={model: plan.digest(PROFILES, model) for model in (plan.anchor, *plan.targets)},
        exchanges=plan.recipe.trust.exchanges,
    )


def count_exchanged(plan: Plan, side: int | None = None) -> None:
    """`tables/null.parquet`: counts of the run, and the same with images exchanged.

    Parameters
    ----------
    side
        See :attr:`rosetta.mining.trust.exchange.Exchange.side`; left out, what :func:`affordable_side` says.

    Raises
    ------
    UserError
        There are too few images for so many exchanges, or the memory is too small for a pair.
    """
    root, setting, made = plan.root.absolute, Setting.of(plan), plan.fingerprint(NULL)
    models = {name: ActivationStore.read(root, name) for name in (plan.anchor, *plan.targets)}
    anchor = models[plan.anchor]
    counted = Counted(plan.anchor, plan.targets, len(anchor.units), plan.recipe.matching.neighbours)
    if reason := _reason_not_to(plan):
        write_null(root, made, counted, notes=[reason])
        return
    sides = {name: plan_side(ActivationStore.read(root, name), setting) for name in plan.names}
    side = side or affordable_side(plan, sides)
    pairs = [(plan.anchor, name) for name in plan.targets]
    digests = {name: model.digest for name, model in models.items()}
    profiles = {name: ProfileStore.read(root, name).digest for name in models}
    with engine(setting.cluster, setting.threads, root) as where:
        groups = _planned(plan, setting, sides, pairs, where.capacity, side)
        tiles: list[PairTile] = []
        parts: list[Delayed] = []
        ends: list[Delayed] = []
        for group in groups:
            exchange, chunk = _cut(plan, sides, group, side)
            step = group.first.step_images
            job = Job(root, digests, step, setting.device, setting.precision)
            how = Exchanging(job, exchange, chunk, counted.neighbours, profiles)
            for some in tiles_of(group):
                begun = [part(tile_sums, how, some, span) for span in _parts(exchange, chunk)]
                whole = summed(begun, added)
                tiles += some
                parts += begun
                ends += [
                    delayed(nearest_in_tile, pure=False)(how, tile, delayed(getitem, pure=False)(whole, number))
                    for number, tile in enumerate(some)
                ]
        end = delayed(write_null, pure=False)(root, made, counted, tiles, ends)
        names = f"{len(pairs)} pairs" if len(pairs) > 1 else "~".join(*pairs)
        with track(f"exchange {names}", len(parts)) as advance:
            where.run([end], advance, min(group.first.threads for group in groups))


EXCHANGE = Stage(
    "exchange",
    (NULL,),
    fingerprint_of,
    count_exchanged,
    when=lambda plan: NULL.measured not in plan.recipe.trust.leave_out,
    on_cluster=True,
)


def affordable_side(plan: Plan, sides: Mapping[str, Side]) -> int:
    """Positions a side of the grids of the products: the finest of :data:`SIDES` that takes little beside correlating.

    It follows from the shapes of the run's models.
    """
    whole = sum(operations(sides[a], sides[b], product_grid) for a, b in plan.pairs)
    for side in SIDES:
        way = Exchange(plan.recipe.trust.exchanges, 1, side)
        # Of each block as many products as there are sums, where correlating takes one.
        every = sum(operations(sides[plan.anchor], sides[name], way.product) for name in plan.targets)
        if every * way.sums / way.blocks <= _SHARE * whole:
            return side
    return SIDES[-1]


def _reason_not_to(plan: Plan) -> str:
    """Why there is no null of a run; empty where there is one."""
    if plan.streamed is not None:
        return "images cannot be exchanged where the maps of only some are kept"
    features = FeatureStore.read(plan.root)
    return reason_not_to(features.shape[0], features.distinct, plan.recipe.matching.correlation)


def _cut(plan: Plan, sides: Mapping[str, Side], group: Group, side: int) -> tuple[Exchange, int]:
    """How the images are exchanged, and how many of each block are read at once for a pair.

    It follows from the stores alone, whatever shares a group with the pair.
    """
    step, count = group.first.step_images, plan.recipe.trust.exchanges
    chunk = max(sides[name].block for name in (plan.anchor, *plan.targets))
    exchange = Exchange.of(group.first.images, count, chunk, side)
    chunk = max(step, chunk)
    while chunk > 1 and (
        chunk * exchange.blocks > _AT_ONCE or (chunk > step and _LEAST_PARTS * chunk > exchange.length)
    ):
        chunk //= 2
    return exchange, chunk


def _parts(exchange: Exchange, chunk: int) -> list[slice]:
    """Parts of every block, a task each: they follow from the stores alone, wherever they are worked on."""
    return ranges(exchange.length, ceil(exchange.length / chunk / _MOST_PARTS) * chunk)


def _planned(
    plan: Plan, setting: Setting, sides: Mapping[str, Side], pairs: Sequence[Pair], where: Capacity, side: int
) -> list[Group]:
    """Pairs in groups and tiles as for correlating them, with less memory until what exchanging takes fits, too."""
    memory, least = setting.memory, 0
    while True:
        try:
            groups = plan_for(replace(setting, memory=memory), sides, pairs, where)
        except UserError:
            if not least:
                raise
            raise too_little(setting.memory, least, "exchanging images") from None
        least = max(_bytes(plan, sides, group, side) for group in groups)
        if least <= setting.memory:
            return groups
        memory = int(_LESS * memory)


def _bytes(plan: Plan, sides: Mapping[str, Side], group: Group, side: int) -> int:
    """What one worker holds at most: maps, what becomes of them, and the sums of one tile or of all that are whole."""
    exchange, chunk = _cut(plan, sides, group, side)
    step, threads = group.first.step_images, group.first.threads
    grids = met_grids({name: one.units for name, one in sides.items()}, group.pairs)
    reading = units = 0
    for tiles in tiles_of(group):
        spans = {name: span for tile in tiles for name, span in zip((tile.a, tile.b), tile.spans, strict=True)}
        kept, passing = 0, []
        for name, span in spans.items():
            layers, met = sides[name].units.cut(span).layers, exchange.grids(grids[name])
            values = sum(factor_values(layer, met) for layer in layers)
            kept += sides[name].read_bytes(layers, max(step, sides[name].block))
            kept += 4 * values * (step + exchange.sums * chunk)
            passing.append(4 * step * (sum(scratch_values(layer, met) for layer in layers) + sides[name].panel_values))
        reading = max(reading, kept + max(passing))
        spaces = [tile.spans for tile in tiles]
        units = max(units, sum((a.stop - a.start) * (b.stop - b.start) for a, b in spaces))
    waiting = len(_parts(exchange, chunk)).bit_length() + 1
    return threads * reading + 4 * exchange.sums * units * (threads + waiting)
